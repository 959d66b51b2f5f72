"""What Dagster calls unsynced after a late event is what the plan computes, and after it nothing is."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleStatus,
)  # what the UI asks, exported nowhere else
from dagster._core.loader import LoadingContextForTest  # what it is asked with

from churn_assets.automation.pipeline import Pipeline
from churn_assets.automation.planning import make_plan
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.tables import (
    CHURN_LABELS,
    DAILY_SUMMARY,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    Table,
)
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, NOW, House

DAYS = 8
WHOLE = DateRange(FIRST_DAY, FIRST_DAY + (DAYS - 1) * ONE_DAY)
TABLES = (USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_MONTHLY_ACTIVITY, USER_FEATURES, CHURN_LABELS)


def land(house: House, name: str, *events: tuple[int, int]) -> None:
    """A file of events, each a user and the number of a day, from 0."""
    house.landing.mkdir(parents=True, exist_ok=True)
    lines = [
        {"event_id": f"{name}-{n}", "user_id": user, "event_ts": f"{FIRST_DAY + day * ONE_DAY}T12:00:00Z"}
        for n, (user, day) in enumerate(events)
    ]
    (house.landing / f"{name}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def stage(house: House, *names) -> None:
    for name in names:
        Pipeline(house.definitions, house.lake, house.instance, lambda _: None).run_stage(name, NOW)


def unsynced(house: House) -> dict[Table, set[dt.date]]:
    """The dates of each table that the UI shows as unsynced."""
    graph = house.definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(house.instance, graph, LoadingContextForTest(house.instance))
    return {
        table: {
            day
            for day in WHOLE.days()
            if resolver.get_status(table.asset_key, day.isoformat()) == StaleStatus.STALE
        }
        for table in TABLES
    }


def planned(house: House) -> dict[Table, set[dt.date]]:
    reasons = make_plan(house.lake, NOW, scores=False).reasons
    return {table: set(reasons[table]) for table in TABLES}


@pytest.fixture
def house(on_sail: None, make_house: Callable[..., House], tmp_path: Path) -> House:
    found = make_house(tmp_path, horizon_days=2)
    # User 1 comes every day, user 2 on the third and on the last.
    land(found, "first", *((1, day) for day in range(DAYS)), (2, 2), (2, DAYS - 1))
    stage(found, "ingest", "featurize")
    return found


def test_after_a_late_event_the_same_dates_are_unsynced_as_are_planned(house: House) -> None:
    nothing: dict[Table, set[dt.date]] = {table: set() for table in TABLES}
    assert unsynced(house) == planned(house) == nothing

    # Who has been there before: no age and no arrival changes.
    land(house, "late", (1, 5))
    stage(house, "ingest")

    # What is planned after what is behind, the UI shows once that is there.
    assert unsynced(house) == {**nothing, USER_DAILY_ACTIVITY: planned(house)[USER_DAILY_ACTIVITY]}
    stage(house, "featurize")
    assert unsynced(house) == planned(house) == nothing


def test_somebody_who_came_earlier_makes_the_dates_unsynced_on_which_they_are_older(house: House) -> None:
    land(house, "earlier", (2, 1))
    stage(house, "ingest")

    found, expected = unsynced(house), planned(house)
    assert found[USER_DAILY_ACTIVITY] == expected[USER_DAILY_ACTIVITY]
    assert found[DAILY_SUMMARY] == expected[DAILY_SUMMARY]
    assert found[USER_FEATURES] == expected[USER_FEATURES]
    stage(house, "featurize")
    assert not any(unsynced(house).values())
