"""Quality monitors: made once, mended where they differ, and said where they are not to be had."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from databricks.sdk.service.catalog import MonitorCronSchedule, MonitorSnapshot

from churn_assets.databricks.catalog import monitors
from churn_assets.lakehouse.ddl import create_managed_table
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES
from churn_assets_tests.conftest import settings_in
from churn_assets_tests.workspace.emulator import Workspace

PREDICTIONS, FEATURES = str(CHURN_PREDICTIONS), str(USER_FEATURES)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace")) as started:
        for sql in (
            "CREATE CATALOG main_catalog MANAGED LOCATION 's3://bucket/main'",
            "CREATE SCHEMA main_catalog.gold",
            create_managed_table(CHURN_PREDICTIONS, PREDICTIONS),
            create_managed_table(USER_FEATURES, FEATURES),
        ):
            assert "error" not in started.engine.execute(sql)
        yield started
    assert started.violations == []


@pytest.fixture
def workspace(shared: Workspace) -> Iterator[Workspace]:
    """Tables without a monitor."""
    yield shared
    shared.monitors.monitors.clear()
    shared.monitors.enabled, shared.monitors.owners = True, None


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path, deployment="databricks")


def test_monitors_are_made_once_and_left_alone_then(workspace: Workspace, settings: Settings) -> None:
    client = workspace.client()

    for _ in range(2):
        assert monitors.set_up(client, settings) == []

    made = client.quality_monitors.get(PREDICTIONS)
    assert made.inference_log
    assert made.inference_log.timestamp_col == "feature_date"
    assert made.inference_log.model_id_col == "model_version"
    assert client.quality_monitors.get(FEATURES).time_series
    assert len(workspace.calls("POST", "/monitor")) == 2
    assert workspace.calls("PUT", "/monitor") == []


def test_a_monitor_of_another_kind_is_mended_and_keeps_its_schedule(
    workspace: Workspace, settings: Settings
) -> None:
    client = workspace.client()
    weekly = MonitorCronSchedule(quartz_cron_expression="0 0 8 ? * MON", timezone_id="UTC")
    client.quality_monitors.create(
        FEATURES, "/Shared/theirs", "main_catalog.gold", snapshot=MonitorSnapshot(), schedule=weekly
    )

    assert monitors.set_up(client, settings) == []

    mended = client.quality_monitors.get(FEATURES)
    assert mended.time_series
    assert (mended.snapshot, mended.schedule, mended.assets_dir) == (None, weekly, "/Shared/theirs")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"enabled": False}, "BadRequest: Lakehouse monitoring is not enabled for this workspace"),
        ({"owners": {"somebody"}}, f"PermissionDenied: User is not an owner of Table '{PREDICTIONS}'"),
    ],
)
def test_where_there_are_none_it_is_said_for_each_table_and_nothing_fails(
    workspace: Workspace, settings: Settings, wrong: dict[str, object], says: str
) -> None:
    for name, value in wrong.items():
        setattr(workspace.monitors, name, value)

    notes = monitors.set_up(workspace.client(), settings)

    assert [note.partition(" ")[0] for note in notes] == [PREDICTIONS, FEATURES]
    assert notes[0].startswith(f"{PREDICTIONS} has no quality monitor: {says}. It takes ownership")


def test_without_its_table_a_monitor_waits_for_setup(workspace: Workspace, tmp_path: Path) -> None:
    elsewhere = settings_in(tmp_path, deployment="databricks", main_catalog="raw_catalog")

    assert [note.rpartition(": ")[2] for note in monitors.set_up(workspace.client(), elsewhere)] == [
        "churn setup --databricks"
    ] * 2
