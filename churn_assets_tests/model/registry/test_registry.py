import os
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn_assets import settings as settings_module
from churn_assets.model.candidates import estimators
from churn_assets.model.logged import packaging
from churn_assets.model.registry import registry
from churn_assets.settings import Settings
from churn_assets.tables import WINDOW_FEATURES
from churn_assets_tests.model.conftest import (
    LABELLED_SCHEMA,
    OpenMlflow,
    labelled_frame,
    local_settings,
    settings_with_database,
)

FRAME = labelled_frame(users=200, dates=2)
FEATURES = FRAME.loc[:, WINDOW_FEATURES].astype("float64")


def small_model(trees: int) -> Any:
    return estimators.make("gradient_boosting", {"n_estimators": trees}).fit(FEATURES, FRAME["label"])


def registered(settings: Settings, open_mlflow: OpenMlflow, model: Any) -> str:
    """The version that the model becomes."""
    with open_mlflow(settings) as mlflow:
        uri = packaging.log_churn_model(mlflow, model, FEATURES.head(2))
        version = registry.register(settings, uri, mlflow.active_run().info.run_id)
        mlflow.end_run()
    return str(version.version)


def scored(spark: SparkSession, uri: str) -> list[float]:
    """Probabilities of FRAME's rows, in their order, computed by the engine from integer columns."""
    features = spark.createDataFrame(FRAME, LABELLED_SCHEMA)
    score = registry.scorer(spark, uri)
    rows = features.select("user_id", "feature_date", score().alias("p"))
    # To a table first, as the platform does: what is read back is what the engine computed.
    return [row["p"] for row in rows.orderBy("user_id", "feature_date").collect()]


@pytest.fixture
def model() -> Any:
    return small_model(trees=5)


def test_asking_for_the_production_model_of_a_new_lake_answers_none_and_makes_nothing(tmp_path: Path):
    assert registry.production_version(local_settings(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_models_has_no_production_version(settings: Settings):
    assert registry.production_version(settings) is None


def test_a_registered_version_is_not_production_until_it_is_promoted(
    settings: Settings, open_mlflow: OpenMlflow, model: Any
):
    version = registered(settings, open_mlflow, model)
    assert registry.production_version(settings) is None

    registry.promote(settings, version)

    production = registry.production_version(settings)
    assert production is not None
    assert str(production.version) == version == "1"


def test_versions_count_up_and_production_moves_only_by_promotion(
    settings: Settings, open_mlflow: OpenMlflow, model: Any
):
    first = registered(settings, open_mlflow, model)
    registry.promote(settings, first)
    second = registered(settings, open_mlflow, model)

    assert (first, second) == ("1", "2")
    production = registry.production_version(settings)
    assert production is not None
    assert str(production.version) == "1"


def test_configuring_makes_one_experiment_whose_artifacts_lie_beside_the_database(new_database: Path):
    from mlflow import MlflowClient

    settings = local_settings(new_database.parents[1])
    registry.configure(settings)

    experiments = MlflowClient(settings.mlflow_tracking_uri).search_experiments(
        filter_string="name = 'churn'"
    )
    assert [experiment.artifact_location for experiment in experiments] == [
        (new_database.parent / "artifacts").as_uri()
    ]


def test_configuring_leaves_the_environment_to_the_next_settings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)

    registry.configure(settings)

    assert mlflow.get_tracking_uri() == settings.mlflow_tracking_uri
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://tracking.example"
    assert "MLFLOW_REGISTRY_URI" not in os.environ


def test_unity_catalog_names_the_model_with_three_levels():
    settings = settings_module.load(_env_file=None, deployment="databricks", main_catalog="prod")

    assert registry.registered_model_name(settings) == "prod.gold.churn-prediction-model"
    assert registry.model_uri(settings, "7") == "models:/prod.gold.churn-prediction-model/7"


def test_a_tracking_server_of_ones_own_names_it_with_one_even_on_databricks(tmp_path: Path):
    settings = settings_module.load(
        _env_file=None, deployment="databricks", mlflow_tracking_uri="http://tracking.example"
    )

    assert registry.model_uri(settings, "7") == "models:/churn-prediction-model/7"


def test_the_engine_gives_the_probabilities_of_scikit_learn_to_the_last_bit(
    spark: SparkSession, settings: Settings, open_mlflow: OpenMlflow, model: Any
):
    version = registered(settings, open_mlflow, model)

    assert (
        scored(spark, registry.model_uri(settings, version)) == model.predict_proba(FEATURES)[:, 1].tolist()
    )


def test_columns_may_be_given_in_the_contracts_order(
    spark: SparkSession, settings: Settings, open_mlflow: OpenMlflow, model: Any
):
    version = registered(settings, open_mlflow, model)
    score = registry.scorer(spark, registry.model_uri(settings, version))
    renamed = spark.createDataFrame([(50, 20, 10, 1, 7, 3)], "a int, b int, c int, d int, e int, f int")

    row = renamed.select(score(*(F.col(name) for name in "abcdef")).alias("p")).collect()[0]

    one = FEATURES.head(1).copy()
    one.loc[0] = [50, 20, 10, 1, 7, 3]
    assert row["p"] == model.predict_proba(one)[0, 1]


def test_version_1_of_another_lake_is_another_model(
    spark: SparkSession, tmp_path: Path, new_database: Path, open_mlflow: OpenMlflow
):
    for trees in (3, 9):
        settings = settings_with_database(tmp_path / str(trees), new_database)
        model = small_model(trees)
        version = registered(settings, open_mlflow, model)
        assert version == "1"
        assert (
            scored(spark, registry.model_uri(settings, version))
            == model.predict_proba(FEATURES)[:, 1].tolist()
        )


def test_registering_and_scoring_say_nothing(
    spark: SparkSession,
    settings: Settings,
    open_mlflow: OpenMlflow,
    model: Any,
    capfd: pytest.CaptureFixture[str],
):
    with open_mlflow(settings) as mlflow:
        capfd.readouterr()
        uri = packaging.log_churn_model(mlflow, model, FEATURES.head(2))
        version = registry.register(settings, uri, mlflow.active_run().info.run_id)
        registry.promote(settings, version.version)
        scored(spark, registry.model_uri(settings, version.version))

        captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_many_partitions_at_once_may_score_with_a_model_that_no_worker_has_seen(
    spark: SparkSession, settings: Settings, open_mlflow: OpenMlflow, model: Any
):
    uri = registry.model_uri(settings, registered(settings, open_mlflow, model))
    rows = spark.range(0, 64, 1, 32).select(
        *(F.col("id").cast("double").alias(name) for name in WINDOW_FEATURES)
    )

    scores = rows.select(registry.scorer(spark, uri)().alias("p")).collect()

    assert len(scores) == 64


def test_a_version_of_fewer_features_finds_them_by_name_in_a_table_that_has_more(
    spark: SparkSession, settings: Settings, open_mlflow: OpenMlflow
):
    own = ["account_age_days", "days_since_last_event"]
    fewer = estimators.make("gradient_boosting", {"n_estimators": 5}).fit(FEATURES[own], FRAME["label"])
    uri = registry.model_uri(settings, registered(settings, open_mlflow, fewer))

    assert registry.scorer(spark, uri).columns == tuple(own)
    assert scored(spark, uri) == fewer.predict_proba(FEATURES[own])[:, 1].tolist()
