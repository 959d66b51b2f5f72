"""The drift reference of a model version: the distributions that every later date is compared with."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from churn_assets.errors import ModelError
from churn_assets.model.data.dataset import features_in
from churn_assets.model.metrics.evaluation import Vector
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
# to 1, while counts of 30 days need a week. Coarse at the upper end, where fine bins would vary by chance.
LAST_OF_BIN = {"days_since_last_event": (0, 1, 2, 4, 6, 9, 13, 20)}

# A smaller bin joins its neighbour: a handful of users in it would give a large PSI without meaning.
LEAST_SHARE = 0.02

# Values are rounded to this many decimals, so that probabilities nearer than that are equal.
DIGITS = 9


class Drift(NamedTuple):
    """One feature's distance from its reference, as in ``tables.FEATURE_DRIFT``."""

    feature: str
    psi: float
    psi_by_chance: float


def make_reference(
    train: "pd.DataFrame", holdout_scores: npt.ArrayLike, holdout_users: npt.ArrayLike | None = None
) -> dict[str, Any]:
    """Compute bins and shares of the training rows' features and of the holdout's scores.

    Args:
        train: user_id and the features, one row a user and date.
        holdout_scores: the model's churn probabilities of the holdout, shape (rows,): those of its training
            rows are too good.
        holdout_users: user_id of each row. Without it each row counts as another user, and the variation by
            chance of a small lake's scores is underestimated.

    Returns:
        In types that JSON can hold: for each feature, and ``churn_probability``, the fields of
        ``Distribution``.

    Raises:
        ModelError: there are no rows, or a score is not a number.
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
    distributions = {
        name: _distribution(name, train[name].to_numpy("float64"), users) for name in features_in(train)
    }
    distributions[SCORE] = _distribution(SCORE, scores, judged_users)
    return {name: distribution._asdict() for name, distribution in distributions.items()}


def reference_of(content: Mapping[str, Any]) -> Reference:
    """Return the reference that ``make_reference`` made, also from JSON."""
    return {
        # In versions older than ``missing``, no feature could be missing.
        name: Distribution(tuple(d["edges"]), tuple(d["shares"]), d["users"], d.get("missing", 0.0))
        for name, d in ((name, content[name]) for name in COMPARED if name in content)
    }


def drift(reference: Reference, rows: "pd.DataFrame", scores: npt.ArrayLike) -> list[Drift]:
    """Compute one date's drift as ``transforms.drift.feature_drift`` does, for rows in this process.

    Args:
        reference: of the model.
        rows: the features that the model was trained with, one row a user.
        scores: the model's churn probability of each row, shape (rows,).
    """
    score = np.asarray(scores, dtype="float64")
    return [
        _drift(name, expected, score if name == SCORE else rows[name].to_numpy("float64"))
        for name, expected in reference.items()
    ]


def load_reference(settings: Settings, version: int) -> Reference:
    """Load the reference of a registered version; once a process, as it never changes.

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
    if ARTIFACT not in [artifact.path for artifact in listed]:
        raise ModelError(
            f"Version {version} of {name} has no {ARTIFACT} in the MLflow run that it came from, so no date "
            "can be compared with its training. Train a new version."
        )
    return reference_of(artifacts.load_dict(f"runs:/{run_id}/{ARTIFACT}"))


def _distribution(name: str, values: Vector, users: int) -> Distribution:
    present = np.round(values[~np.isnan(values)], DIGITS)
    if not present.size:
        return Distribution((), (), users, 1.0)
    edges = _edges(present, _last_of_bin(name, present))
    counts = np.bincount(_bins(present, edges), minlength=len(edges) + 1)
    missing = 1 - len(present) / len(values)
    return Distribution(tuple(edges.tolist()), tuple((counts / len(values)).tolist()), users, missing)


def _last_of_bin(name: str, values: Vector) -> Vector:
    """Return the value at which each bin but the last should end, shape (bins - 1,)."""
    if name in LAST_OF_BIN:
        return np.array(LAST_OF_BIN[name], dtype="float64")
    quantiles = np.arange(1, MAXIMUM_BINS) / MAXIMUM_BINS
    return np.quantile(values, quantiles, method="inverted_cdf")


def _edges(values: Vector, wanted: Vector) -> Vector:
    """Return edges midway between values that occur, so that no edge is at a value.

    At a value, another processor's last bit would move all rows of this value to the next bin.
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


def _bins(values: Vector, edges: npt.ArrayLike) -> npt.NDArray[np.intp]:
    return np.searchsorted(np.asarray(edges, dtype="float64"), values, side="left")


def _drift(name: str, expected: Distribution, values: Vector) -> Drift:
    present = values[~np.isnan(values)]
    counts = np.bincount(_bins(present, expected.edges), minlength=len(expected.shares))
    p, count, bins = np.array(expected.shares), counts[: len(expected.shares)], len(expected.edges)
    if len(present) < len(values) or expected.missing:
        # Missing values are a bin like any other, but the only one that may be empty in the reference.
        p = np.append(p, max(expected.missing, LEAST_USERS / expected.users))
        count, bins = np.append(count, len(values) - len(present)), bins + 1
    q = np.maximum(count, LEAST_USERS) / len(values)
    psi = float(((q - p) * np.log(q / p)).sum())
    chance = CHI_SQUARE_999[bins] * (1 / len(values) + 1 / expected.users)
    return Drift(name, round(psi, DIGITS), round(chance, DIGITS))
