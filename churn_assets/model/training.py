"""One training: from labelled rows to a registered version that the alias ``Production`` names."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from churn_assets.dates import DateRange
from churn_assets.errors import ModelError
from churn_assets.model import dataset, estimators, evaluation, packaging, registry
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

Status = Literal["registered", "skipped_insufficient_data"]


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training led to.

    ``rows`` are all labelled rows there were, ``training_rows`` and ``holdout_rows`` those that were used.
    Where there is no model, ``reason`` says why in one line, and what follows it is empty.
    """

    status: Status
    rows: int
    run_id: str
    reason: str = ""
    version: str | None = None
    estimator: str | None = None
    train_dates: DateRange | None = None
    holdout_dates: DateRange | None = None
    training_rows: int = 0
    holdout_rows: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator, the rows that it was judged on, and the judgement."""

    estimator: Any
    training_rows: int
    holdout: "pd.DataFrame"
    metrics: dict[str, float]


def train_and_register(  # noqa: PLR0913 - named, and the asset that calls it has each at hand
    labelled: "DataFrame",
    *,
    mlflow: Any,
    settings: Settings,
    delta_versions: Mapping[str, int],
    estimator: str = estimators.DEFAULT_ESTIMATOR,
    params: Mapping[str, Any] | None = None,
) -> TrainingOutcome:
    """Train on the earlier mature dates, judge on the last ones, register the model and promote it.

    Too few rows or dates are no failure: the outcome says so, and the Production model goes on serving.

    Args:
        labelled: what ``dataset.labelled_rows`` returns, of all mature dates.
        mlflow: dagster-mlflow's resource. The run that it opened is ended here, FINISHED or FAILED.
        settings: of the deployment; ``registry.configure`` has been called with them.
        delta_versions: version of each Delta table read, by the table's three-level name.
        estimator: one of ``estimators.ESTIMATORS``.
        params: parameters of the estimator that win over its defaults; values that JSON can hold.

    Raises:
        ModelError: estimator or parameters are wrong, or the rows cannot be learned from or judged by.
    """
    from churn_assets.model import lineage

    with _ending_the_run(mlflow) as run_id:
        lineage.log_tables_read(mlflow, delta_versions)
        mlflow.set_tags({"horizon_days": settings.horizon_days, **lineage.git_sha()})
        mlflow.set_tags({"estimator": estimator, "estimator_params": json.dumps(dict(params or {}))})
        model = estimators.make(estimator, params)
        by_date = dataset.rows_by_date(labelled)
        rows = sum(by_date.values())
        mlflow.log_metric("labelled_rows", rows)
        try:
            dataset.require_minimum(rows)
            split = dataset.out_of_time_split(min(by_date), max(by_date), settings.horizon_days)
        except ModelError as reason:
            mlflow.set_tags({"status": "skipped_insufficient_data", "reason": str(reason)})
            return TrainingOutcome("skipped_insufficient_data", rows, run_id, reason=str(reason))

        mlflow.set_tags({"train_dates": str(split.train), "holdout_dates": str(split.holdout)})
        fitted = fit(model, labelled, split)
        mlflow.log_params({"estimator": estimator, **_plain(fitted.estimator.get_params())})
        mlflow.log_metrics({**fitted.metrics, "training_rows": fitted.training_rows})
        uri = packaging.log_churn_model(mlflow, fitted.estimator, fitted.holdout.head(3))
        version = str(registry.register(settings, uri, run_id).version)
        registry.promote(settings, version)
        mlflow.set_tags({"status": "registered", "model_version": version})
    return TrainingOutcome(
        "registered",
        rows,
        run_id,
        version=version,
        estimator=estimator,
        train_dates=split.train,
        holdout_dates=split.holdout,
        training_rows=fitted.training_rows,
        holdout_rows=len(fitted.holdout),
        metrics=fitted.metrics,
    )


def fit(estimator: Any, labelled: "DataFrame", split: dataset.Split) -> Fitted:
    """Fit and judge, without MLflow; the same rows give the same model, whatever their order and engine.

    Args:
        estimator: what ``estimators.make`` returns.
        labelled: what ``dataset.labelled_rows`` returns.
        split: the dates to train and to judge on.

    Raises:
        ModelError: the rows cannot be learned from or judged by.
    """
    train = dataset.collect(labelled, split.train, dataset.MAXIMUM_TRAINING_ROWS)
    holdout = dataset.collect(labelled, split.holdout, dataset.MAXIMUM_HOLDOUT_ROWS)
    try:
        estimator.fit(train[FEATURE_COLUMNS], train["label"])
    except ValueError as error:
        in_one_line = " ".join(str(error).split())
        raise ModelError(f"{type(estimator).__name__} cannot be trained: {in_one_line}") from error
    metrics = evaluation.evaluate(holdout["label"], estimator.predict_proba(holdout[FEATURE_COLUMNS])[:, 1])
    metrics["holdout_rows"] = metrics.pop("rows")
    metrics["recency_roc_auc"] = evaluation.recency_baseline(holdout)
    return Fitted(estimator, len(train), holdout, metrics)


@contextmanager
def _ending_the_run(mlflow: Any) -> Iterator[str]:
    # dagster-mlflow opens the run and leaves its end to a job's hook, which a run from the UI does not have.
    # A retried step finds the run of its first attempt ended, and gets one of its own.
    run = mlflow.active_run() or mlflow.start_run(
        run_name=mlflow.run_name, tags={"dagster_run_id": mlflow.dagster_run_id}
    )
    try:
        yield run.info.run_id
    except BaseException:
        mlflow.end_run(status="FAILED")
        raise
    mlflow.end_run(status="FINISHED")


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are values; a pipeline also lists its steps, whose parameters follow one by one."""
    return {
        name: value for name, value in params.items() if isinstance(value, str | int | float | bool | None)
    }
