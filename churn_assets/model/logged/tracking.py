"""A training as MLflow keeps it: one run, a run below it for each candidate, and what is asked for later."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from churn_assets.model.candidates.candidates import Candidate
from churn_assets.model.data import dataset

# The lowest and the highest probability that a version can give, as JSON; older ones have no such bounds.
BOUNDS = "probability_bounds"

# What a model's numbers depend on.
PACKAGES = ("scikit-learn", "numpy", "pandas", "scipy")


@contextmanager
def ending_the_run(mlflow: Any) -> Iterator[str]:
    """The run of this training, ended FINISHED or FAILED.

    dagster-mlflow opens the run and leaves its end to a job's hook, which a run from the UI does not have. A
    retried step finds the run of its first attempt ended, and gets one of its own.
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
    """A run of its own, below the training's."""
    with mlflow.start_run(run_name=candidate.name, nested=True):
        mlflow.log_params({"estimator": candidate.estimator_name, **candidate.params})
        mlflow.log_metrics({**candidate.metrics, "seconds": candidate.seconds})
        if candidate.error:
            mlflow.set_tag("error", candidate.error)


def log_split(mlflow: Any, split: dataset.Split, training_rows: int) -> None:
    """The dates, and how many rows: with the Delta versions, all that says which rows these were."""
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
    """Versions of what a model's numbers depend on, as JSON."""
    return json.dumps({name: version(name) for name in PACKAGES})


def in_words(candidate: Candidate) -> str:
    """How it did, in one line."""
    if candidate.error:
        return candidate.error
    found = ", ".join(f"{name} {value:.4f}" for name, value in candidate.metrics.items())
    return f"{found}, {candidate.seconds:.1f} s"
