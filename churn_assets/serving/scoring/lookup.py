"""Completes the rows of a request from the published features of their users."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from churn_assets.serving.features.online_store import Snapshot
from churn_assets.serving.scoring.replies import UnavailableError

# Returns the published features of this moment, None before the first publication.
SnapshotSource = Callable[[], Snapshot | None]


def require_snapshot(source: SnapshotSource, columns: Sequence[str]) -> Snapshot:
    """Return the published features, which hold all columns of the model.

    Raises:
        UnavailableError: nothing is published, or a column is missing.
    """
    snapshot = source()
    if snapshot is None:
        raise UnavailableError(
            "No features have been published to look users up in. Materialise online_user_features, "
            "or send all features."
        )
    if not set(columns).issubset(snapshot.columns):
        raise UnavailableError(
            f"The published features are {', '.join(snapshot.columns)}; this model wants "
            f"{', '.join(columns)}. Materialise online_user_features."
        )
    return snapshot


def usable_snapshot(source: SnapshotSource, columns: Sequence[str]) -> Snapshot | None:
    """Return the same, or None instead of an error, for rows that can be scored without a look-up."""
    try:
        return require_snapshot(source, columns)
    except UnavailableError:
        return None


def complete(
    matrix: NDArray[np.float64], columns: Sequence[str], users: Mapping[int, int], snapshot: Snapshot
) -> dict[int, int]:
    """Fill in the features that were not sent; a NaN that remains in a known user's row is a null.

    Args:
        matrix: one row for each of the request and one column for each feature, NaN for what was not sent;
            changed in place.
        columns: the names of the matrix's columns.
        users: user_ids by row number.
        snapshot: the published features.

    Returns:
        The unknown ones of ``users``, whose rows are unchanged.
    """
    rows = np.fromiter(users, dtype=np.int64)
    features, is_known = snapshot.lookup(np.fromiter(users.values(), dtype=np.int64))
    known = rows[is_known]
    # More features may be published than the model was trained with.
    features = features[is_known][:, [snapshot.columns.index(name) for name in columns]]
    # Features that were sent take precedence.
    matrix[known] = np.where(np.isnan(matrix[known]), features, matrix[known])
    return {int(row): users[int(row)] for row in rows[~is_known]}
