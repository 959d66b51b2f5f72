"""The whole graph on a lake in a bucket gives what it gives in a folder; machines take turns at it."""

import datetime as dt
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets import bucket
from churn_assets.automation.history.lake_lock import LakeLock
from churn_assets.errors import BusyError, ChurnError, LakeError
from churn_assets.graph import build_defs
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.sample.simulator import simulate
from churn_assets.settings import Settings
from churn_assets.tables import COMPUTED_DATES, EVENTS, LANDED_EVENTS, TABLES, USER_FEATURES
from churn_assets.verification.verify import verify
from churn_assets_tests.buckets import BucketServer, Fault
from churn_assets_tests.conftest import bucket_settings, settings_in
from churn_assets_tests.end_to_end.command import CHURN
from churn_assets_tests.end_to_end.conftest import House, content

START, DAYS = dt.date(2026, 1, 1), 8
NOW = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
MANY = 10_000
SMALL = {"start_date": START, "horizon_days": 3, "deployment": "local"}

pytestmark = pytest.mark.usefixtures("on_sail")


def land(landing: str, folder: Path, users: int = 20, days: int = DAYS) -> None:
    simulate(
        landing,
        folder / "truth.csv",
        users=users,
        days=days,
        start=START,
        seed=5,
        late_share=0.05,
        duplicate_share=0.05,
        corrupt_share=0.02,
    )


def house_of(settings: Settings, spark: SparkSession, instance: dg.DagsterInstance) -> House:
    return House(settings, FolderLakehouse(settings, lambda: spark), instance, build_defs(settings))


@pytest.fixture
def house(bucket_uri: str, tmp_path: Path, spark: SparkSession, instance: dg.DagsterInstance) -> House:
    settings = bucket_settings(bucket_uri, tmp_path, **SMALL)
    land(settings.landing_root, tmp_path)
    return house_of(settings, spark, instance)


def test_a_lake_in_a_bucket_holds_what_one_in_a_folder_holds_and_goes_on_under_another_name(
    house: House, tmp_path: Path, spark: SparkSession, bucket_server: BucketServer
) -> None:
    land(str(tmp_path / "folder" / "landing"), tmp_path)
    with dg.DagsterInstance.ephemeral() as history:
        in_folder = house_of(settings_in(tmp_path / "folder", **SMALL), spark, history)
        in_folder.run(NOW)
    house.run(NOW)

    made = [table for table in TABLES if in_folder.lake.version(table) > 0]
    assert USER_FEATURES in made
    for table in made:
        there = content(house.lake.location(table), table)
        assert there.equals(content(in_folder.lake.location(table), table)), str(table)
    assert [one.line() for one in verify(house.lake) if not one.is_well] == []

    # Copied to another prefix, and the first one gone: nothing is computed again but what has come since.
    root = str(house.settings.lake_root)
    bucket_server.copy(root, f"{root}-renamed")
    bucket.remove(house.settings.lake_root)
    settings = house.settings.model_copy(
        update={
            "lake_root": bucket.path(f"{root}-renamed"),
            "landing_root": f"{root}-renamed/landing/events",
        }
    )
    renamed = house_of(settings, spark, house.instance)
    before = renamed.versions()
    renamed.run(NOW)
    assert renamed.versions() == before
    assert bucket_server.objects(root) == {}


@pytest.mark.slow
def test_through_a_bad_network_the_same_tables_come_out(
    house: House, tmp_path: Path, spark: SparkSession, bucket_server: BucketServer
) -> None:
    land(str(tmp_path / "folder" / "landing"), tmp_path)
    with dg.DagsterInstance.ephemeral() as history:
        in_folder = house_of(settings_in(tmp_path / "folder", **SMALL), spark, history)
        in_folder.run(NOW)
    faults = [
        Fault("PUT", "/_delta_log/", status=500, is_lost=True, every=5, times=MANY),
        Fault("PUT", "/lake/", status=503, every=11, times=MANY),
        Fault("PUT", "/lake/", status=409, is_lost=True, every=29, times=MANY),
        Fault("GET", "", seconds=0.5, every=13, times=MANY),
        Fault("GET", "/lake", status=503, every=17, times=MANY),
    ]
    bucket_server.fail(*faults)
    gave_up: list[str] = []
    while len(gave_up) < 20:
        try:
            house.run(NOW)
            break
        except ChurnError as error:
            gave_up.append(str(error))
    happened = bucket_server.happened()
    bucket_server.fail()
    print(f"{happened} faults, {len(gave_up)} runs that gave up: {gave_up}")

    assert all(happened)
    assert not any("\n" in line for line in gave_up)
    for table in (table for table in TABLES if in_folder.lake.version(table) > 0):
        there = content(house.lake.location(table), table)
        assert there.equals(content(in_folder.lake.location(table), table)), str(table)
    assert [one.line() for one in verify(house.lake, deep=True) if not one.is_well] == []


def test_a_second_machine_is_refused_in_one_line_while_the_first_is_at_work(
    house: House, tmp_path: Path
) -> None:
    other = house.settings.model_copy(update={"state_root": tmp_path / "other machine"})
    with (
        LakeLock(house.settings, None),
        pytest.raises(BusyError, match=r"since 2.*Wait for it"),
        LakeLock(other, None),
    ):
        pass
    with LakeLock(other, None):
        pass


def test_machines_that_take_turns_share_one_registry(
    house: House, tmp_path: Path, new_database: Path
) -> None:
    first = house.settings.model_copy(
        update={"mlflow_tracking_uri": f"sqlite:///{house.settings.mlflow_folder}/mlflow.db"}
    )
    root = tmp_path / "other machine"
    other = first.model_copy(
        update={"state_root": root, "mlflow_tracking_uri": f"sqlite:///{root}/mlflow/mlflow.db"}
    )
    first.mlflow_folder.mkdir(parents=True)
    shutil.copy(new_database, first.mlflow_folder)
    with LakeLock(first, None):
        pass
    with LakeLock(other, None):
        note(other, "theirs")
    with LakeLock(first, None):
        assert notes(first) == ["theirs"]
        note(first, "ours")
    # This machine is killed before it has sent its own.
    note(first, "unsent")
    with LakeLock(other, None):
        assert notes(other) == ["theirs", "ours"]
        note(other, "later")
    with (
        pytest.raises(LakeError, match="another machine has worked on this lake since this one died"),
        LakeLock(first, None),
    ):
        pass


def note(settings: Settings, name: str) -> None:
    with sqlite3.connect(settings.mlflow_folder / "mlflow.db") as database:
        database.execute("INSERT INTO experiments (name, workspace) VALUES (?, 'default')", (name,))


def notes(settings: Settings) -> list[str]:
    with sqlite3.connect(settings.mlflow_folder / "mlflow.db") as database:
        rows = database.execute(
            "SELECT name FROM experiments WHERE name NOT IN ('Default', 'churn') ORDER BY experiment_id"
        )
        return [name for (name,) in rows]


def churn(settings: Settings, server: BucketServer, *arguments: str) -> subprocess.Popen[str]:
    """The command as another machine would start it: its state is in a folder of its own."""
    environment = {
        "HOME": os.environ["HOME"],
        "PATH": "/usr/bin:/bin",
        **settings.as_env(),
        **server.environment(),
    }
    return subprocess.Popen(
        [CHURN, *arguments],
        cwd=settings.local_root.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def machines(bucket_uri: str, tmp_path: Path) -> list[Settings]:
    """Two machines that share a lake in a bucket and nothing else."""
    return [
        bucket_settings(bucket_uri, tmp_path, **SMALL, state_root=tmp_path / name, dagster_home=None)
        for name in ("first", "second")
    ]


@pytest.mark.slow
def test_two_runs_at_once_lose_and_double_nothing(
    machines: list[Settings], tmp_path: Path, spark: SparkSession, bucket_server: BucketServer
) -> None:
    land(machines[0].landing_root, tmp_path)
    running = [churn(settings, bucket_server, "run") for settings in machines]
    said = [process.communicate(timeout=600) for process in running]
    assert sorted(process.returncode for process in running) == [0, 1], said
    refused = next(error for process, (_, error) in zip(running, said, strict=True) if process.returncode)
    assert refused.startswith("churn: Another churn run is at work on this lake: process ")
    assert refused.count("\n") == 1
    again = churn(machines[1], bucket_server, "run")
    assert again.communicate(timeout=600)[1] == "" or again.returncode == 0
    lake = FolderLakehouse(machines[0], lambda: spark)
    landed = sum(len(body.splitlines()) for body in bucket_server.objects(machines[0].landing_root).values())
    assert sum(lake.partition_rows(LANDED_EVENTS).values()) == landed
    assert [one.line() for one in verify(lake) if not one.is_well] == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [4, 6, 8, 10, 12])
def test_a_killed_run_is_made_good_by_another_machine(
    machines: list[Settings], tmp_path: Path, spark: SparkSession, bucket_server: BucketServer, seconds: float
) -> None:
    land(machines[0].landing_root, tmp_path)
    killed = churn(machines[0], bucket_server, "run")
    time.sleep(seconds)
    killed.kill()
    killed.communicate()
    again = churn(machines[1], bucket_server, "run")
    out, error = again.communicate(timeout=600)
    assert again.returncode == 0, out + error
    lake = FolderLakehouse(machines[1], lambda: spark)
    landed = sum(len(body.splitlines()) for body in bucket_server.objects(machines[0].landing_root).values())
    assert sum(lake.partition_rows(LANDED_EVENTS).values()) == landed
    assert lake.version(EVENTS) > 0
    assert lake.version(COMPUTED_DATES) > 0
    assert [one.line() for one in verify(lake, deep=True) if not one.is_well] == []
