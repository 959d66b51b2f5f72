"""A version made again from what its training noted: tables and their versions, dates, rows, parameters.

Reading the tables as they were is the lake's; here are the notes, and the comparison.
"""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from churn_assets.dates import DateRange
from churn_assets.errors import ModelError, one_line
from churn_assets.model.candidates import candidates
from churn_assets.model.data.dataset import Frames, Split
from churn_assets.model.logged import tracking
from churn_assets.model.registry import promotions, registry
from churn_assets.settings import Settings

# Where sums are made in another order, the last digits differ.
EQUAL = 1e-12

DELTA_VERSION = "delta_version."


@dataclass(frozen=True)
class Recipe:
    """All that says which rows a version was trained on, and how.

    ``delta_versions`` are by the names of the contracts. ``git_sha`` is empty where the package lay in no
    checkout, ``packages`` where nobody noted them. ``features`` are those of the version, whatever
    ``user_features`` has gained since. ``bounded`` says whether its probabilities are.
    """

    version: str
    split: Split
    training_rows: int
    horizon_days: int
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
    """Two models' predictions of the same rows, and the row where they differ most."""

    rows: int
    largest: float
    user_id: int
    feature_date: dt.date

    @property
    def equal(self) -> bool:
        """Whether no prediction differs by more than ``EQUAL``; one that is no number is not equal."""
        return self.largest <= EQUAL


def recipe(settings: Settings, version: str) -> Recipe:
    """What the training of a version noted.

    Raises:
        ModelError: there is no such version, or its training noted too little.
    """
    registered = promotions.registered_versions(settings)
    if int(version) not in registered:
        there = ", ".join(map(str, registered)) or "none"
        raise ModelError(f"{registry.MODEL_NAME} has no version {version}. There are: {there}.")
    tags = _tags_of_run(registered[int(version)])
    missing = [name for name in ("split", "spec", "training_rows", "horizon_days") if name not in tags]
    if missing:
        raise ModelError(
            f"The training of version {version} noted no {', '.join(missing)}, so it cannot be made again. "
            "Train a new version: its run must not be deleted, nor be one of an older churn_assets."
        )
    return Recipe(
        version=version,
        split=_split(tags["split"]),
        training_rows=int(tags["training_rows"]),
        horizon_days=int(tags["horizon_days"]),
        spec=json.loads(tags["spec"]),
        delta_versions=_delta_versions(tags),
        git_sha=tags.get("git_sha", ""),
        packages=json.loads(tags.get("python_packages", "{}")),
        features=_features(settings, version),
        bounded=tracking.BOUNDS in tags,
    )


def needed_delta_versions(settings: Settings) -> dict[str, set[int]]:
    """The versions of each table, by the contract's name, that any registered version was trained on."""
    needed: dict[str, set[int]] = {}
    for run_id in promotions.registered_versions(settings).values():
        for table, number in _delta_versions(_tags_of_run(run_id)).items():
            needed.setdefault(table, set()).add(number)
    return needed


def other_code(found: Recipe) -> list[str]:
    """What differs between the code of then and that of now, a phrase each; not all of it need matter."""
    from churn_assets.model.logged import lineage

    now = lineage.git_sha().get("git_sha", "")
    phrases = [f"commit {found.git_sha[:12]} then, {now[:12]} now"] if now and now != found.git_sha else []
    if not found.git_sha:
        phrases = ["the commit of then is not known"]
    installed = json.loads(tracking.packages())
    return phrases + [
        f"{name} {then} then, {installed.get(name, 'none')} now"
        for name, then in found.packages.items()
        if installed.get(name) != then
    ]


def compare(settings: Settings, found: Recipe, rows: Frames) -> Comparison:
    """Fit again what once won, and let it and the registered version predict the holdout.

    Args:
        settings: of the deployment.
        found: what ``recipe`` returns.
        rows: of the tables as they were.

    Raises:
        ModelError: the version cannot be fitted again, or the registered one cannot be asked.
    """
    if rows.holdout.empty or rows.train.empty:
        raise ModelError(
            f"Version {found.version} was trained on {found.split.train} and judged on "
            f"{found.split.holdout}, and in these versions of the tables there are no such rows. They are "
            "other tables than those it was trained on: set the CHURN_LAKE_ROOT that it was trained in."
        )
    rebuilt = candidates.rebuild(found.spec, rows, found.bounded)
    features = rows.holdout[list(found.features)]
    difference = np.abs(rebuilt.predict_proba(features)[:, 1] - _answers(settings, found.version, features))
    # Of these, NaN counts as the largest.
    place = int(np.argmax(difference))
    row = rows.holdout.iloc[place]
    return Comparison(len(difference), float(difference[place]), int(row["user_id"]), row["feature_date"])


def _answers(settings: Settings, version: str, features: Any) -> Any:
    import mlflow.pyfunc

    with _saying_that_it_cannot_be_asked(version):
        registered = mlflow.pyfunc.load_model(registry.model_uri(settings, version))
        return np.asarray(registered.predict(features), dtype="float64")


def _features(settings: Settings, version: str) -> tuple[str, ...]:
    from churn_assets.model.logged import packaging

    with _saying_that_it_cannot_be_asked(version):
        return tuple(packaging.inputs(registry.model_uri(settings, version)))


@contextmanager
def _saying_that_it_cannot_be_asked(version: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ModelError(
            f"The registered version {version} cannot be asked: {one_line(error, with_class=True)}."
        ) from error


def _tags_of_run(run_id: str | None) -> dict[str, str]:
    """None where the run has been deleted for good; what cannot be asked for now must not look like that."""
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
