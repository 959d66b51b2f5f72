"""A version trained again from what its training logged: tables and versions, dates, rows, parameters.

The lake reads the tables as they were; here is what was logged, and the comparison.
"""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.dates import DateRange
from churn_assets.errors import ModelError, one_line
from churn_assets.model.candidates import rebuilding
from churn_assets.model.data.churn_definition import HORIZON, ChurnDefinition
from churn_assets.model.data.dataset import Frames, Split
from churn_assets.model.logged import tracking
from churn_assets.model.metrics.evaluation import Vector
from churn_assets.model.registry import promotions, registry
from churn_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

# Sums in another order differ in the last digits.
TOLERANCE = 1e-12

DELTA_VERSION = "delta_version."


@dataclass(frozen=True)
class Recipe:
    """Everything that determines which rows a version was trained on, and how.

    ``delta_versions`` are by the contracts' names. ``git_sha`` is empty where the package lay in no checkout,
    ``packages`` where they were not logged. ``features`` are those of the version, whatever ``user_features``
    has gained since. ``bounded`` says whether its probabilities are bounded.
    """

    version: str
    split: Split
    training_rows: int
    definition: ChurnDefinition
    spec: dict[str, Any]
    delta_versions: dict[str, int]
    git_sha: str
    packages: dict[str, str]
    features: tuple[str, ...]
    bounded: bool = False

    @property
    def dates(self) -> DateRange:
        """From the first date of the training to the last of the holdout."""
        return DateRange(self.split.train.start, self.split.holdout.end)


@dataclass(frozen=True)
class Comparison:
    """Two models' predictions of the same rows, and the user and date on which they differ most."""

    rows: int
    largest_difference: float
    user_id: int
    feature_date: dt.date

    @property
    def is_equal(self) -> bool:
        """Whether no prediction differs by more than ``TOLERANCE``; NaN is not equal."""
        return self.largest_difference <= TOLERANCE


def recipe(settings: Settings, version: str, features: tuple[str, ...] | None = None) -> Recipe:
    """Read the recipe that the training of a version logged.

    Args:
        settings: of the deployment.
        version: its number.
        features: those of the version, where its own files cannot be asked.

    Raises:
        ModelError: there is no such version, or its training logged too little.
    """
    registered = promotions.registered_versions(settings)
    if int(version) not in registered:
        listed = ", ".join(map(str, registered)) or "none"
        raise ModelError(f"{registry.MODEL_NAME} has no version {version}. There are: {listed}.")
    tags = _tags_of_run(registered[int(version)])
    definition = ChurnDefinition.from_tags(tags)
    missing = [name for name in ("split", "spec", "training_rows", HORIZON) if name not in tags]
    if missing or definition is None:
        raise ModelError(
            f"The training of version {version} noted no {', '.join(missing)}, so it cannot be made again. "
            "Train a new version: its run must not be deleted, nor be one of an older churn_assets."
        )
    return Recipe(
        version=version,
        split=_split(tags["split"]),
        training_rows=int(tags["training_rows"]),
        definition=definition,
        spec=json.loads(tags["spec"]),
        delta_versions=_delta_versions(tags),
        git_sha=tags.get("git_sha", ""),
        packages=json.loads(tags.get("python_packages", "{}")),
        features=features or _features(settings, version),
        bounded=tracking.BOUNDS in tags,
    )


def needed_delta_versions(settings: Settings) -> dict[str, set[int]]:
    """Return the Delta versions of each table, by its contract's name, that registered versions need."""
    needed: dict[str, set[int]] = {}
    for run_id in promotions.registered_versions(settings).values():
        for table, number in _delta_versions(_tags_of_run(run_id)).items():
            needed.setdefault(table, set()).add(number)
    return needed


def code_differences(recipe: Recipe) -> list[str]:
    """Return a phrase for each difference between the training's code and today's; not every one matters."""
    from churn_assets.model.logged import lineage

    now = lineage.git_sha().get("git_sha", "")
    phrases = [f"commit {recipe.git_sha[:12]} then, {now[:12]} now"] if now and now != recipe.git_sha else []
    if not recipe.git_sha:
        phrases = ["the commit of then is not known"]
    installed = json.loads(tracking.packages())
    return phrases + [
        f"{name} {then} then, {installed.get(name, 'none')} now"
        for name, then in recipe.packages.items()
        if installed.get(name) != then
    ]


def compare(settings: Settings, recipe: Recipe, rows: Frames) -> Comparison:
    """Fit the winner again, and compare its predictions of the holdout with the registered version's.

    Args:
        settings: of the deployment.
        recipe: what ``recipe`` returns.
        rows: of the tables as they were.

    Raises:
        ModelError: the version cannot be fitted again, or the registered one cannot predict.
    """
    if rows.holdout.empty or rows.train.empty:
        raise ModelError(
            f"Version {recipe.version} was trained on {recipe.split.train} and judged on "
            f"{recipe.split.holdout}, and in these versions of the tables there are no such rows. They are "
            "other tables than those it was trained on: set the CHURN_LAKE_ROOT that it was trained in."
        )
    rebuilt = rebuilding.rebuild(recipe.spec, rows, recipe.bounded)
    features = rows.holdout.loc[:, list(recipe.features)]
    difference = np.abs(rebuilt.predict_proba(features)[:, 1] - _predict(settings, recipe.version, features))
    # To argmax, NaN is the largest.
    index = int(np.argmax(difference))
    row = rows.holdout.iloc[index]
    return Comparison(len(difference), float(difference[index]), int(row["user_id"]), row["feature_date"])


def _predict(settings: Settings, version: str, features: "pd.DataFrame") -> Vector:
    import mlflow.pyfunc

    with _raising_model_errors(version):
        registry.require_own(settings, version)
        registered = mlflow.pyfunc.load_model(registry.model_uri(settings, version))
        # By scikit-learn, as the rebuilt one: a kernel rounds the last digits otherwise. Versions from before
        # kernels have none.
        registered.unwrap_python_model().kernel = None  # type: ignore[attr-defined]  # churn_model.py's
        return np.asarray(registered.predict(features), dtype="float64")


def _features(settings: Settings, version: str) -> tuple[str, ...]:
    from churn_assets.model.logged import packaging

    with _raising_model_errors(version):
        return tuple(packaging.inputs(registry.model_uri(settings, version)))


@contextmanager
def _raising_model_errors(version: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = one_line(error, with_class=True)
        raise ModelError(f"The registered version {version} cannot be asked: {reason}.") from error


def _tags_of_run(run_id: str | None) -> dict[str, str]:
    """Return the tags of a run; empty where it has been deleted for good, and only then."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient().get_run(run_id).data.tags if run_id else {}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def _delta_versions(tags: dict[str, str]) -> dict[str, int]:
    return {
        name.removeprefix(DELTA_VERSION): int(value)
        for name, value in tags.items()
        if name.startswith(DELTA_VERSION)
    }


def _split(text: str) -> Split:
    ranges = {name: DateRange(*map(dt.date.fromisoformat, dates)) for name, dates in json.loads(text).items()}
    return Split(**ranges)
