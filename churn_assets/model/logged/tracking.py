"""A training in MLflow: its run, a run below it for each candidate, and the tags that are read later."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.data import dataset

# The lowest and the highest probability that a version can give, as JSON; older versions have none.
BOUNDS = "probability_bounds"

# The packages that a model's numbers depend on.
PACKAGES = ("scikit-learn", "numpy", "pandas", "scipy")


@contextmanager
def training_run(mlflow: Any) -> Iterator[str]:
    """Yield the id of this training's run, and end the run as FINISHED or FAILED.

    dagster-mlflow opens the run and leaves its end to a job's hook, which a run from the UI does not have. A
    retried step finds the run of its first attempt ended, and starts another.
    """
    run = mlflow.active_run() or mlflow.start_run(
        run_name=mlflow.run_name, tags={"dagster_run_id": mlflow.dagster_run_id}
    )
    try:
        yield run.info.run_id
    except BaseException:
        # A candidate's run may be open below it.
        while mlflow.active_run():
            mlflow.end_run(status="FAILED")
        raise
    mlflow.end_run(status="FINISHED")


def log_candidate(mlflow: Any, candidate: Candidate) -> None:
    """Log a candidate as a run below the training's."""
    with mlflow.start_run(run_name=candidate.name, nested=True):
        mlflow.log_params({"estimator": candidate.estimator_name, **candidate.params})
        mlflow.log_metrics({**candidate.metrics, "seconds": candidate.seconds})
        if candidate.error:
            mlflow.set_tag("error", candidate.error)


def log_split(mlflow: Any, split: dataset.Split, training_rows: int) -> None:
    """Log the dates and the number of rows: with the Delta versions, they determine which rows these were."""
    ranges = split._asdict().items()
    mlflow.set_tags(
        {
            "train_dates": str(split.train),
            "calibration_dates": str(split.calibration),
            "holdout_dates": str(split.holdout),
            "split": json.dumps({name: [str(dates.start), str(dates.end)] for name, dates in ranges}),
            "training_rows": training_rows,
        }
    )


def packages() -> str:
    """Return the versions of ``PACKAGES`` as JSON."""
    return json.dumps({name: version(name) for name in PACKAGES})


def in_words(candidate: Candidate) -> str:
    """Return a candidate's metrics and seconds, or its error, in one line."""
    if candidate.error:
        return candidate.error
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in candidate.metrics.items())
    return f"{metrics}, {candidate.seconds:.1f} s"
