import datetime as dt
import json
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets.dates import DateRange
from churn_assets.errors import ModelError
from churn_assets.model import registry
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


def run_of(settings: Settings, run_id: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(settings.mlflow_tracking_uri).get_run(run_id)


def only_run(settings: Settings) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name("churn")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run


@pytest.fixture(scope="module")
def trained(
    labelled: DataFrame, tmp_path_factory: pytest.TempPathFactory, new_database: Any, open_mlflow: OpenMlflow
) -> tuple[Settings, TrainingOutcome]:
    settings = settings_with_database(tmp_path_factory.mktemp("trained"), new_database)
    with mlflow_state_as_it_was():
        return settings, train(labelled, settings, open_mlflow)


def test_training_registers_a_version_and_promotes_it(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained

    assert (outcome.status, outcome.version, outcome.estimator) == ("registered", "1", "gradient_boosting")
    production = registry.production_version(settings)
    assert production is not None
    assert (str(production.version), production.run_id) == ("1", outcome.run_id)


def test_training_ends_its_run(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained

    assert run_of(settings, outcome.run_id).info.status == "FINISHED"


def test_dates_and_rows_are_those_of_the_split(trained: tuple[Settings, TrainingOutcome]):
    _, outcome = trained

    # 15 dates less the gap of 5 are 10; two are held out, eight are trained on, each with 700 users.
    assert outcome.train_dates == DateRange(dt.date(2026, 1, 1), dt.date(2026, 1, 8))
    assert outcome.holdout_dates == DateRange(dt.date(2026, 1, 14), dt.date(2026, 1, 15))
    assert (outcome.rows, outcome.training_rows, outcome.holdout_rows) == (10_500, 5_600, 1_400)


def test_the_model_finds_the_rule_and_recency_alone_nearly_does(trained: tuple[Settings, TrainingOutcome]):
    _, outcome = trained

    assert outcome.metrics["roc_auc"] > 0.85
    assert 0.75 < outcome.metrics["recency_roc_auc"] < outcome.metrics["roc_auc"]


def test_the_run_holds_what_the_outcome_says(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained
    run = run_of(settings, outcome.run_id)

    assert run.data.metrics == {**outcome.metrics, "labelled_rows": 10_500, "training_rows": 5_600}
    assert outcome.metrics["holdout_rows"] == 1_400
    assert run.data.params["estimator"] == "gradient_boosting"
    assert run.data.params["max_depth"] == "4"


def test_the_run_says_what_it_was_made_from(trained: tuple[Settings, TrainingOutcome]):
    settings, outcome = trained
    run = run_of(settings, outcome.run_id)

    assert run.data.tags["delta_version.main_catalog.gold.user_features"] == "0"
    assert run.data.tags["delta_version.main_catalog.gold.churn_labels"] == "12"
    assert run.data.tags["train_dates"] == "2026-01-01 to 2026-01-08"
    assert run.data.tags["holdout_dates"] == "2026-01-14 to 2026-01-15"
    assert run.data.tags["horizon_days"] == "5"
    assert run.data.tags["status"] == "registered"
    assert (run.data.tags["estimator"], run.data.tags["estimator_params"]) == ("gradient_boosting", "{}")
    assert run.data.tags["dagster_run_id"]
    sources = {read.dataset.name: json.loads(read.dataset.source) for read in run.inputs.dataset_inputs}
    assert {table: source["delta_table_version"] for table, source in sources.items()} == VERSIONS


def test_training_again_on_the_same_rows_gives_the_same_model_as_version_2(
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

    with pytest.raises(ModelError, match=r"^GradientBoostingClassifier cannot be trained: .*class"):
        train(nobody_churns, settings, open_mlflow)

    assert only_run(settings).info.status == "FAILED"
    assert registry.production_version(settings) is None


def test_a_second_attempt_in_the_same_process_gets_a_run_of_its_own(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow
):
    with open_mlflow(settings) as mlflow:
        with pytest.raises(ModelError):
            train_and_register(
                labelled, mlflow=mlflow, settings=settings, delta_versions={}, params={"n_estimators": -1}
            )
        outcome = train_and_register(
            labelled, mlflow=mlflow, settings=settings, delta_versions={}, params={"n_estimators": 3}
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

    assert (outcome.status, outcome.estimator) == ("registered", "logistic_regression")
    run = run_of(settings, outcome.run_id)
    assert run.data.params["logisticregression__C"] == "0.5"
    assert run.data.tags["estimator_params"] == '{"C": 0.5}'


def test_training_says_nothing(
    labelled: DataFrame, settings: Settings, open_mlflow: OpenMlflow, capfd: pytest.CaptureFixture[str]
):
    with open_mlflow(settings) as mlflow:
        capfd.readouterr()
        train_and_register(
            labelled, mlflow=mlflow, settings=settings, delta_versions=VERSIONS, params={"n_estimators": 3}
        )
        captured = capfd.readouterr()

    assert (captured.out, captured.err) == ("", "")
