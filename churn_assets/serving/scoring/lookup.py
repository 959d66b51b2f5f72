"""Completes rows of named users from the published features."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from churn_assets.serving.features.online_store import Snapshot
from churn_assets.serving.scoring.replies import UnavailableError

# Gives the online store as it is now, None before anything has been published.
FeaturesOf = Callable[[], Snapshot | None]


def published(features_of: FeaturesOf, columns: Sequence[str]) -> Snapshot:
    """The features to look users up in, with all that a model wants.

    Raises:
        UnavailableError: none have been published, or others.
    """
    store = features_of()
    if store is None:
        raise UnavailableError(
            "No features have been published to look users up in. Materialise online_user_features, "
            "or send all features."
        )
    if not set(columns).issubset(store.columns):
        raise UnavailableError(
            f"The published features are {', '.join(store.columns)}; this model wants "
            f"{', '.join(columns)}. Materialise online_user_features."
        )
    return store


def published_if_any(features_of: FeaturesOf, columns: Sequence[str]) -> Snapshot | None:
    """The same for rows that can do without."""
    try:
        return published(features_of, columns)
    except UnavailableError:
        return None


def complete(
    matrix: np.ndarray, columns: Sequence[str], users: Mapping[int, int], store: Snapshot
) -> dict[int, int]:
    """Fill in what was not sent. What is missing afterwards is known to be null.

    Args:
        matrix: the rows of a request, NaN where nothing was sent; changed in place.
        columns: of the matrix.
        users: user_ids by row.
        store: where they are looked up.

    Returns:
        Those of the users whom nobody knows. Their rows are as before.
    """
    rows = np.fromiter(users, dtype=np.int64)
    found, there = store.lookup(np.fromiter(users.values(), dtype=np.int64))
    known = rows[there]
    # More may be published than the model was trained with.
    found = found[there][:, [store.columns.index(name) for name in columns]]
    # What was sent wins over what is known.
    matrix[known] = np.where(np.isnan(matrix[known]), found, matrix[known])
    return {int(row): users[int(row)] for row in rows[~there]}
