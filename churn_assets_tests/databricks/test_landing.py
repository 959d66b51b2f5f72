"""The landing zone on a volume: seen from the orchestrator, by the Files API."""

import datetime as dt
import io
from collections.abc import Callable

import dagster as dg
import pytest

from churn_assets.automation.triggers.sensors import landing_sensor
from churn_assets.deployed_lake import lakehouse
from churn_assets.errors import LandingError
from churn_assets.lakehouse.landing_state import METADATA_NAME, state_of
from churn_assets.settings import Settings
from churn_assets_tests.automation.log import Log
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.faults import Slow

ROOT = "/Volumes/raw_catalog/landing/files"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(landing_root=ROOT)


def land(workspace: Workspace, *names: str) -> None:
    for name in names:
        workspace.client().files.upload(f"{ROOT}/{name}", io.BytesIO(b"{}"))


def tick(
    settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[dg.RunRequest | str, str | None]:
    """The run that is asked for, or why none is; and what the next tick is told."""
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        result = landing_sensor(settings)(context)
        if isinstance(result, dg.SkipReason):
            return result.skip_message or "", context.cursor
        assert isinstance(result, dg.RunRequest)
        return result, context.cursor


def test_files_that_land_on_a_volume_start_an_ingestion(
    workspace: Workspace, settings: Settings, instance: dg.DagsterInstance
) -> None:
    land(workspace, "day 1.json", "2026/03/day2.json.gz", "_unfinished.json", ".hidden/x.json", "notes.txt")

    listing = lakehouse(settings).list_landing()
    assert listing.files == ["2026/03/day2.json.gz", "day 1.json"]
    assert listing.passed_over == ["notes.txt"]
    assert isinstance(tick(settings, instance)[0], dg.RunRequest)

    Log(instance).ingested(version="1", bronze={METADATA_NAME: state_of(listing)})
    assert tick(settings, instance)[0] == "Nothing new among 2 files."

    land(workspace, "2026/03/day3.json")
    assert isinstance(tick(settings, instance)[0], dg.RunRequest)


def test_more_files_than_a_page_has_are_all_seen(workspace: Workspace, settings: Settings) -> None:
    folder = workspace.local(ROOT)
    folder.mkdir(parents=True)
    for number in range(1001):
        (folder / f"{number}.json").touch()

    assert len(lakehouse(settings).list_landing().files) == 1001


def test_a_volume_is_not_listed_at_every_tick_and_the_less_the_longer_it_takes(
    workspace: Workspace, settings: Settings, instance: dg.DagsterInstance
) -> None:
    land(workspace, "a.json")
    workspace.faults.add("GET", ROOT, Slow(4))
    first, cursor = tick(settings, instance)
    asked = len(workspace.requests)

    again, same = tick(settings, instance, cursor)

    assert isinstance(first, dg.RunRequest)
    assert "is listed again at" in str(again)
    assert (len(workspace.requests), same) == (asked, cursor)
    assert cursor
    wait = dt.datetime.fromisoformat(cursor) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(seconds=70) < wait <= dt.timedelta(seconds=100)


def test_no_volume_and_no_way_in_are_one_line_each(
    workspace: Workspace, make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    missing, _ = tick(make_settings(landing_root=f"{ROOT}/nowhere"), instance)
    assert str(missing).startswith(f"The landing zone {ROOT}/nowhere does not exist. Create it")

    stranger, _ = tick(make_settings(landing_root=ROOT, databricks_token="dapi-of-nobody"), instance)
    assert f"The landing zone {ROOT} cannot be read" in str(stranger)
    assert len(workspace.requests) == 2


def test_a_bucket_that_is_no_volume_is_the_clusters_to_list(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(LandingError, match=r"s3://bucket/events is no volume.*CHURN_LANDING_ROOT"):
        lakehouse(make_settings(landing_root="s3://bucket/events")).list_landing()
