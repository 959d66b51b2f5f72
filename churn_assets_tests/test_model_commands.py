"""``churn reproduce``, ``churn maintain`` and ``churn rollback`` as their user meets them."""

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from churn_assets import settings as settings_module
from churn_assets.asset_keys import asset_key
from churn_assets.assets.promotions import recorded_promotions
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.dates import DateRange
from churn_assets.lakehouse import maintenance
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.candidates import estimators
from churn_assets.model.logged import packaging
from churn_assets.model.registry import promotions, registry
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, CHURN_PREDICTIONS, USER_FEATURES, USERS, WINDOW_FEATURES
from churn_assets_tests.in_process import Churn, churn_on
from churn_assets_tests.model.conftest import (
    FIRST_DATE,
    HORIZON_DAYS,
    labelled_frame,
    mlflow_state_as_it_was,
    take_over,
)
from churn_assets_tests.model.conftest import open_mlflow as open_mlflow_fixture
from churn_assets_tests.model.test_reproduce import DATES, change_features, train, write_tables
from churn_assets_tests.rows import frame

open_mlflow = open_mlflow_fixture

LAST = DATES.end
SCORED_AT = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)


def settings_in(folder: Path, deployment: str) -> Settings:
    return settings_module.load(
        _env_file=None,
        deployment=deployment,
        lake_root=folder,
        mlflow_tracking_uri=f"sqlite:///{folder}/mlflow/mlflow.db",
        dagster_home=folder / "dagster",
        start_date=FIRST_DATE,
        end_date=LAST,
        horizon_days=HORIZON_DAYS,
        spark_master="local[2]",
        endpoint_url="http://127.0.0.1:9",
    )


@pytest.fixture(scope="module")
def first_lake(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Path,
    spark: SparkSession,
    deployment: str,
    open_mlflow: Callable,
) -> Path:
    """Version 1, trained on Delta version 1 of both tables, is Production; version 2 is another model."""
    folder = tmp_path_factory.mktemp("models") / "lake"
    lake = FolderLakehouse(settings_in(folder, deployment), lambda: spark)
    take_over(new_database, lake.settings)
    write_tables(lake, users=700)
    rows = labelled_frame(users=100, dates=2)
    features = rows.loc[:, WINDOW_FEATURES].astype("float64")
    with mlflow_state_as_it_was():
        outcome = train(lake, open_mlflow, "logistic_regression")
        assert outcome.status == "promoted"
        with open_mlflow(lake.settings) as mlflow:
            model = estimators.make("gradient_boosting", {"n_estimators": 5}).fit(features, rows["label"])
            uri = packaging.log_churn_model(mlflow, model, features.head(2))
            registry.register(lake.settings, uri, mlflow.active_run().info.run_id)
            mlflow.end_run()
    return folder


@pytest.fixture
def lake(first_lake: Path, tmp_path: Path, spark: SparkSession, deployment: str) -> Iterator[FolderLakehouse]:
    """A copy of it, in the working directory of the command."""
    folder = tmp_path / "lake"
    shutil.copytree(first_lake, folder)
    with mlflow_state_as_it_was():
        registry.configure(settings_in(folder, deployment))
        yield FolderLakehouse(settings_in(folder, deployment), lambda: spark)


@pytest.fixture
def churn(
    lake: FolderLakehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Churn:
    return churn_on(lake.settings, monkeypatch, capsys)


def files_of(lake: FolderLakehouse) -> set[str]:
    """What lies in the folder of user_features."""
    return {path.name for path in lake.location(USER_FEATURES).glob("feature_date=*/*.parquet")}


def files_of_version(lake: FolderLakehouse, version: int) -> set[str]:
    uris = DeltaTable(lake.location(USER_FEATURES), version=version).file_uris()
    return {uri.rpartition("/")[2] for uri in uris}


def test_a_version_is_reproduced_after_its_tables_were_overwritten_twelve_times_and_cleaned_up(
    lake: FolderLakehouse, churn: Churn
) -> None:
    for _ in range(12):
        change_features(lake)

    cleaned = churn("maintain", "--retention-hours", 0)
    assert (cleaned.exit_code, cleaned.reason) == (0, "")
    assert files_of(lake) == files_of_version(lake, 1) | files_of_version(lake, 13)
    with pytest.raises(FileNotFoundError):
        DeltaTable(lake.location(USER_FEATURES), version=5).to_pyarrow_table()

    reproduced = churn("reproduce", 1)
    assert (reproduced.exit_code, reproduced.reason) == (0, "")
    assert "equal: the largest difference is 0." in reproduced.out
    assert "user_features at Delta version 1 of 13, churn_labels at Delta version 1 of 1" in reproduced.out


def test_a_clean_up_that_knows_no_models_makes_a_version_unreproducible_and_one_line_says_so(
    lake: FolderLakehouse, churn: Churn
) -> None:
    change_features(lake)
    maintenance.maintain(lake, USER_FEATURES, set(), retention_hours=0)

    answer = churn("reproduce", 1)

    assert (answer.exit_code, answer.out) == (1, "")
    assert answer.reason.startswith("churn: Delta version 1 of main_catalog.gold.user_features is gone (")
    assert "so version 1 cannot be made again" in answer.reason
    assert "\n" not in answer.reason
    # Its files are gone, and the next clean-up has nothing to say: the log still knows the version.
    assert churn("maintain").exit_code == 0


def test_a_spec_that_was_tampered_with_comes_out_differently_and_exits_1(
    lake: FolderLakehouse, churn: Churn
) -> None:
    from mlflow import MlflowClient

    run_id = promotions.registered_versions(lake.settings)[1]
    assert run_id
    spec = json.loads(MlflowClient().get_run(run_id).data.tags["spec"])
    tampered = {**spec, "params": {**spec["params"], "C": 1e-4}}
    MlflowClient().set_tag(run_id, "spec", json.dumps(tampered))

    answer = churn("reproduce", 1)

    assert answer.exit_code == 1
    assert answer.reason.startswith("churn: Version 1 comes out differently: largest difference 0.")
    assert ", of user " in answer.reason
    assert "\n" not in answer.reason


def test_a_dry_run_of_maintenance_removes_nothing(lake: FolderLakehouse, churn: Churn) -> None:
    change_features(lake)
    change_features(lake)
    before = files_of(lake)

    answer = churn("maintain", "--retention-hours", 0, "--dry-run")

    assert (answer.exit_code, files_of(lake)) == (0, before)
    row = next(line for line in answer.out.splitlines() if "gold.user_features" in line)
    # Version 3 is now, and version 1 is kept for the model.
    assert row.split()[1:3] == ["0", str(len(files_of_version(lake, 2)))]
    assert row.split()[-1] == "1"
    assert "Would free" in answer.out


def test_what_the_log_has_forgotten_is_named(lake: FolderLakehouse, churn: Churn) -> None:
    from mlflow import MlflowClient

    run_id = promotions.registered_versions(lake.settings)[2]
    assert run_id
    MlflowClient().set_tag(run_id, f"delta_version.{CHURN_LABELS}", "99")

    answer = churn("maintain")

    assert answer.exit_code == 0
    assert "main_catalog.gold.churn_labels no longer knows Delta versions 99, which model" in answer.out


def score(lake: FolderLakehouse, instance: dg.DagsterInstance, version: str) -> None:
    """Let this version be what scored the last date, as churn_predictions writes and says it."""
    users = [row["user_id"] for row in lake.read(USER_FEATURES, DateRange(LAST, LAST)).collect()]
    rows = [(user, LAST, 0.5, True, SCORED_AT, int(version)) for user in users]
    lake.write(CHURN_PREDICTIONS, frame(lake.spark, CHURN_PREDICTIONS, rows), DateRange(LAST, LAST))
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            asset_key(CHURN_PREDICTIONS), partition=str(LAST), metadata={"model_version": version}
        )
    )


def test_a_rollback_puts_the_previous_champion_back_scores_with_it_deploys_it_and_is_written_down(
    lake: FolderLakehouse, churn: Churn, deployment: str
) -> None:
    if deployment != "local":
        pytest.skip("what follows a move of the alias is Dagster's and the endpoint's, not the engine's")
    settings = lake.settings
    promotions.promote(settings, "2", cause="gate", reason="2 won.", replaces="1")
    users = [(user, FIRST_DATE, LAST, None) for user in range(700)]
    lake.write(USERS, frame(lake.spark, USERS, users))
    with dagster_instance(settings) as instance:
        score(lake, instance, "2")

    answer = churn("rollback")

    assert (answer.exit_code, answer.reason) == (0, "")
    assert answer.out == (
        "Production: from version 2 to 1; 2026-01-15 is scored with it; the endpoint is deployed with it.\n"
    )
    production = registry.production_version(settings)
    assert production
    assert str(production.version) == "1"
    predictions = lake.read(CHURN_PREDICTIONS).toPandas()
    assert set(predictions["model_version"]) == {1}
    assert len(np.unique(predictions["churn_probability"])) > 10
    assert [(r["version"], r["previous_version"], r["cause"]) for r in recorded_promotions(lake)] == [
        (1, None, "gate"),
        (2, 1, "gate"),
        (1, 2, "rollback"),
    ]
    assert recorded_promotions(lake)[-1]["reason"] == "Rolled back from version 2."

    again = churn("rollback")
    assert again.exit_code == 1
    assert again.reason.startswith("churn: There is no earlier Production version: it was 1, 2.")


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("2", "churn: Version 2 never was Production: it was 1. Nothing was changed."),
        ("1", "churn: Version 1 is Production already. Nothing was changed."),
    ],
)
def test_a_rollback_goes_to_a_champion_of_the_past_only(
    lake: FolderLakehouse, churn: Churn, version: str, reason: str
) -> None:
    answer = churn("rollback", "--to", version)

    assert (answer.exit_code, answer.out) == (1, "")
    assert answer.reason.startswith(reason)
    production = registry.production_version(lake.settings)
    assert production
    assert str(production.version) == "1"


def test_a_rollback_to_a_version_that_cannot_be_loaded_changes_nothing(
    lake: FolderLakehouse, churn: Churn
) -> None:
    from mlflow import MlflowClient

    name = registry.registered_model_name(lake.settings)
    MlflowClient().create_model_version(name, "file:///gone", run_id="0" * 32)
    promotions.promote(lake.settings, "3", cause="gate", reason="3 won.", replaces="1")
    promotions.promote(lake.settings, "1", cause="rollback", reason="Back.", replaces="3")

    answer = churn("rollback", "--to", 3)

    assert answer.exit_code == 1
    assert answer.reason.startswith("churn: Version 3 cannot be loaded, so it cannot serve: ")
    production = registry.production_version(lake.settings)
    assert production
    assert str(production.version) == "1"
