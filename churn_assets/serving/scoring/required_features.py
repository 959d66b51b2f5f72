"""The features that a model requires of every row, and those of a user's history, which may be missing."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


class RequiredFeatures:
    """The features that a row must have to be scored by a model.

    Args:
        columns: the model's features, in its order.
        optional: the features that may be missing: the history of the row's user.
        history: the optional features that every user with a history has. The others may be null.
    """

    def __init__(
        self, columns: Sequence[str], optional: Collection[str] = (), history: Collection[str] = ()
    ) -> None:
        self.always = [name for name in columns if name not in optional]
        self.optional = [name for name in columns if name in optional]
        self.history = [name for name in columns if name in history]
        self._always = _positions(columns, self.always)
        self._optional = _positions(columns, self.optional)
        self._history = _positions(columns, self.history)
        # Whether a row is scorable and lacks a history, by its pattern of missing features; at most 2 to the
        # power of the optional features.
        self._patterns: dict[bytes, tuple[bool, bool]] = {}

    def are_scorable(self, missing: Flags) -> Flags:
        """Return for each row whether it can be scored without a look-up.

        A row with a part of a history cannot: the model for rows without one would silently ignore that part.

        Args:
            missing: whether a value is missing, one row for each of the request, one column for each feature.
        """
        lacks_required = _any_in_row(missing[:, self._always])
        has_some_history = _any_in_row(~missing[:, self._optional])
        return ~(lacks_required | (self.lack_history(missing) & has_some_history))

    def lack_history(self, missing: Flags) -> Flags:
        """Return for each row whether the model for rows without a history scores it.

        Args:
            missing: as for ``are_scorable``.
        """
        return _any_in_row(missing[:, self._history])

    def count_without_history(self, missing: Flags) -> int | None:
        """Return the number of rows that lack a history; None if one row cannot be scored without a look-up.

        In nearly every request all rows miss the same features, and the cached pattern is faster than numpy.

        Args:
            missing: as for ``are_scorable``; only optional features are missing.
        """
        first = missing[0].tobytes()
        if missing.tobytes() == first * len(missing):
            is_scorable, lacks_history = self._patterns.get(first) or self._add_pattern(missing[:1])
            return len(missing) * lacks_history if is_scorable else None
        return int(self.lack_history(missing).sum()) if self.are_scorable(missing).all() else None

    def _add_pattern(self, row: Flags) -> tuple[bool, bool]:
        pattern = bool(self.are_scorable(row)[0]), bool(self.lack_history(row)[0])
        self._patterns[row.tobytes()] = pattern
        return pattern


def _any_in_row(flags: Flags) -> Flags:
    return np.asarray(flags.any(axis=1))


def _positions(columns: Sequence[str], names: Sequence[str]) -> NDArray[np.intp]:
    return np.array([columns.index(name) for name in names], dtype=np.intp)
