import datetime as dt
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets.dates import DateRange
from churn_assets.errors import ModelError, WorkspaceError
from churn_assets.model.data import dataset
from churn_assets.model.gate import judging
from churn_assets.model.metrics import evaluation
from churn_assets.model.registry import registry
from churn_assets.model.report import plots
from churn_assets.model.training import TrainingOutcome, train_and_register
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS
from churn_assets_tests.model.conftest import (
    LABELLED_SCHEMA,
    OpenMlflow,
    labelled_frame,
    mlflow_state_as_it_was,
    settings_with_database,
)

VERSIONS = {"main_catalog.gold.user_features": 0, "main_catalog.gold.churn_labels": 12}


def train(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow, **options: Any
) -> TrainingOutcome:
    with open_mlflow(settings) as mlflow:
        return train_and_register(
            labelled, mlflow=mlflow, settings=settings, delta_versions=VERSIONS, **options
        )


def few_trees(number: int) -> dict[str, Any]:
    """One quick candidate instead of all."""
    return {"estimator": "gradient_boosting", "params": {"n_estimators": number}}


def run_of(settings: Settings, run_id: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(settings.mlflow_tracking_uri).get_run(run_id)


def only_run(settings: Settings) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name("churn")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def runs_below(settings: Settings, run_id: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)
    experiment = client.get_run(run_id).info.experiment_id
    return list(client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'"))


def model_folder(settings: Settings, run_id: str) -> Path:
    from mlflow import MlflowClient

    client = MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)
    (model,) = client.search_logged_models(
        [client.get_run(run_id).info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    return Path(model.artifact_location.removeprefix("file://"))


def production(settings: Settings) -> str:
    found = registry.production_version(settings)
    return str(found.version) if found else "none"


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of them are half of a quick training; ``trained``, made before, has them."""
    monkeypatch.setattr(plots, "_drawn", lambda _draw, **_options: b'<svg viewBox="0 0 1 1"></svg>')


@pytest.fixture(scope="module")
def trained(
    labelled: DataFrame, tmp_path_factory: pytest.TempPathFactory, new_database: Any, open_mlflow: OpenMlflow
) -> tuple[Settings, TrainingOutcome]:
    settings = settings_with_database(tmp_path_factory.mktemp("trained"), new_database)
    with mlflow_state_as_it_was():
        return settings, train(labelled, settings, open_mlflow)


def test_the_first_model_is_promoted_if_it_beats_recency(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained

    assert (outcome.status, outcome.version, outcome.champion_version) == ("promoted", "1", None)
    assert outcome.decision is not None
    assert outcome.decision.against == "recency"
    production = registry.production_version(settings)
    assert production is not None
    assert (str(production.version), production.run_id) == ("1", outcome.run_id)


def test_training_ends_its_run_and_those_of_the_candidates(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained
    children = runs_below(settings, outcome.run_id)

    assert run_of(settings, outcome.run_id).info.status == "FINISHED"
    assert {run.info.status for run in children} == {"FINISHED"}
    assert {"recency", "bg_nbd", "log_logistic_regression", "gradient_boosting", "average", "search_1"} < {
        run.info.run_name for run in children
    }
    assert all("brier" in run.data.metrics for run in children)


def test_dates_and_rows_are_those_of_the_split(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained

    # 15 dates less the gap of 5 are 10; two are held out, eight are trained on, the last of them calibrates.
    assert outcome.split is not None
    assert outcome.split.train == DateRange(dt.date(2026, 1, 1), dt.date(2026, 1, 8))
    assert outcome.split.calibration == DateRange(dt.date(2026, 1, 8), dt.date(2026, 1, 8))
    assert outcome.split.holdout == DateRange(dt.date(2026, 1, 14), dt.date(2026, 1, 15))
    assert (outcome.rows, outcome.holdout_rows) == (10_500, 1_400)
    # A user trains or calibrates, never both.
    calibration = run_of(settings, outcome.run_id).data.metrics["calibration_rows"]
    assert outcome.training_rows == 8 * (700 - calibration)


def test_the_model_finds_the_rule_and_recency_alone_nearly_does(trained: tuple[Settings, TrainingOutcome]):
    _, outcome = trained

    assert outcome.metrics["roc_auc"] > 0.85
    assert 0.7 < outcome.metrics["recency_roc_auc"] < outcome.metrics["roc_auc"]


def test_the_run_says_what_it_was_made_from(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained
    run = run_of(settings, outcome.run_id)

    assert run.data.tags["delta_version.main_catalog.gold.user_features"] == "0"
    assert run.data.tags["delta_version.main_catalog.gold.churn_labels"] == "12"
    assert run.data.tags["train_dates"] == "2026-01-01 to 2026-01-08"
    assert json.loads(run.data.tags["split"])["holdout"] == ["2026-01-14", "2026-01-15"]
    assert run.data.tags["horizon_days"] == "5"
    assert run.data.tags["label_event_types"] == "any"
    assert (run.data.tags["estimator"], run.data.tags["estimator_params"]) == ("auto", "{}")
    assert run.data.tags["training_rows"] == "25000"
    assert run.data.tags["dagster_run_id"]
    spec = json.loads(run.data.tags["spec"])
    assert spec["estimator"] == run.data.params["estimator"]
    assert set(spec) == {"estimator", "params", "calibration", "fallback"}
    assert set(spec["fallback"]) == {"estimator", "params", "calibration"}
    lowest, highest = json.loads(run.data.tags["probability_bounds"])
    assert 0 < lowest < highest < 1
    sources = {read.dataset.name: json.loads(read.dataset.source) for read in run.inputs.dataset_inputs}
    assert {table: source["delta_table_version"] for table, source in sources.items()} == VERSIONS


def test_the_version_carries_the_decision_and_the_run_its_artifacts(
    trained: tuple[Settings, TrainingOutcome],
):
    settings, outcome = trained
    from mlflow import MlflowClient

    client = MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)
    tags = client.get_model_version("churn-prediction-model", "1").tags
    artifacts = {one.path for one in client.list_artifacts(outcome.run_id)}

    assert (tags["decision"], tags["champion_version"]) == ("promoted", "none")
    assert tags["decision_reason"] == outcome.reason[:900]
    assert tags["dagster_run_url"].endswith(tags["dagster_run_id"])
    assert {"decision.json", "drift_reference.json", "report.html"} <= artifacts


def test_the_report_lies_in_the_lake_and_says_what_was_decided(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained
    page = Path(outcome.report)

    assert page == settings.lake_root / "reports" / "model-1.html"
    text = page.read_text()
    assert "promoted" in text.lower()
    assert "training rows" in text
    assert "of the holdout rows churned" in text
    assert {"roc", "calibration", "profit"} == set(outcome.sketches)


def test_the_same_rows_give_the_same_model_which_is_not_better_than_itself(
    labelled: DataFrame, trained: tuple[Settings, TrainingOutcome], open_mlflow: OpenMlflow
):
    import mlflow.pyfunc

    settings, first = trained
    shuffled = labelled.orderBy(F.xxhash64("feature_date", "user_id"))

    second = train(shuffled, settings, open_mlflow)

    assert (second.version, second.metrics) == ("2", first.metrics)
    features = labelled_frame(users=50, dates=2)[FEATURE_COLUMNS].astype("float64")
    one, two = (mlflow.pyfunc.load_model(registry.model_uri(settings, v)).predict(features) for v in "12")
    assert (one == two).all()
    assert (second.status, second.champion_version, production(settings)) == ("refused", "1", "1")
    assert "within noise" in second.reason


def with_a_champion_that_knows_nothing(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
) -> None:
    nonsense = labelled.withColumn("label", (F.col("user_id") % 2).cast("int"))
    registry.promote(settings, str(train(nonsense, settings, open_mlflow, **few_trees(3)).version))


def test_a_better_challenger_becomes_production(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
):
    with_a_champion_that_knows_nothing(labelled, settings, open_mlflow)

    better = train(labelled, settings, open_mlflow, **few_trees(10))

    assert (better.status, better.champion_version, production(settings)) == ("promoted", "1", "2")
    assert better.reason.startswith("Brier")


def test_a_leaked_feature_refuses_the_promotion_and_is_named(
    labelled: DataFrame, trained: tuple[Settings, TrainingOutcome], open_mlflow: OpenMlflow
):
    settings, _ = trained
    leaky = labelled.withColumn("rolling_7d_events", F.col("label").cast("bigint"))

    outcome = train(leaky, settings, open_mlflow, **few_trees(5))

    assert (outcome.status, production(settings)) == ("refused", "1")
    assert "rolling_7d_events alone" in outcome.reason


def without_holdout(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = dataset.frames
    monkeypatch.setattr(
        dataset, "frames", lambda *args: (got := frames(*args))._replace(holdout=got.holdout.head(0))
    )


def a_metric_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = evaluation.evaluate
    monkeypatch.setattr(evaluation, "evaluate", lambda *args: {**evaluate(*args), "pr_auc": float("nan")})


def a_metric_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> dict[str, float]:
        raise ZeroDivisionError("no users")

    monkeypatch.setattr(evaluation, "evaluate", fail)


@pytest.mark.parametrize(
    "fault",
    [
        (without_holdout, "the holdout has no row"),
        (a_metric_that_is_no_number, "pr_auc is nan"),
        (a_metric_that_fails, "ZeroDivisionError: no users"),
    ],
    ids=["an empty holdout", "a metric that is no number", "a metric that fails"],
)
def test_whatever_fails_in_the_evaluation_leaves_the_champion(
    fault: tuple[Callable[[pytest.MonkeyPatch], None], str],
    labelled: DataFrame,
    trained: tuple[Settings, TrainingOutcome],
    open_mlflow: OpenMlflow,
    monkeypatch: pytest.MonkeyPatch,
):
    settings, _ = trained
    inject, reason = fault
    inject(monkeypatch)

    outcome = train(labelled, settings, open_mlflow, **few_trees(3))

    assert (outcome.status, production(settings)) == ("refused", "1")
    assert reason in outcome.reason
    assert "refused" in Path(outcome.report).read_text().lower()


def test_a_champion_that_cannot_be_loaded_is_not_replaced_unseen(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
):
    first = train(labelled, settings, open_mlflow, **few_trees(3))
    registry.promote(settings, str(first.version))
    shutil.rmtree(model_folder(settings, first.run_id))

    second = train(labelled, settings, open_mlflow, **few_trees(3))

    assert (second.status, production(settings)) == ("refused", "1")
    assert "The champion, version 1, cannot be compared with" in second.reason


def test_a_champion_that_changed_meanwhile_makes_the_decision_void(
    labelled: DataFrame,
    settings: Settings,
    open_mlflow: OpenMlflow,
    monkeypatch: pytest.MonkeyPatch,
):
    with_a_champion_that_knows_nothing(labelled, settings, open_mlflow)
    other = train(labelled, settings, open_mlflow, **few_trees(3)).version
    registry.promote(settings, "1")
    judge = judging.judge

    def judge_while_somebody_moves_the_alias(*args: Any, **options: Any) -> Any:
        judgement = judge(*args, **options)
        registry.promote(settings, str(other))
        return judgement

    monkeypatch.setattr(judging, "judge", judge_while_somebody_moves_the_alias)

    outcome = train(labelled, settings, open_mlflow, **few_trees(10))

    assert outcome.decision is not None
    assert outcome.decision.promoted
    assert (outcome.status, production(settings)) == ("refused", "2")
    assert "Version 3 was to replace version 1" in outcome.reason


def test_a_refused_alias_fails_the_training_and_leaves_no_version_that_says_it_was_promoted(
    labelled: DataFrame,
    settings: Settings,
    open_mlflow: OpenMlflow,
    monkeypatch: pytest.MonkeyPatch,
):
    from mlflow import MlflowClient

    def refused(*_: Any) -> None:
        raise WorkspaceError("Only an owner moves it")

    monkeypatch.setattr(registry, "promote", refused)

    with pytest.raises(WorkspaceError, match="Only an owner moves it"):
        train(labelled, settings, open_mlflow, **few_trees(3))

    client = MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)
    tags = client.get_model_version(registry.registered_model_name(settings), "1").tags
    assert (tags["decision"], tags["decision_reason"]) == ("refused", "Only an owner moves it")
    assert registry.production_version(settings) is None


def test_too_few_rows_train_no_model_and_fail_nothing(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
):
    few = labelled.where(F.col("user_id") < 666)

    outcome = train(few, settings, open_mlflow)

    assert (outcome.status, outcome.rows, outcome.version) == ("skipped_insufficient_data", 9_990, None)
    assert outcome.reason.startswith("9,990 labelled rows are too few; training takes 10,000.")
    assert registry.production_version(settings) is None
    run = run_of(settings, outcome.run_id)
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "skipped_insufficient_data")


def test_no_rows_at_all_are_too_few(labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow):
    outcome = train(labelled.where(F.col("user_id") < 0), settings, open_mlflow)

    assert (outcome.status, outcome.rows) == ("skipped_insufficient_data", 0)


def test_dates_too_few_for_a_gap_train_no_model_and_fail_nothing(
    spark: SparkSession, settings: Settings, open_mlflow: OpenMlflow
):
    six_dates = spark.createDataFrame(labelled_frame(users=1700, dates=6), LABELLED_SCHEMA)

    outcome = train(six_dates, settings, open_mlflow)

    assert (outcome.status, outcome.rows) == ("skipped_insufficient_data", 10_200)
    assert "6 mature feature_dates" in outcome.reason


def test_a_training_that_fails_ends_its_run_as_failed(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
):
    nobody_churns = labelled.withColumn("label", F.lit(0))

    with pytest.raises(ModelError, match="two classes"):
        train(nobody_churns, settings, open_mlflow)

    assert only_run(settings).info.status == "FAILED"
    assert registry.production_version(settings) is None


def test_a_second_attempt_in_the_same_process_gets_a_run_of_its_own(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
):
    with open_mlflow(settings) as mlflow:
        with pytest.raises(ModelError):
            train_and_register(labelled, mlflow=mlflow, settings=settings, delta_versions={}, **few_trees(-1))
        outcome = train_and_register(
            labelled, mlflow=mlflow, settings=settings, delta_versions={}, **few_trees(3)
        )

        run = run_of(settings, outcome.run_id)
        assert (run.info.status, run.data.tags["dagster_run_id"]) == ("FINISHED", mlflow.dagster_run_id)
        assert run.data.params["n_estimators"] == "3"


def test_an_unknown_estimator_fails_before_anything_is_read(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
):
    with pytest.raises(ModelError, match="'forest'"):
        train(labelled, settings, open_mlflow, estimator="forest")

    assert only_run(settings).info.status == "FAILED"


def test_another_estimator_can_be_configured(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
):
    outcome = train(labelled, settings, open_mlflow, estimator="logistic_regression", params={"C": 0.5})

    assert outcome.estimator == "logistic_regression"
    run = run_of(settings, outcome.run_id)
    assert run.data.params["C"] == "0.5"
    assert run.data.tags["estimator_params"] == '{"C": 0.5}'


def test_a_feature_with_one_value_is_named_to_whoever_asks(
    spark: SparkSession, settings: Settings, open_mlflow: OpenMlflow
):
    nobody_buys = spark.createDataFrame(
        labelled_frame(users=700, dates=15).assign(purchase_count_30d=0), LABELLED_SCHEMA
    )
    said: list[str] = []

    outcome = train(nobody_buys, settings, open_mlflow, estimator="logistic_regression", log=said.append)

    assert outcome.constant_features == ["purchase_count_30d"]
    assert run_of(settings, outcome.run_id).data.tags["constant_features"] == "purchase_count_30d"
    assert said[0].endswith("training rows: purchase_count_30d")
    assert re.search(r"cannot learn from it:\s+<strong>purchase_count_30d<", Path(outcome.report).read_text())


def test_training_says_nothing(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow, capfd: pytest.CaptureFixture[str]
):
    with open_mlflow(settings) as mlflow:
        capfd.readouterr()
        train_and_register(
            labelled, mlflow=mlflow, settings=settings, delta_versions=VERSIONS, **few_trees(3)
        )
        captured = capfd.readouterr()

    assert (captured.out, captured.err) == ("", "")
