"""How dates become runs, and what is said where the data does not cover the dates of the settings."""

import datetime as dt
from collections.abc import Iterable

import pytest
from pyspark.sql import SparkSession

from churn_assets.automation.staleness.plan import MODEL_NEWER, SCORES, Plan, Reasons, Step
from churn_assets.automation.staleness.planning import covered_dates
from churn_assets.automation.staleness.staleness import MISSING
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import DateRangeError
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    DAILY_SUMMARY,
    EVENTS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
)
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.rows import NOON, frame

START = dt.date(2026, 1, 1)
NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def january(day: int) -> dt.date:
    return dt.date(2026, 1, day)


def missing(*days: int) -> Reasons:
    return dict.fromkeys(map(january, days), MISSING)


def steps_of(reasons: dict) -> list[Step]:
    return Plan(DateRange(january(1), january(31)), reasons).steps()


def test_neighbours_with_equal_dates_share_a_run() -> None:
    steps = steps_of({USER_DAILY_ACTIVITY: missing(1, 2), DAILY_SUMMARY: missing(1, 2)})

    assert steps == [Step((USER_DAILY_ACTIVITY, DAILY_SUMMARY), DateRange(january(1), january(2)))]


def test_other_dates_are_another_run_in_the_order_of_the_graph() -> None:
    steps = steps_of(
        {
            USER_DAILY_ACTIVITY: missing(3),
            DAILY_SUMMARY: missing(3),
            USER_FEATURES: missing(3, 4),
            CHURN_LABELS: missing(3),
        }
    )

    assert steps == [
        Step((USER_DAILY_ACTIVITY, DAILY_SUMMARY), DateRange(january(3), january(3))),
        Step((USER_FEATURES,), DateRange(january(3), january(4))),
        Step((CHURN_LABELS,), DateRange(january(3), january(3))),
    ]


def test_a_gap_splits_the_runs_of_all_tables_that_share_them() -> None:
    steps = steps_of({USER_DAILY_ACTIVITY: missing(1, 2, 9), DAILY_SUMMARY: missing(1, 2, 9)})

    both = (USER_DAILY_ACTIVITY, DAILY_SUMMARY)
    assert steps == [
        Step(both, DateRange(january(1), january(2))),
        Step(both, DateRange(january(9), january(9))),
    ]


def test_a_table_with_nothing_to_do_has_no_run_and_keeps_the_order_of_those_around_it() -> None:
    steps = steps_of({USER_DAILY_ACTIVITY: missing(5), DAILY_SUMMARY: {}, USER_FEATURES: missing(5)})

    one_day = DateRange(january(5), january(5))
    assert steps == [Step((USER_DAILY_ACTIVITY,), one_day), Step((USER_FEATURES,), one_day)]


def test_nothing_to_do_is_no_run() -> None:
    assert steps_of({USER_DAILY_ACTIVITY: {}, DAILY_SUMMARY: {}}) == []


def test_a_date_that_waits_for_a_check_is_not_scored_again() -> None:
    plan = Plan(DateRange(january(1), january(3)), blocked={CHURN_PREDICTIONS: {january(3): "features fail"}})

    plan.score_again(january(2), MODEL_NEWER)
    plan.score_again(january(3), MODEL_NEWER)

    assert plan.steps() == [Step(SCORES, DateRange(january(2), january(2)))]


@pytest.fixture
def events_on(make_settings: MakeSettings, spark: SparkSession):
    """A lake whose Silver has one event on each of these days."""

    def make(days: Iterable[dt.date], **overrides) -> FolderLakehouse:
        lake = FolderLakehouse(make_settings(start_date=START, **overrides), lambda: spark)
        rows = [
            (f"e-{i}", 1, dt.datetime.combine(day, dt.time(12), dt.UTC), day, "page_view", "DE", NOON)
            for i, day in enumerate(days)
        ]
        lake.write(EVENTS, frame(spark, EVENTS, rows))
        return lake

    return make


def test_dates_are_covered_from_the_first_event_to_the_last(events_on) -> None:
    assert covered_dates(events_on([january(3), january(9)]), NOW) == DateRange(january(3), january(9))


def test_a_few_events_far_outside_cover_no_date(events_on) -> None:
    days = [day for day in map(january, range(3, 31)) for _ in range(3)]
    strays = [dt.date(2026, 3, 20), START - 400 * ONE_DAY, START - 20 * ONE_DAY]

    assert covered_dates(events_on([*days, *strays]), NOW) == DateRange(january(3), january(30))


def test_the_day_that_is_not_over_is_not_covered(events_on) -> None:
    during_the_9th = dt.datetime(2026, 1, 9, 23, 59, tzinfo=dt.UTC)

    assert covered_dates(events_on([january(3), january(9)]), during_the_9th).end == january(8)


def test_nothing_is_covered_after_the_end_date(events_on) -> None:
    lake = events_on([january(3), january(9)], end_date=january(5))

    assert covered_dates(lake, NOW) == DateRange(january(3), january(5))


def test_events_just_before_the_start_say_from_which_date_they_start(events_on) -> None:
    lake = events_on([START - 2 * ONE_DAY, START])

    with pytest.raises(
        DateRangeError, match=r"Events start on 2025-12-30 .* CHURN_START_DATE is 2026-01-01"
    ) as error:
        covered_dates(lake, NOW)

    assert "Set CHURN_START_DATE=2025-12-30" in str(error.value)


def test_a_year_of_events_before_the_start_is_named_at_once(events_on) -> None:
    # Every 20 days: each window reaches one more event, and the answer must be the last of this chain.
    lake = events_on([START - i * 20 * ONE_DAY for i in range(19)])

    with pytest.raises(DateRangeError, match="Set CHURN_START_DATE=2025-01-06"):
        covered_dates(lake, NOW)


def test_an_old_event_that_no_window_reaches_moves_no_start(events_on) -> None:
    lake = events_on([dt.date(1980, 1, 1), START - 10 * ONE_DAY, START])

    with pytest.raises(DateRangeError, match="Set CHURN_START_DATE=2025-12-22"):
        covered_dates(lake, NOW)


def test_the_30th_day_before_the_start_is_in_no_window(events_on) -> None:
    assert covered_dates(events_on([START - 30 * ONE_DAY, START]), NOW).start == START


def test_the_29th_day_before_the_start_is_in_its_window(events_on) -> None:
    with pytest.raises(DateRangeError, match="Set CHURN_START_DATE=2025-12-03"):
        covered_dates(events_on([START - 29 * ONE_DAY, START]), NOW)


def test_events_that_all_lie_before_the_start_say_where_they_start(events_on) -> None:
    lake = events_on([dt.date(2010, 12, 1), dt.date(2011, 12, 9)])

    with pytest.raises(
        DateRangeError, match=r"Events start on 2010-12-01 .* Set CHURN_START_DATE=2010-12-01"
    ):
        covered_dates(lake, NOW)


def test_events_of_today_only_say_that_the_day_must_be_over(events_on) -> None:
    with pytest.raises(DateRangeError, match=r"the first of them is of 2026-06-01\. Land events of complete"):
        covered_dates(events_on([NOW.date()]), NOW)


def test_a_silver_without_events_says_that_there_is_none(
    make_settings: MakeSettings, lake: FolderLakehouse
) -> None:
    lake.read(EVENTS)

    with pytest.raises(DateRangeError, match=r"No event from 2026-01-01 to now: there is none yet\."):
        covered_dates(lake, NOW)
