"""When a run may leave the landing zone alone."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.staleness.ingested_files import LOOKED_AFTER, unchanged_landing_zone
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_notes import LandingNotes
from churn_assets.lakehouse.landing_state import state_of
from churn_assets.settings import Settings
from churn_assets.tables import LANDED_EVENTS
from churn_assets_tests.conftest import MakeSettings

LANDED = asset_key(LANDED_EVENTS)
Ask = Callable[..., LandingNotes | None]


@pytest.fixture
def settings(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = make_settings()
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home_folder))
    Path(settings.landing_root).mkdir(parents=True)
    land(settings, "a.json", "notes.txt")
    return settings


@pytest.fixture
def history(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(settings) as instance:
        yield instance


@pytest.fixture
def ask(settings: Settings, history: dg.DagsterInstance) -> Ask:
    """Asks of a lake whose Bronze has this version."""

    def asked(version: int = 3, code: str = "1", after: dt.timedelta = dt.timedelta()) -> LandingNotes | None:
        lake: Any = SimpleNamespace(
            list_landing=lambda: list_files(settings.landing_root), version=lambda _: version
        )
        return unchanged_landing_zone(lake, history, {LANDED: code}, dt.datetime.now(dt.UTC) + after)

    return asked


def land(settings: Settings, *names: str) -> None:
    for name in names:
        (Path(settings.landing_root) / name).touch()


def ingested(
    history: dg.DagsterInstance, settings: Settings, *, is_listed: bool = True, **notes: object
) -> None:
    """The last ingestion took in what has landed, and left Bronze at version 3."""
    state = {"landing_state": state_of(list_files(settings.landing_root))} if is_listed else {}
    history.report_runless_asset_event(
        dg.AssetMaterialization(
            LANDED,
            metadata={**state, "landing_zone": dg.MetadataValue.json(notes)},
            tags={"dagster/data_version": "3", "dagster/code_version": "1"},
        )
    )


def test_files_that_were_all_seen_need_no_ingestion(
    ask: Ask, history: dg.DagsterInstance, settings: Settings
) -> None:
    assert ask() is None

    ingested(history, settings)

    # What is passed over is still said.
    assert ask() == LandingNotes(passed_over=1, passed_over_names=["notes.txt"])


def test_a_new_file_is_ingested(ask: Ask, history: dg.DagsterInstance, settings: Settings) -> None:
    ingested(history, settings)
    land(settings, "b.json")

    assert ask() is None


def test_bronze_that_is_not_as_it_was_left_is_looked_at(
    ask: Ask, history: dg.DagsterInstance, settings: Settings
) -> None:
    ingested(history, settings)

    assert ask(version=4) is None
    assert ask(version=-1) is None


def test_files_that_could_not_be_read_and_a_wrong_clock_are_tried_again(
    ask: Ask, history: dg.DagsterInstance, settings: Settings
) -> None:
    ingested(history, settings, left_out={"c.json": "cannot be read"}, left_out_count=1)
    assert ask() is None

    ingested(history, settings, ahead_seconds=90.0)
    assert ask() is None


def test_a_file_that_cannot_be_ingested_now_is_reported_by_an_ingestion(
    ask: Ask, history: dg.DagsterInstance, settings: Settings
) -> None:
    ingested(history, settings)
    (Path(settings.landing_root) / "d.json").symlink_to("nowhere")

    assert ask() is None


def test_a_zone_that_only_the_engine_can_list_is_looked_at_each_time(
    ask: Ask, history: dg.DagsterInstance, settings: Settings
) -> None:
    ingested(history, settings, is_listed=False)

    assert ask() is None


def test_other_code_and_half_a_day_are_reasons_to_look(
    ask: Ask, history: dg.DagsterInstance, settings: Settings
) -> None:
    ingested(history, settings)

    assert ask(code="2") is None
    assert ask(after=LOOKED_AFTER) is None
    assert ask() is not None
