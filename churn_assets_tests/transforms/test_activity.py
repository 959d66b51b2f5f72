import datetime as dt
import random
from decimal import Decimal

import pytest

from churn_assets import tables
from churn_assets.dates import DateRange
from churn_assets.transforms import activity
from churn_assets_tests.rows import NOON, day, frame, rows_of


def event(event_id: str, user_id: int, event_date: dt.date, event_type: str | None = "page_view", **more):
    hour, country = more.get("hour", 0), more.get("country", "DE")
    event_ts = dt.datetime.combine(event_date, dt.time(hour), dt.UTC)
    return (event_id, user_id, event_ts, event_date, event_type, country, NOON)


@pytest.fixture(scope="module")
def events(spark):
    rows = [
        event("a", 1, day(-2), "purchase"),
        event("b", 1, day(-2), "Purchase"),
        event("c", 1, day(-2), None),
        event("d", 1, day(0), "purchase"),
        event("e", 2, day(0)),
        event("f", 2, day(1), "purchase"),
    ]
    return frame(spark, tables.EVENTS, rows)


def test_users_are_summed_up_over_all_events(events):
    users = activity.users(events)
    assert users.dtypes == [(column.name, column.type) for column in tables.USERS.columns]
    assert rows_of(users) == [(1, day(-2), day(0), "DE", None), (2, day(0), day(1), "DE", None)]


def test_events_before_the_first_day_make_nobody_old_and_who_has_no_later_ones_keeps_them(spark):
    rows = [event("a", 1, day(-900)), event("b", 1, day(1)), event("c", 2, day(-900)), event("d", 3, day(0))]
    users = activity.users(frame(spark, tables.EVENTS, rows), first_day=day(0))
    assert rows_of(users, "user_id", "first_seen_date", "last_seen_date") == [
        (1, day(1), day(1)),
        (2, day(-900), day(-900)),
        (3, day(0), day(0)),
    ]


def test_a_users_country_is_that_of_the_latest_event_that_has_one(spark):
    rows = [
        event("a", 1, day(0), country="FR", hour=9),
        event("b", 1, day(0), country="DE", hour=10),
        event("c", 1, day(-5), country="US"),
        event("d", 1, day(1), country=None),
        event("e", 1, day(2), country=""),
        event("f", 2, day(0), country=None),
        # At one moment, the greatest event_id decides, whatever the country.
        event("y", 3, day(0), country="ZZ"),
        event("z", 3, day(0), country="AA"),
        event("x", 3, day(0), country="MM"),
        # Long before and after, so that a moment has more or fewer digits as a number.
        event("z", 4, dt.date(1970, 1, 1), country="old"),
        event("a", 4, dt.date(2026, 3, 1), country="new"),
    ]
    users = activity.users(frame(spark, tables.EVENTS, rows))
    assert rows_of(users, "user_id", "country") == [(1, "DE"), (2, None), (3, "AA"), (4, "new")]


def random_events(seed: int) -> list[tuple]:
    """Of six users on forty days, some long before, some without a country or a source id."""
    rng = random.Random(seed)
    sources = {user: rng.choice([None, f"source {user}"]) for user in range(6)}
    made = []
    for number in range(60):
        user = rng.randrange(6)
        # One comes late.
        on = day(rng.randrange(5, 20) if user == 5 else rng.choice([-900, *range(-20, 20)]))
        country, source = rng.choice(["AA", "BB", None, ""]), rng.choice([None, sources[user]])
        row = event(f"{rng.random()}-{number}", user, on, hour=rng.randrange(24), country=country)
        made.append((*row, source))
    return made


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("first_day", [None, day(-10)])
@pytest.mark.parametrize("since", [day(-900), day(3)])
def test_users_brought_up_to_date_are_those_of_all_events(
    spark, seed: int, first_day: dt.date | None, since: dt.date
):
    rows = random_events(seed)
    all_events = frame(spark, tables.EVENTS, rows)
    # Every other event since then is new.
    before = [row for number, row in enumerate(rows) if row[3] < since or number % 2]
    known = activity.users(frame(spark, tables.EVENTS, before), first_day)

    found = activity.users_since(known, all_events, since, first_day)

    assert found.dtypes == [(column.name, column.type) for column in tables.USERS.columns]
    assert rows_of(found) == rows_of(activity.users(all_events, first_day))


def test_users_are_brought_up_to_date_from_the_days_since_then_alone(spark):
    known = frame(spark, tables.USERS, [(1, day(-9), day(-5), "DE"), (2, day(-9), day(-9), None)])
    # The ledger says that nothing new came before: what it says is not looked for.
    rows = [event("a", 1, day(-30), country="US"), event("b", 1, day(2), country=None), event("c", 3, day(1))]

    found = activity.users_since(known, frame(spark, tables.EVENTS, rows), since=day(1))

    assert rows_of(found) == [
        (1, day(-9), day(2), "DE", None),
        (2, day(-9), day(-9), None, None),
        (3, day(1), day(1), "DE", None),
    ]


def test_activity_counts_events_and_purchases_a_user_and_day(events):
    daily = activity.user_daily_activity(events, DateRange(day(-2), day(0)))
    assert daily.dtypes == [(column.name, column.type) for column in tables.USER_DAILY_ACTIVITY.columns]
    assert rows_of(daily) == [(1, day(-2), 3, 1, None), (1, day(0), 1, 1, None), (2, day(0), 1, 0, None)]


def test_amounts_of_a_day_are_added_and_missing_where_no_event_has_one(spark):
    amounts = {"a": (day(0), "12.50"), "b": (day(0), "-20.00"), "c": (day(0), None), "d": (day(1), None)}
    rows = [
        (*event(event_id, 1, date), None, amount and Decimal(amount))
        for event_id, (date, amount) in amounts.items()
    ]
    daily = activity.user_daily_activity(frame(spark, tables.EVENTS, rows), DateRange(day(0), day(1)))
    assert rows_of(daily, "event_date", "events", "amount") == [
        (day(0), 3, Decimal("-7.50")),
        (day(1), 1, None),
    ]


def test_a_month_is_one_row_a_user_with_a_bit_for_each_active_day(spark):
    daily = frame(
        spark,
        tables.USER_DAILY_ACTIVITY,
        [
            (1, dt.date(2026, 1, 1), 2, 1, Decimal("10.00")),
            (1, dt.date(2026, 1, 3), 1, 0, None),
            (1, dt.date(2026, 1, 31), 5, 0, Decimal("-4.00")),
            (1, dt.date(2026, 2, 28), 1, 1, None),
            (2, dt.date(2026, 1, 2), 1, 0, None),
            # Of months that end outside the dates.
            (1, dt.date(2025, 12, 31), 7, 7, None),
            (1, dt.date(2026, 3, 1), 7, 7, None),
        ],
    )
    months = activity.user_monthly_activity(daily, DateRange(dt.date(2026, 1, 31), dt.date(2026, 3, 30)))
    assert months.dtypes == [(column.name, column.type) for column in tables.USER_MONTHLY_ACTIVITY.columns]
    january, february = dt.date(2026, 1, 31), dt.date(2026, 2, 28)
    # user_id, month_end_date, active_day_bits, events, purchases, last_purchase_date, amount
    assert rows_of(months) == [
        (1, january, 1 + 4 + 2**30, 8, 1, dt.date(2026, 1, 1), Decimal("6.00")),
        (1, february, 2**27, 1, 1, february, None),
        (2, january, 2, 1, 0, None, None),
    ]


def test_a_summary_has_a_row_for_each_day_with_an_event(spark, events):
    dates = DateRange(day(-2), day(0))
    daily = activity.user_daily_activity(events, DateRange(day(-9), day(9)))
    summary = activity.daily_summary(daily, activity.users(events), dates)
    assert summary.dtypes == [(column.name, column.type) for column in tables.DAILY_SUMMARY.columns]
    # event_date, events, active_users, new_users, purchases
    assert rows_of(summary) == [(day(-2), 3, 1, 1, 1), (day(0), 2, 2, 1, 1)]


def test_a_day_without_a_new_user_says_zero(spark, events):
    daily = activity.user_daily_activity(events, DateRange(day(1), day(1)))
    summary = activity.daily_summary(daily, activity.users(events), DateRange(day(1), day(1)))
    assert rows_of(summary) == [(day(1), 1, 1, 0, 1)]
