"""Which of its features a model needs of every row, and what of a user's history it may lack."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


class Needs:
    """What a row must have to be scored by a model.

    Args:
        columns: the model's features, in its order.
        optional: those of them that a row need not have: the history of its user.
        history: those of the optional ones that each user has. The others are null of some.
    """

    def __init__(
        self, columns: Sequence[str], optional: Collection[str] = (), history: Collection[str] = ()
    ) -> None:
        self.always = [name for name in columns if name not in optional]
        self.optional = [name for name in columns if name in optional]
        self.history = [name for name in columns if name in history]
        self._always = _places(columns, self.always)
        self._optional = _places(columns, self.optional)
        self._history = _places(columns, self.history)
        # What is known of rows by what they lack: at most 2 to the power of the optional ones.
        self._kinds: dict[bytes, tuple[bool, bool]] = {}

    def are_met(self, missing: Flags) -> Flags:
        """Of each row, whether it can be scored as it is.

        Half a history is none: the model for rows without one would not look at it, and nobody would see it.

        Args:
            missing: of each row and column of the model, whether there is no value.
        """
        lacks_needed = _any_of(missing[:, self._always])
        has_some_history = _any_of(~missing[:, self._optional])
        return ~(lacks_needed | (self.lack_history(missing) & has_some_history))

    def lack_history(self, missing: Flags) -> Flags:
        """Of each row, whether a model of rows without a history answers it.

        Args:
            missing: as for ``are_met``.
        """
        return _any_of(missing[:, self._history])

    def count_without_history(self, missing: Flags) -> int | None:
        """How many rows lack a history; None if one of them cannot be scored as it is.

        Nearly every request has rows of one kind, and of a few rows numpy would need longer than of the rest.

        Args:
            missing: as for ``are_met``, with nothing missing that is always needed.
        """
        first = missing[0].tobytes()
        if missing.tobytes() == first * len(missing):
            is_met, lacks_history = self._kinds.get(first) or self._kind(missing[:1])
            return len(missing) * lacks_history if is_met else None
        return int(self.lack_history(missing).sum()) if self.are_met(missing).all() else None

    def _kind(self, row: Flags) -> tuple[bool, bool]:
        kind = bool(self.are_met(row)[0]), bool(self.lack_history(row)[0])
        self._kinds[row.tobytes()] = kind
        return kind


def _any_of(flags: Flags) -> Flags:
    return np.asarray(flags.any(axis=1))


def _places(columns: Sequence[str], names: Sequence[str]) -> NDArray[np.intp]:
    return np.array([columns.index(name) for name in names], dtype=np.intp)
