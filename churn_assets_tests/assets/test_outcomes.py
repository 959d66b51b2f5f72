"""What became of predictions, as the asset writes it, and what its checks say of the model that made them."""

import datetime as dt
import importlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.performance import expected_performance, performance
from churn_assets.assets.dagster_partitions import feature_dates, label_dates
from churn_assets.assets.outcomes import outcome_assets
from churn_assets.dates import DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.model.registry import registry
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, CHURN_PREDICTIONS, PREDICTION_OUTCOMES
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.model.conftest import take_over
from churn_assets_tests.rows import NOON, D, day, frame, rows_of

HORIZON = 5
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR

Checked = Callable[..., dg.AssetCheckEvaluation]


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, new_database: Path) -> Path:
    """An MLflow that knows versions 1 and 2, trained up to 10 and 2 days before D, with AUC 0.9 and 0.75."""
    lake_root = tmp_path_factory.mktemp("registered") / "lake"
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]  # pydantic-settings takes it
        lake_root=lake_root,
        mlflow_tracking_uri=f"sqlite:///{lake_root}/mlflow/mlflow.db",
    )
    take_over(new_database, settings)
    registry.configure(settings)
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(registry.experiment_name(settings))
    assert experiment
    client.create_registered_model(registry.MODEL_NAME)
    for last_date, roc_auc in ((day(-10), 0.9), (day(-2), 0.75)):
        dates = str(DateRange(last_date - dt.timedelta(days=3), last_date))
        tags = {"train_dates": dates, "horizon_days": str(HORIZON)}
        run = client.create_run(experiment.experiment_id, tags=tags)
        client.log_metric(run.info.run_id, "roc_auc", roc_auc)
        client.create_model_version(registry.MODEL_NAME, str(run.info.artifact_uri), run.info.run_id)
    return lake_root / "mlflow" / "mlflow.db"


@pytest.fixture
def settings(make_settings: MakeSettings, registered: Path) -> Settings:
    settings = make_settings(horizon_days=HORIZON, end_date=day(40))
    (settings.lake_root / "mlflow").mkdir(parents=True)
    shutil.copy(registered, settings.lake_root / "mlflow")
    return settings


@pytest.fixture
def lake(settings: Settings, spark: SparkSession) -> FolderLakehouse:
    return FolderLakehouse(settings, lambda: spark)


@pytest.fixture
def definitions(lake: FolderLakehouse) -> dg.Definitions:
    upstream = [
        dg.AssetSpec(asset_key(CHURN_PREDICTIONS), partitions_def=feature_dates(lake.settings)),
        dg.AssetSpec(asset_key(CHURN_LABELS), partitions_def=label_dates(lake.settings)),
    ]
    resources: dict[str, Any] = {
        "lakehouse": lake,
        "lake_io": LakeIOManager(lake),
        "pyspark": None,
        "pyspark_step_launcher": None,
    }
    return dg.Definitions(
        assets=[*outcome_assets(lake.settings), *upstream],
        asset_checks=[performance(), expected_performance()],
        resources=resources,
        executor=dg.in_process_executor,
    )


@pytest.fixture
def checked(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Checked:
    """The result of one check alone, or in a run of dates."""

    def run(table: Any, name: str, dates: DateRange | None = None) -> dg.AssetCheckEvaluation:
        job = definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(), asset_check_selection={dg.AssetCheckKey(asset_key(table), name)}
        )
        result = job.execute_in_process(instance=instance, tags=range_tags(dates) if dates else {})
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation

    return run


def range_tags(dates: DateRange) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": str(dates.start),
        "dagster/asset_partition_range_end": str(dates.end),
    }


def write_outcomes(lake: FolderLakehouse, spark: SparkSession, rows: Sequence[tuple]) -> None:
    """Rows of user, date, probability, label, is_out_of_time and version."""
    whole = [(u, d, p, p >= 0.5, label, late, version, NOON) for u, d, p, label, late, version in rows]
    dates = DateRange(min(row[1] for row in rows), max(row[1] for row in rows))
    lake.write(PREDICTION_OUTCOMES, frame(spark, PREDICTION_OUTCOMES, whole), dates)


def outcomes(probability: np.ndarray, label: np.ndarray, on: dt.date = D, version: int = 1) -> list[tuple]:
    return [
        (user, on, float(p), int(y), True, version)
        for user, (p, y) in enumerate(zip(probability, label, strict=True))
    ]


@pytest.fixture(autouse=True)
def _mlflow_state() -> Iterator[None]:
    """MLflow keeps its URIs in globals."""
    import mlflow
    from mlflow.tracking._model_registry import utils as registry_utils

    tracking, registry_uri = mlflow.get_tracking_uri(), registry_utils._registry_uri
    yield
    mlflow.set_tracking_uri(tracking)
    registry_utils._registry_uri = registry_uri


def test_a_range_of_dates_gets_its_outcomes_and_the_older_model_is_judged_by_more_of_them(
    lake: FolderLakehouse, spark: SparkSession, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    dates = DateRange(day(2), day(4))
    predictions = [
        (user, date, 0.25, False, NOON, version)
        for user, version in ((1, 1), (2, 2), (3, 3))
        for date in dates.days()
    ]
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, predictions), dates)
    labels = [(user, date, 1) for user in (1, 2, 3) for date in dates.days()]
    lake.write(CHURN_LABELS, frame(spark, CHURN_LABELS, labels), dates)

    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        asset_selection=[asset_key(PREDICTION_OUTCOMES)],
        tags=range_tags(DateRange(day(3), day(4))),
    )

    assert result.success
    written = rows_of(lake.read(PREDICTION_OUTCOMES), "model_version", "feature_date", "is_out_of_time")
    assert written == [
        (1, day(3), True),
        (1, day(4), True),
        (2, day(3), False),  # two days before D, and a horizon of five
        (2, day(4), True),
        (3, day(3), False),  # no such version is registered
        (3, day(4), False),
    ]


def test_without_an_out_of_time_outcome_nobody_is_judged(
    lake: FolderLakehouse, spark: SparkSession, checked: Checked
) -> None:
    rows = [(user, D, 0.5, user % 2, False, 1) for user in range(300)]
    write_outcomes(lake, spark, rows)

    result = checked(PREDICTION_OUTCOMES, "performance")

    assert result.passed
    assert result.description == "No out-of-time prediction has an outcome."


def drawn(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose expected AUC is 0.83, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    probability = rng.random(rows)
    return probability, rng.random(rows) < probability


def test_each_version_is_judged_on_the_dates_that_it_scored(
    lake: FolderLakehouse, spark: SparkSession, checked: Checked
) -> None:
    probability, label = drawn(1000)
    bad = outcomes(np.roll(probability, 1), label, on=day(-1), version=1)
    few = [(user, day(-2), 0.5, user % 2, True, 3) for user in range(199)]
    write_outcomes(lake, spark, [*few, *bad, *outcomes(probability, label, version=2)])

    result = checked(PREDICTION_OUTCOMES, "performance")

    assert (result.passed, result.severity) == (False, ERROR)
    said = result.description or ""
    of_the_first, _, of_the_others = said.partition(" Version 2, ")
    assert of_the_first.startswith("Version 1, 2026-03-09: AUC 0.")
    assert "is more than 0.08 below its holdout's 0.900; calibration error 0." in of_the_first
    of_the_second, _, of_the_third = of_the_others.partition(" Version 3, ")
    assert of_the_second.startswith("2026-03-10: AUC 0.8")
    assert of_the_third == "2026-03-08: 199 rows are too few, or all of one class, to judge it."
    table = str(result.metadata["by_version"].value)
    assert [line.split(" | ")[:3] for line in table.splitlines()[2:]] == [
        ["| 1", "2026-03-09", "1000"],
        ["| 2", "2026-03-10", "1000"],
        ["| 3", "2026-03-08", "199"],
    ]


def test_only_the_last_dates_judge_and_expected_stands_beside_realised(
    lake: FolderLakehouse, spark: SparkSession, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Thirty, but each is a partition that Apache Spark takes its time to write.
    module = importlib.import_module("churn_assets.assets.checks.performance")
    assert module.LAST_DATES == 30
    monkeypatch.setattr(module, "LAST_DATES", 2)
    probability, label = drawn(1000)
    wrong_long_ago = outcomes(1 - probability, label, on=day(-8), version=2)
    since = [(1, day(-4), 0.5, 0, True, 2)]
    write_outcomes(lake, spark, [*wrong_long_ago, *since, *outcomes(probability, label, version=2)])

    result = checked(PREDICTION_OUTCOMES, "performance")

    found = {name: entry.value for name, entry in result.metadata.items()}
    assert result.passed
    assert (found["rows"], found["dates"], found["model_version"]) == (1001, "2026-03-06 to 2026-03-10", 2)
    assert found["holdout_roc_auc"] == 0.75
    assert found["churn_rate"] == pytest.approx(label.sum() / 1001)
    assert found["expected_churn_rate"] == pytest.approx((probability.sum() + 0.5) / 1001)
    assert found["expected_roc_auc"] == pytest.approx(5 / 6, abs=0.01)


def write_predictions(lake: FolderLakehouse, spark: SparkSession, by_date: dict[dt.date, np.ndarray]) -> None:
    rows = [
        (user, date, float(p), bool(p >= 0.5), NOON, 1)
        for date, probability in by_date.items()
        for user, p in enumerate(probability)
    ]
    dates = DateRange(min(by_date), max(by_date))
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, rows), dates)


def test_of_a_run_the_last_dates_scores_say_what_to_expect_before_any_label(
    lake: FolderLakehouse, spark: SparkSession, checked: Checked
) -> None:
    sure = np.repeat([0.05, 0.95], 300)
    vague = np.repeat([0.2, 0.6], 300)
    write_predictions(lake, spark, {D: sure, day(1): vague})

    fine = checked(CHURN_PREDICTIONS, "expected_performance", DateRange(day(-1), D))
    assert fine.passed
    assert fine.metadata["feature_date"].value == "2026-03-10"
    assert fine.metadata["expected_brier"].value == pytest.approx(0.05 * 0.95)
    assert fine.metadata["expected_churn_rate"].value == pytest.approx(0.5)

    alone = checked(CHURN_PREDICTIONS, "expected_performance")
    assert (alone.passed, alone.severity) == (False, WARN)
    assert alone.metadata["feature_date"].value == "2026-03-11"
    # Three churners in four and one stayer in three are of the upper group: 3/4 * 2/3 of the pairs are right,
    # and half of the 3/4 * 1/3 + 1/4 * 2/3 that are of one group.
    assert alone.metadata["expected_roc_auc"].value == pytest.approx(1 / 2 + 5 / 24, abs=0.001)
    assert alone.description == (
        "Version 1, 2026-03-11: expected AUC 0.709 is more than 0.08 below its holdout's 0.900."
    )


def test_of_few_users_or_none_nothing_is_expected(
    lake: FolderLakehouse, spark: SparkSession, checked: Checked
) -> None:
    write_predictions(lake, spark, {D: np.full(199, 0.5)})

    few = checked(CHURN_PREDICTIONS, "expected_performance", DateRange(D, D))
    assert few.passed
    assert few.metadata["expected_roc_auc"].value == pytest.approx(0.5)

    none = checked(CHURN_PREDICTIONS, "expected_performance", DateRange(day(1), day(1)))
    assert (none.passed, none.description) == (True, "No user was scored.")
