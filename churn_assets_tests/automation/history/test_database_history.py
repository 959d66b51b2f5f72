"""A lake's history in PostgreSQL: what Dagster keeps, who may run, and what of SQLite is left behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history import instance as instance_module
from churn_assets.automation.history import stored_history
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.history.lake_lock import LakeLock, is_locked
from churn_assets.automation.history.log_reader import written_at
from churn_assets.automation.history.run_tags import STARTED_BY_CLI
from churn_assets.errors import BusyError, ChurnError, LakeError
from churn_assets.postgres import DatabaseUnavailableError
from churn_assets.settings import Settings
from churn_assets.tables import LANDED_EVENTS, USER_FEATURES
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.postgres_server import PASSWORD, QUOTED_PASSWORD, PostgresServer

LANDED = asset_key(LANDED_EVENTS)


@pytest.fixture
def settings(make_settings: MakeSettings, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    return make_settings(database_url=database_url, mlflow_tracking_uri="")


@pytest.fixture
def history(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(settings) as instance:
        yield instance


def configuration(settings: Settings) -> Path:
    return settings.dagster_home_folder / "dagster.yaml"


def test_nothing_of_the_history_is_in_the_folder(settings: Settings, history: dg.DagsterInstance) -> None:
    history.add_run(dg.DagsterRun(job_name="job"))

    files = {path.name for path in settings.dagster_home_folder.rglob("*") if path.is_file()}
    assert files - {".lock"} == {"dagster.yaml"}
    assert history.get_runs_count() == 1


def test_dagster_shows_and_hands_on_no_password(settings: Settings, history: dg.DagsterInstance) -> None:
    told = f"{history.info_str()}{history.get_ref()}{configuration(settings).read_text()}"

    assert "LakePostgresStorage" in told
    assert PASSWORD not in told
    assert QUOTED_PASSWORD not in told


def test_all_but_the_storage_is_as_in_any_lake() -> None:
    ours = yaml.safe_load(instance_module.database_configuration())
    packaged = yaml.safe_load(stored_history.packaged_configuration())

    assert ours.pop("storage")["custom"]["module"] == instance_module.STORAGE
    assert packaged.pop("event_log_storage")
    assert ours == packaged


def test_the_status_is_read_without_dagster_and_is_what_dagster_says(
    settings: Settings, history: dg.DagsterInstance
) -> None:
    notes = {"left_out_count": 1}
    history.report_runless_asset_event(dg.AssetMaterialization(LANDED))
    history.report_runless_asset_event(
        dg.AssetMaterialization(LANDED, metadata={"landing_zone": dg.MetadataValue.json(notes)})
    )
    history.report_runless_asset_event(
        dg.AssetMaterialization(asset_key(USER_FEATURES), partition="2026-01-05")
    )

    stored = stored_history.stored_materializations(settings)

    by_dagster = written_at(history, history.all_asset_keys())
    assert {dg.AssetKey(path): one.written_at for path, one in stored.items()} == by_dagster
    assert len(stored) == 2
    assert stored[tuple(LANDED.path)].json_metadata == {"landing_zone": notes}


def test_reading_makes_no_history(settings: Settings, postgres_server: PostgresServer) -> None:
    assert stored_history.is_there(settings) is False

    assert not settings.dagster_home_folder.exists()
    made = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert postgres_server.execute(settings.database_url.rpartition("/")[2], made) == [(0,)]  # type: ignore[union-attr] - it is set


def test_a_history_in_files_is_left_alone_and_a_new_one_begins(
    make_settings: MakeSettings, settings: Settings
) -> None:
    with dagster_instance(make_settings()) as files:
        files.add_run(dg.DagsterRun(job_name="job"))
    before = (settings.dagster_home_folder / "history" / "runs.db").read_bytes()

    with dagster_instance(settings) as history:
        assert history.get_runs_count() == 0
        history.add_run(dg.DagsterRun(job_name="job"))

    assert (settings.dagster_home_folder / "history" / "runs.db").read_bytes() == before


def test_who_forgets_the_database_begins_no_second_history(
    make_settings: MakeSettings, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_module.prepare_dagster_home(settings)
    monkeypatch.delenv("CHURN_DATABASE_URL")

    refused = pytest.raises(ChurnError, match="CHURN_DATABASE_URL is not set")
    with refused as error, dagster_instance(make_settings()):
        pass

    assert "\n" not in str(error.value)
    assert not (settings.dagster_home_folder / "history").exists()


def test_a_configuration_for_another_storage_is_not_overruled(settings: Settings) -> None:
    configuration(settings).parent.mkdir(parents=True)
    configuration(settings).write_text("storage:\n  mysql: {mysql_url: nowhere}\n")

    with pytest.raises(LakeError, match="written by hand"):
        instance_module.prepare_dagster_home(settings)

    assert "mysql" in configuration(settings).read_text()


def test_a_database_that_is_not_there_is_one_line(settings: Settings) -> None:
    missing = settings.model_copy(update={"database_url": f"{settings.database_url}_not"})

    with pytest.raises(DatabaseUnavailableError, match="does not exist"), dagster_instance(missing):
        pass


def test_of_two_machines_one_runs_and_the_other_is_told(
    settings: Settings, history: dg.DagsterInstance, make_settings: MakeSettings, tmp_path: Path
) -> None:
    # The same database and no common folder for a lock.
    elsewhere = make_settings(
        database_url=settings.database_url, mlflow_tracking_uri="", lake_root=tmp_path / "elsewhere"
    )
    run = history.add_run(
        dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED, tags=STARTED_BY_CLI)
    )
    with LakeLock(settings, None):
        with pytest.raises(BusyError, match="on another machine"), LakeLock(elsewhere, history):
            pass
        assert is_locked(elsewhere, history)
        # The refused one failed no run of the one at work.
        assert history.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.STARTED  # type: ignore[union-attr] - it is there

    with LakeLock(elsewhere, history):
        assert history.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr] - it is there
    assert not is_locked(settings, history)


HOLD = """
import sys
from churn_assets import settings
from churn_assets.automation.history.database_lock import DatabaseLock
lock = DatabaseLock(settings.load().database)
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_machine_is_free(settings: Settings, tmp_path: Path) -> None:
    environment = {**os.environ, "CHURN_DATABASE_URL": str(settings.database_url)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=tmp_path, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout
        assert holder.stdout.readline() == "True\n"
        with pytest.raises(BusyError), LakeLock(settings, None):
            pass
        holder.kill()
        holder.wait()

        for _ in range(100):
            try:
                with LakeLock(settings, None):
                    return
            except BusyError:
                continue
    pytest.fail("the server still thinks that somebody holds it")
