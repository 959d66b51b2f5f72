"""What Dagster calls unsynced after a late event is what the plan computes, and after it nothing is."""

import datetime as dt
import json
from collections.abc import Callable, Iterator

import pytest
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleStatus,
)  # what the UI asks, exported nowhere else
from dagster._core.loader import LoadingContextForTest  # what it is asked with

from churn_assets.asset_keys import asset_key
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.staleness.plan import SCORES
from churn_assets.automation.staleness.planning import make_plan
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    DATED,
    PREDICTION_OUTCOMES,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    Table,
)
from churn_assets_tests.end_to_end.conftest import NOW, House, score_with_a_constant

DAYS = 8
# The fifth of them ends a month.
FIRST_DAY = dt.date(2026, 1, 27)
MONTH_END = dt.date(2026, 1, 31)
WHOLE = DateRange(FIRST_DAY, FIRST_DAY + (DAYS - 1) * ONE_DAY)

Dates = dict[Table, set[dt.date]]
NOTHING: Dates = {table: set() for table in DATED}


def land(house: House, name: str, *events: tuple[int, int]) -> None:
    """A file of events, each a user and the number of a day, from 0."""
    house.landing.mkdir(parents=True, exist_ok=True)
    lines = [
        {"event_id": f"{name}-{n}", "user_id": user, "event_ts": f"{FIRST_DAY + day * ONE_DAY}T12:00:00Z"}
        for n, (user, day) in enumerate(events)
    ]
    (house.landing / f"{name}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def pipeline(house: House) -> Pipeline:
    return Pipeline(house.definitions, house.lake, house.instance, lambda _: None)


def unsynced(house: House, *tables: Table) -> Dates:
    """The dates of each table, or of these, that the UI shows as unsynced."""
    graph = house.definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(house.instance, graph, LoadingContextForTest(house.instance))
    return {
        table: {
            day
            for day in WHOLE.days()
            if resolver.get_status(asset_key(table), day.isoformat()) == StaleStatus.STALE
        }
        for table in tables or DATED
    }


def planned(house: House, *tables: Table) -> Dates:
    reasons = make_plan(house.lake, NOW).reasons
    return {table: set(reasons[table]) for table in tables or DATED}


@pytest.fixture(scope="module")
def house(
    deployment: str, make_house: Callable[..., House], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A lake in which all dates have scores; each test leaves it current."""
    if deployment == "spark":
        pytest.skip("what Dagster makes of data versions is the same on either engine")
    found = make_house(tmp_path_factory.mktemp("unsynced"), horizon_days=2, start_date=FIRST_DAY)
    # User 1 comes every day, user 2 on the third and on the last.
    land(found, "first", *((1, day) for day in range(DAYS)), (2, 2), (2, DAYS - 1))
    with pytest.MonkeyPatch.context() as patch:
        score_with_a_constant(found.settings, patch)
        for stage in ("ingest", "featurize", "score"):
            pipeline(found).run_stage(stage, NOW)
        yield found


def test_at_first_nothing_is_unsynced(house: House) -> None:
    assert unsynced(house) == planned(house) == NOTHING
    assert set(house.lake.partition_rows(CHURN_REASONS)) == set(WHOLE.days())


def test_after_a_late_event_the_same_dates_are_unsynced_as_are_planned(house: House) -> None:
    # Who has been there before: no age and no arrival changes.
    land(house, "late", (1, 3))
    late = FIRST_DAY + 3 * ONE_DAY
    pipeline(house).run_stage("ingest", NOW)

    # What is planned after what is behind, the UI shows once that is there: step by step. These two
    # read events.
    looking_at_it = {late - 2 * ONE_DAY, late - ONE_DAY}
    assert looking_at_it < planned(house)[CHURN_LABELS]
    assert unsynced(house) == {
        **NOTHING,
        USER_DAILY_ACTIVITY: planned(house)[USER_DAILY_ACTIVITY],
        CHURN_LABELS: looking_at_it,
    }

    pipeline(house).runner.materialize("activity", [asset_key(USER_DAILY_ACTIVITY)], DateRange(late, late))
    readers = (USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_MONTHLY_ACTIVITY, USER_FEATURES)
    assert unsynced(house, *readers) == planned(house, *readers)
    assert planned(house)[USER_MONTHLY_ACTIVITY] == {late, MONTH_END}

    pipeline(house).run_stage("featurize", NOW)
    # Past scores are history. Of the last date the plan knows that they follow.
    assert unsynced(house) == {**NOTHING, PREDICTION_OUTCOMES: planned(house)[PREDICTION_OUTCOMES]}
    again = {table: {WHOLE.end} for table in SCORES}
    assert planned(house) == {**unsynced(house), **again}

    pipeline(house).run_stage("score", NOW)
    assert unsynced(house) == planned(house) == NOTHING


def test_somebody_who_came_earlier_makes_the_dates_unsynced_on_which_they_are_older(house: House) -> None:
    land(house, "earlier", (2, 1))
    pipeline(house).run_stage("ingest", NOW)

    readers = (USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_FEATURES)
    assert unsynced(house, *readers) == planned(house, *readers)
    assert planned(house)[CHURN_LABELS]

    for stage in ("featurize", "score"):
        pipeline(house).run_stage(stage, NOW)
    assert unsynced(house) == planned(house) == NOTHING
