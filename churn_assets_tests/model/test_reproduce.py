"""A version made again from what its training noted, and what is said where that cannot be."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn_assets import settings as settings_module
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import ModelError
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model import reproduce, training
from churn_assets.model.data import dataset
from churn_assets.model.data.dataset import Frames
from churn_assets.model.reproduce import Recipe
from churn_assets.tables import CHURN_LABELS, USER_FEATURES
from churn_assets_tests.model.conftest import (
    FIRST_DATE,
    HORIZON_DAYS,
    LABELLED_SCHEMA,
    OpenMlflow,
    labelled_frame,
    mlflow_state_as_it_was,
    take_over,
)

DATES = DateRange(FIRST_DATE, FIRST_DATE + 14 * ONE_DAY)


class Trained(NamedTuple):
    """A lake in which version 1 was trained, and which has changed three times since."""

    lake: FolderLakehouse
    outcome: training.TrainingOutcome


def rows_as_they_were(lake: FolderLakehouse, recipe: Recipe) -> Frames:
    features, labels = (
        lake.read(table, recipe.dates, version=recipe.delta_versions[str(table)])
        for table in (USER_FEATURES, CHURN_LABELS)
    )
    return dataset.frames(dataset.labelled_rows(features, labels), recipe.split, recipe.training_rows)


def write_tables(lake: FolderLakehouse, users: int) -> None:
    """Features and labels of so many users, who follow the rule of ``labelled_frame``."""
    rows = lake.spark.createDataFrame(labelled_frame(users=users, dates=15), LABELLED_SCHEMA)
    # No model is trained on these.
    features = rows.withColumns(
        {"active_days_365d": F.col("active_days_total"), "gap_std_days": F.lit(0.5), "amount_30d": F.lit(1.0)}
    )
    lake.write(USER_FEATURES, features.drop("label"), DATES)
    lake.write(CHURN_LABELS, rows.select("user_id", "feature_date", "label"), DATES)


def change_features(lake: FolderLakehouse) -> None:
    """Every user gains a purchase, as if late events had come."""
    features = lake.read(USER_FEATURES)
    changed = features.withColumn("purchase_count_30d", F.col("purchase_count_30d") + 1)
    lake.write(USER_FEATURES, changed, DATES)


def train(lake: FolderLakehouse, open_mlflow: OpenMlflow, estimator: str) -> training.TrainingOutcome:
    """Train on what the tables hold now."""
    with open_mlflow(lake.settings) as mlflow:
        return training.train_and_register(
            dataset.labelled_rows(lake.read(USER_FEATURES), lake.read(CHURN_LABELS)),
            mlflow=mlflow,
            settings=lake.settings,
            delta_versions={str(table): lake.version(table) for table in (USER_FEATURES, CHURN_LABELS)},
            estimator=estimator,
        )


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Path,
    spark: SparkSession,
    deployment: str,
    open_mlflow: OpenMlflow,
) -> Iterator[Trained]:
    root: Path = tmp_path_factory.mktemp("reproduce") / "lake"
    settings = settings_module.load(
        _env_file=None,
        deployment=deployment,
        lake_root=root,
        mlflow_tracking_uri=f"sqlite:///{root}/mlflow/mlflow.db",
        horizon_days=HORIZON_DAYS,
        spark_master="local[2]",
    )
    take_over(new_database, settings)
    lake = FolderLakehouse(settings, lambda: spark)
    write_tables(lake, users=700)
    with mlflow_state_as_it_was():
        outcome = train(lake, open_mlflow, "hist_gradient_boosting")
        for _ in range(3):
            change_features(lake)
        yield Trained(lake, outcome)


@pytest.fixture
def recipe(trained: Trained) -> Recipe:
    return reproduce.recipe(trained.lake.settings, "1")


@pytest.fixture
def tagged(trained: Trained) -> Iterator[Any]:
    """Sets a tag of the training's run, until the test is over."""
    from mlflow import MlflowClient

    client, run_id = MlflowClient(), trained.outcome.run_id
    before = client.get_run(run_id).data.tags

    def set_tag(name: str, value: str | None) -> None:
        if value is None:
            client.delete_tag(run_id, name)
        else:
            client.set_tag(run_id, name, value)

    yield set_tag
    for name, value in before.items():
        client.set_tag(run_id, name, value)


def test_a_version_is_made_again_to_the_last_digit_three_data_versions_later(
    trained: Trained, recipe: Recipe
) -> None:
    now = trained.lake.version(USER_FEATURES)
    assert recipe.delta_versions == {str(USER_FEATURES): now - 3, str(CHURN_LABELS): 1}

    comparison = reproduce.compare(trained.lake.settings, recipe, rows_as_they_were(trained.lake, recipe))

    assert comparison.is_equal
    assert (comparison.rows, comparison.largest_difference) == (trained.outcome.holdout_rows, 0)


def test_on_the_tables_as_they_are_now_another_model_comes_out(trained: Trained, recipe: Recipe) -> None:
    lake = trained.lake
    now = recipe.delta_versions | {str(USER_FEATURES): lake.version(USER_FEATURES)}
    later = rows_as_they_were(lake, Recipe(**{**vars(recipe), "delta_versions": now}))

    assert not reproduce.compare(lake.settings, recipe, later).is_equal


def test_another_parameter_than_was_used_shows_in_the_user_who_gains_or_loses_most(
    trained: Trained, recipe: Recipe
) -> None:
    params = {**recipe.spec["params"], "max_iter": 20}
    other = Recipe(**{**vars(recipe), "spec": {**recipe.spec, "params": params}})
    rows = rows_as_they_were(trained.lake, recipe)

    comparison = reproduce.compare(trained.lake.settings, other, rows)

    assert not comparison.is_equal
    assert comparison.largest_difference > 1e-6
    named = rows.holdout.query("user_id == @comparison.user_id and feature_date == @comparison.feature_date")
    assert len(named) == 1


def test_a_prediction_that_is_no_number_is_not_equal(
    trained: Trained, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_as_they_were(trained.lake, recipe)

    class Broken:
        def predict_proba(self, features: Any) -> Any:
            answers = features[["days_since_last_event"] * 2].to_numpy() * 0.0
            answers[7] = float("nan")
            return answers

    monkeypatch.setattr("churn_assets.model.candidates.rebuilding.rebuild", lambda *_: Broken())
    comparison = reproduce.compare(trained.lake.settings, recipe, rows)

    assert not comparison.is_equal
    assert comparison.user_id == rows.holdout["user_id"].iloc[7]


def test_tables_without_the_rows_of_then_are_not_the_tables_of_then(trained: Trained, recipe: Recipe) -> None:
    rows = rows_as_they_were(trained.lake, recipe)
    empty = rows._replace(holdout=rows.holdout.head(0))

    with pytest.raises(ModelError, match=r"no such rows.*CHURN_LAKE_ROOT"):
        reproduce.compare(trained.lake.settings, recipe, empty)


def test_a_recipe_holds_what_the_training_was_given(trained: Trained, recipe: Recipe) -> None:
    assert (recipe.split, recipe.definition.horizon_days) == (trained.outcome.split, HORIZON_DAYS)
    assert recipe.training_rows == trained.lake.settings.training_rows
    assert recipe.spec["estimator"] == "hist_gradient_boosting"
    assert set(recipe.spec) == {"estimator", "params", "calibration", "fallback"}
    assert recipe.bounded
    assert recipe.dates == DateRange(recipe.split.train.start, recipe.split.holdout.end)


def test_a_version_that_is_not_there_is_named_with_those_that_are(trained: Trained) -> None:
    with pytest.raises(ModelError, match=r"has no version 7\. There are: 1\."):
        reproduce.recipe(trained.lake.settings, "7")


def test_a_training_that_noted_too_little_is_named_with_what_is_missing(
    trained: Trained, tagged: Any
) -> None:
    tagged("spec", None)

    with pytest.raises(ModelError, match="noted no spec, so it cannot be made again"):
        reproduce.recipe(trained.lake.settings, "1")


def test_a_version_from_before_there_were_bounds_is_made_again_without_them(
    trained: Trained, recipe: Recipe, tagged: Any
) -> None:
    tagged("probability_bounds", None)
    old = reproduce.recipe(trained.lake.settings, "1")

    comparison = reproduce.compare(trained.lake.settings, old, rows_as_they_were(trained.lake, recipe))

    # The registered one is bounded, as all of now are: so the two differ, and by little.
    assert not old.bounded
    assert 0 < comparison.largest_difference < 0.01


def test_other_code_and_other_packages_are_named(trained: Trained, tagged: Any) -> None:
    tagged("git_sha", "0123456789abcdef")
    packages = json.loads(reproduce.tracking.packages())
    tagged("python_packages", json.dumps({**packages, "numpy": "1.0.0"}))

    said = reproduce.code_differences(reproduce.recipe(trained.lake.settings, "1"))

    assert said[0].startswith("commit 0123456789ab then, ")
    assert said[1:] == [f"numpy 1.0.0 then, {packages['numpy']} now"]


def test_the_versions_that_any_registered_version_was_trained_on_are_needed(trained: Trained) -> None:
    settings = trained.lake.settings

    assert reproduce.needed_delta_versions(settings) == {
        str(USER_FEATURES): {trained.lake.version(USER_FEATURES) - 3},
        str(CHURN_LABELS): {1},
    }
