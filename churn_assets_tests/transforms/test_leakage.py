"""What happens after a feature_date D must not show in the features of D: the real transforms, end to end."""

import datetime as dt
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from churn_assets import tables
from churn_assets.dates import DateRange
from churn_assets.transforms import activity, features
from churn_assets_tests.rows import D, day, frame, rows_of

LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LAST_MOMENT_OF_D = dt.timedelta(hours=23, minutes=59, seconds=59, microseconds=999_999)


def event(
    event_id: str,
    user_id: int,
    offset: int,
    after_midnight: dt.timedelta = dt.timedelta(hours=12),
    *,
    event_type: str = "page_view",
    country: str | None = "DE",
) -> tuple[Any, ...]:
    """An event ``offset`` days after D."""
    moment = dt.datetime.combine(day(offset), dt.time(), dt.UTC) + after_midnight
    return (event_id, user_id, moment, moment.date(), event_type, country, LONG_AGO)


UP_TO_D = [
    event("a", 1, -400),
    event("b", 1, -29, event_type="purchase"),
    event("c", 1, -6),
    event("d", 1, 0, LAST_MOMENT_OF_D),
    event("e", 2, -29),
    event("f", 3, -3, event_type="purchase", country=None),
    event("g", 3, -3),
    # Not active in the 30 days, so without a row, whatever comes.
    event("h", 4, -30),
]

AFTER_D = {
    "the first moment of the next day": [event("z1", 1, 1, dt.timedelta())],
    "all users come back": [event(f"z{user}", user, 1) for user in (1, 2, 3, 4)],
    "somebody new": [event("z1", 5, 1), event("z2", 5, 2, event_type="purchase")],
    "a thousand purchases": [event(f"z{i}", 2, 1 + i % 40, event_type="purchase") for i in range(1000)],
    "another country": [event("z1", 1, 3, country="FR"), event("z2", 3, 3, country="FR")],
    "events in which others' ids return": [event("a", 2, 1), event("e", 1, 1)],
    "years later": [event("z1", 1, 800), event("z2", 2, 4000)],
}


def features_of_d(spark: SparkSession, events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The features of D as a run over a longer range, with all that Silver holds, computes them."""
    rows = frame(spark, tables.EVENTS, events)
    daily = activity.user_daily_activity(rows, DateRange(day(-500), day(5000)))
    months = activity.user_monthly_activity(daily, DateRange(day(-500), day(5000)))
    table: DataFrame = features.user_features(daily, months, activity.users(rows), DateRange(day(-1), day(2)))
    return [row for row in rows_of(table) if row[1] == D]


@pytest.fixture(scope="module")
def expected(spark: SparkSession) -> list[tuple[Any, ...]]:
    return features_of_d(spark, UP_TO_D)


def test_features_of_the_day_are_those_of_its_events(expected: list[tuple[Any, ...]]):
    # Events, active days, days since the last, purchases; account age; events in 7 days.
    assert [row[:8] for row in expected] == [
        (1, D, 3, 3, 0, 1, 400, 2),
        (2, D, 1, 1, 29, 0, 29, 0),
        (3, D, 2, 1, 3, 1, 3, 2),
    ]
    # Of the history, which every test here compares: active days of 90, of 365, of all; events.
    assert [row[8:12] for row in expected] == [(3, 3, 4, 4), (1, 1, 1, 1), (1, 1, 1, 2)]


@pytest.mark.parametrize("what", AFTER_D)
def test_nothing_that_happens_after_the_day_changes_its_features(
    spark: SparkSession, expected: list[tuple[Any, ...]], what: str
):
    assert features_of_d(spark, UP_TO_D + AFTER_D[what]) == expected


def test_all_of_it_at_once_in_another_order_changes_nothing_either(
    spark: SparkSession, expected: list[tuple[Any, ...]]
):
    every_later_event = [later for events in AFTER_D.values() for later in events]
    shuffled = sorted(UP_TO_D + every_later_event, key=lambda row: (row[2].microsecond, row[0], -row[1]))

    assert features_of_d(spark, shuffled) == expected


def test_an_event_of_the_days_last_microsecond_does_change_them(
    spark: SparkSession, expected: list[tuple[Any, ...]]
):
    one_more = event("z1", 2, 0, LAST_MOMENT_OF_D)

    assert features_of_d(spark, [*UP_TO_D, one_more])[1][:8] == (2, D, 2, 2, 0, 0, 29, 1)
