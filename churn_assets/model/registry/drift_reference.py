"""What a model version's features and scores were like: what every later date is compared with."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from churn_assets.errors import ModelError
from churn_assets.model.data.dataset import features_in
from churn_assets.settings import Settings
from churn_assets.tables import SCORE
from churn_assets.transforms.drift import (
    CHI_SQUARE_999,
    COMPARED,
    LEAST_USERS,
    MAXIMUM_BINS,
    Distribution,
    Reference,
)

if TYPE_CHECKING:
    import pandas as pd

ARTIFACT = "drift_reference.json"

# Fine where a change of habits shows first: on the day itself nearly everybody with fewer visits moves from 0
# to 1, while counts of 30 days need a week. The upper end is coarse, to be less at the mercy of chance.
LAST_OF_BIN = {"days_since_last_event": (0, 1, 2, 4, 6, 9, 13, 20)}

# A smaller bin joins its neighbour: a handful of users in it would be a large PSI, and mean nothing.
LEAST_SHARE = 0.02

# Two probabilities nearer than this are one.
DIGITS = 9

Floats = npt.NDArray[np.float64]


class Drift(NamedTuple):
    """One feature's distance from its reference, as in ``tables.FEATURE_DRIFT``."""

    feature: str
    psi: float
    psi_by_chance: float


def make_reference(
    train: "pd.DataFrame", holdout_scores: npt.ArrayLike, holdout_users: npt.ArrayLike | None = None
) -> dict[str, Any]:
    """Bins and shares of the training rows' features and of the holdout's scores.

    Args:
        train: user_id and the features, one row a user and date.
        holdout_scores: the model's churn probabilities of the holdout: those of its training rows are
            flattered.
        holdout_users: user_id of each of them. Without it each counts as another user, and what chance does
            to the scores of a small lake is thought smaller than it is.

    Returns:
        What JSON can hold: by feature, and by ``churn_probability``, the fields of ``Distribution``.

    Raises:
        ModelError: there are no rows, or a score is no number.
    """
    scores = np.asarray(holdout_scores, dtype="float64")
    if not len(train) or not scores.size or not np.isfinite(scores).all():
        raise ModelError(
            f"{len(train)} training rows and {scores.size} scores of the holdout, of which "
            f"{int(np.isfinite(scores).sum())} are numbers, are nothing to compare later dates with. "
            "Train on rows that there are."
        )
    users = len(np.unique(train["user_id"].to_numpy()))
    judged_users = scores.size if holdout_users is None else len(np.unique(np.asarray(holdout_users)))
    found = {name: _distribution(name, train[name].to_numpy("float64"), users) for name in features_in(train)}
    found[SCORE] = _distribution(SCORE, scores, judged_users)
    return {name: distribution._asdict() for name, distribution in found.items()}


def reference_of(content: Mapping[str, Any]) -> Reference:
    """What ``make_reference`` returned, also after a trip through JSON."""
    return {
        # Versions from before features could be missing have none that are.
        name: Distribution(tuple(one["edges"]), tuple(one["shares"]), one["users"], one.get("missing", 0.0))
        for name, one in ((name, content[name]) for name in COMPARED if name in content)
    }


def drift(reference: Reference, rows: "pd.DataFrame", scores: npt.ArrayLike) -> list[Drift]:
    """What ``transforms.drift.feature_drift`` says of one date, for rows that are in this process.

    Args:
        reference: of the model.
        rows: the features that the model was trained with, one row a user.
        scores: the model's churn probability of each.
    """
    of_scores = np.asarray(scores, dtype="float64")
    return [
        _drift(name, expected, of_scores if name == SCORE else rows[name].to_numpy("float64"))
        for name, expected in reference.items()
    ]


def load_reference(settings: Settings, version: int) -> Reference:
    """The reference of a registered version; read once a process, as it never changes.

    Args:
        settings: of the deployment.
        version: of ``churn-prediction-model``.

    Raises:
        ModelError: the version is not registered, or its training left no reference.
    """
    from churn_assets.model.registry import registry

    registry.configure(settings)
    import mlflow

    name = registry.registered_model_name(settings)
    return _load(mlflow.get_tracking_uri(), mlflow.get_registry_uri(), name, version)


@cache
def _load(tracking_uri: str, registry_uri: str, name: str, version: int) -> Reference:
    from mlflow import MlflowClient, artifacts
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri, registry_uri)
    try:
        run_id = client.get_model_version(name, str(version)).run_id
        listed: Sequence[Any] = client.list_artifacts(run_id) if run_id else []
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        run_id, listed = None, []
    if ARTIFACT not in [one.path for one in listed]:
        raise ModelError(
            f"Version {version} of {name} has no {ARTIFACT} in the MLflow run that it came from, so no date "
            "can be compared with its training. Train a new version."
        )
    return reference_of(artifacts.load_dict(f"runs:/{run_id}/{ARTIFACT}"))


def _distribution(name: str, values: Floats, users: int) -> Distribution:
    present = np.round(values[~np.isnan(values)], DIGITS)
    if not present.size:
        return Distribution((), (), users, 1.0)
    edges = _edges(present, _last_of_bin(name, present))
    counts = np.bincount(_bins(present, edges), minlength=len(edges) + 1)
    missing = 1 - len(present) / len(values)
    return Distribution(tuple(edges.tolist()), tuple((counts / len(values)).tolist()), users, missing)


def _last_of_bin(name: str, values: Floats) -> Floats:
    """The value at which each bin but the last should end."""
    if name in LAST_OF_BIN:
        return np.array(LAST_OF_BIN[name], dtype="float64")
    quantiles = np.arange(1, MAXIMUM_BINS) / MAXIMUM_BINS
    return np.quantile(values, quantiles, method="inverted_cdf")


def _edges(values: Floats, wanted: Floats) -> Floats:
    """Midway between neighbours that occur, so that none ends on a value.

    On a value, another processor's last bit would move all rows that have it to the next bin.
    """
    occurring, counts = np.unique(values, return_counts=True)
    up_to = np.cumsum(counts) / len(values)
    last = np.searchsorted(occurring, wanted, side="right") - 1
    edges, below = [], 0.0
    for i in np.unique(last[last >= 0]):
        if min(up_to[i] - below, 1 - up_to[i]) >= LEAST_SHARE:
            edges.append((occurring[i] + occurring[i + 1]) / 2)
            below = up_to[i]
    return np.array(edges, dtype="float64")


def _bins(values: Floats, edges: npt.ArrayLike) -> npt.NDArray[np.intp]:
    return np.searchsorted(np.asarray(edges, dtype="float64"), values, side="left")


def _drift(name: str, expected: Distribution, values: Floats) -> Drift:
    present = values[~np.isnan(values)]
    counts = np.bincount(_bins(present, expected.edges), minlength=len(expected.shares))
    p, count, bins = np.array(expected.shares), counts[: len(expected.shares)], len(expected.edges)
    if len(present) < len(values) or expected.missing:
        # What has no value is a bin as any other, and alone of all it may have been empty.
        p = np.append(p, max(expected.missing, LEAST_USERS / expected.users))
        count, bins = np.append(count, len(values) - len(present)), bins + 1
    q = np.maximum(count, LEAST_USERS) / len(values)
    psi = float(((q - p) * np.log(q / p)).sum())
    chance = CHI_SQUARE_999[bins] * (1 / len(values) + 1 / expected.users)
    return Drift(name, round(psi, DIGITS), round(chance, DIGITS))
