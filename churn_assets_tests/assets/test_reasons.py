"""The reasons of a range of dates, by the versions that scored them, in runs as Dagster makes them."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets import settings as settings_module
from churn_assets.asset_keys import asset_key
from churn_assets.assets.reasons import reason_assets
from churn_assets.dates import DateRange
from churn_assets.errors import ModelError
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.model.candidates import estimators
from churn_assets.model.logged import explain, packaging
from churn_assets.model.registry import registry
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, CHURN_REASONS, USER_FEATURES, WINDOW_FEATURES
from churn_assets_tests.model.conftest import labelled_frame, mlflow_state_as_it_was, take_over
from churn_assets_tests.rows import NOON, D, day, frame

FRAME = labelled_frame(users=100, dates=2)
TRAINED_ON = FRAME.loc[:, WINDOW_FEATURES].astype("float64")
USERS = {user: FRAME.loc[user, WINDOW_FEATURES].astype(int).tolist() for user in range(20)}
DATES = DateRange(day(-2), D)
# The date between was never scored.
SCORED_BY = {day(-2): 1, D: 2}
BEFORE_REASONS = 3


@pytest.fixture(scope="module")
def models() -> dict[int, Any]:
    """By version."""
    trees = estimators.make("gradient_boosting", {"n_estimators": 5})
    return {
        1: trees.fit(TRAINED_ON, FRAME["label"]),
        2: estimators.make("logistic_regression").fit(TRAINED_ON, FRAME["label"]),
    }


@pytest.fixture(scope="module")
def lake(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Path,
    spark: SparkSession,
    deployment: str,
    models: dict[int, Any],
) -> Iterator[FolderLakehouse]:
    """Two dates, scored before and after a training; and a version that was logged before all this."""
    root = tmp_path_factory.mktemp("reasons")
    settings = settings_module.load(
        _env_file=None,
        deployment=deployment,
        lake_root=root,
        landing_root=str(root / "landing"),
        mlflow_tracking_uri=f"sqlite:///{root}/mlflow/mlflow.db",
        start_date=DATES.start,
        end_date=DATES.end,
    )
    take_over(new_database, settings)
    with mlflow_state_as_it_was():
        registry.configure(settings)
        import mlflow

        mlflow.set_experiment(registry.experiment_name(settings))
        for version, model in models.items():
            with mlflow.start_run() as run:
                uri = packaging.log_churn_model(mlflow, model, TRAINED_ON.head(2))
            assert int(registry.register(settings, uri, run.info.run_id).version) == version
        register_as_before(settings, root)
        lake = FolderLakehouse(settings, lambda: spark)
        features = [(user, on, *values) for on in DATES.days() for user, values in USERS.items()]
        lake.write(USER_FEATURES, frame(spark, USER_FEATURES, features), DATES)
        yield lake


def register_as_before(settings: Settings, folder: Path) -> None:
    """A version as an earlier churn-assets logged it: a signature without parameters."""
    import mlflow

    (folder / "estimator.pkl").touch()
    with mlflow.start_run() as run, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(packaging.CODE),
            artifacts={"estimator": str(folder / "estimator.pkl")},
            signature=packaging.signature(WINDOW_FEATURES),
            pip_requirements=[],
        )
    registered = registry.register(settings, info.model_uri, run.info.run_id)
    assert int(registered.version) == BEFORE_REASONS


@pytest.fixture(autouse=True)
def _mlflow_state() -> Iterator[None]:
    with mlflow_state_as_it_was():
        yield


def materialize(
    lake: FolderLakehouse, instance: dg.DagsterInstance, scored_by: dict[Any, int]
) -> dg.ExecuteInProcessResult:
    """A run of the whole range after predictions by these versions, written anew."""
    rows = [(user, on, 0.25, False, NOON, version) for on, version in scored_by.items() for user in USERS]
    lake.write(CHURN_PREDICTIONS, frame(lake.spark, CHURN_PREDICTIONS, rows), DATES)
    return dg.materialize(
        [
            *reason_assets(lake.settings),
            dg.AssetSpec(asset_key(USER_FEATURES)),
            dg.AssetSpec(asset_key(CHURN_PREDICTIONS)),
        ],
        selection=[asset_key(CHURN_REASONS)],
        instance=instance,
        resources={
            "lakehouse": lake,
            "lake_io": LakeIOManager(lake),
            "pyspark": None,
            "pyspark_step_launcher": None,
        },
        tags={
            "dagster/asset_partition_range_start": str(DATES.start),
            "dagster/asset_partition_range_end": str(DATES.end),
        },
    )


def test_each_date_is_explained_by_the_version_that_scored_it(
    lake: FolderLakehouse, instance: dg.DagsterInstance, models: dict[int, Any]
) -> None:
    result = materialize(lake, instance, SCORED_BY)

    node = asset_key(CHURN_REASONS).to_python_identifier()
    made = result.asset_materializations_for_node(node)[0]
    assert made.metadata["model_versions"].value == "1, 2"
    rows = TRAINED_ON.loc[list(USERS)].to_numpy()
    expected = {}
    for on, version in SCORED_BY.items():
        contributions = explain.explainer(models[version]).contributions(rows).round(9)
        for user, of_user in zip(USERS, contributions, strict=True):
            strongest = sorted(range(6), key=lambda place: (-abs(of_user[place]), place))[:3]
            for rank, place in enumerate(strongest, start=1):
                expected[user, on, rank] = (
                    WINDOW_FEATURES[place],
                    float(USERS[user][place]),
                    pytest.approx(of_user[place], abs=1e-9),
                    version,
                )
    written = lake.read(CHURN_REASONS).select(
        "user_id", "feature_date", "rank", "feature", "value", "contribution", "model_version"
    )
    assert {tuple(row[:3]): tuple(row[3:]) for row in written.collect()} == expected


def test_dates_whose_predictions_are_gone_have_no_reasons(
    lake: FolderLakehouse, instance: dg.DagsterInstance
) -> None:
    materialize(lake, instance, SCORED_BY)
    assert lake.read(CHURN_REASONS).count() == 2 * len(USERS) * 3

    result = materialize(lake, instance, {})

    assert result.success
    assert lake.read(CHURN_REASONS).count() == 0


def test_a_version_from_before_reasons_is_named_with_what_to_do(
    lake: FolderLakehouse, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(
        ModelError,
        match=r"^models:/churn-prediction-model/3 cannot say why .* \(materialise churn_prediction_model\)",
    ):
        materialize(lake, instance, {D: BEFORE_REASONS})
