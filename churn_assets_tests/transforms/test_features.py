import datetime as dt
from decimal import Decimal

import pytest

from churn_assets import tables
from churn_assets.dates import DateRange
from churn_assets.tables import WINDOW_FEATURES
from churn_assets.transforms import activity as activity_transforms
from churn_assets.transforms import features
from churn_assets_tests.rows import D, day, frame, nulls_first, rounded, rows_of

ONLY_D = DateRange(D, D)

# user_id, event_date, events, purchases
ACTIVITY = [
    (1, day(-30), 100, 100),  # a day too old
    (1, day(-29), 1, 1),
    (1, day(-7), 10, 0),  # within 30 days, not within 7
    (1, day(-6), 2, 0),
    (1, day(0), 4, 3),
    (1, day(1), 1000, 1000),  # not known yet
    (2, day(-29), 5, 0),
    (3, day(-30), 7, 0),
    (4, day(1), 7, 0),
]
# user_id, first_seen_date, last_seen_date, country
USERS = [
    (1, day(-400), day(1), "DE"),
    (2, day(-29), day(-29), None),
    (3, day(-30), day(-30), None),
    (4, day(1), day(1), None),
    (5, day(-90), day(-90), None),
]


@pytest.fixture(scope="module")
def activity(spark):
    return frame(spark, tables.USER_DAILY_ACTIVITY, ACTIVITY)


@pytest.fixture(scope="module")
def users(spark):
    return frame(spark, tables.USERS, USERS)


@pytest.fixture(scope="module")
def no_months(spark):
    return frame(spark, tables.USER_MONTHLY_ACTIVITY, [])


def test_features_are_what_was_known_at_the_end_of_the_day(activity, users, no_months):
    table = features.user_features(activity, no_months, users, ONLY_D)
    assert table.dtypes == [(column.name, column.type) for column in tables.USER_FEATURES.columns]
    # Events, active days, days since the last, purchases; account age; events in 7 days.
    assert rows_of(table, "user_id", "feature_date", *WINDOW_FEATURES) == [
        (1, D, 1 + 10 + 2 + 4, 4, 0, 1 + 3, 400, 2 + 4),
        (2, D, 5, 1, 29, 0, 29, 0),
    ]


def test_who_was_active_only_before_the_first_day_of_the_data_is_not_seen_yet(spark, no_months):
    activity = frame(spark, tables.USER_DAILY_ACTIVITY, [(1, day(-3), 1, 0), (1, day(2), 1, 0)])
    users = frame(spark, tables.USERS, [(1, day(2), day(2), None)])
    table = features.user_features(activity, no_months, users, DateRange(day(0), day(2)))
    assert rows_of(table, "feature_date", "account_age_days") == [(day(2), 0)]


def test_a_range_of_dates_gives_what_its_dates_give_one_by_one(activity, users):
    dates = DateRange(day(-31), day(31))
    months = activity_transforms.user_monthly_activity(activity, DateRange(day(-90), day(31)))
    in_one = rows_of(features.user_features(activity, months, users, dates))
    one_by_one = [
        row
        for date in (day(-31), day(-30), day(-1), day(0), day(1), day(28), day(30), day(31))
        for row in rows_of(features.user_features(activity, months, users, DateRange(date, date)))
    ]
    assert sorted(one_by_one, key=nulls_first) == [row for row in in_one if row in one_by_one]
    per_user = {user: sum(row[0] == user for row in in_one) for user in range(1, 6)}
    # Each user-day reaches 30 dates: user 1 is seen from D-30 to D+30, user 2 from D-29 to D, ...
    assert per_user == {1: 61, 2: 30, 3: 30, 4: 30, 5: 0}


def test_many_groups_for_many_rows_give_what_few_give(activity, users, no_months):
    in_few, in_many = (
        rows_of(features.user_features(activity, no_months, users, ONLY_D, rows=count))
        for count in (0, 40 * features.ROWS_A_GROUP)
    )
    assert in_few == in_many


def test_no_event_in_thirty_days_gives_no_row(activity, users, no_months):
    table = features.user_features(activity, no_months, users, DateRange(day(31), day(40)))
    assert rows_of(table) == []


def test_a_user_missing_from_users_is_not_silently_dropped(spark, activity, no_months):
    nobody = frame(spark, tables.USERS, [])
    table = features.user_features(activity, no_months, nobody, ONLY_D)
    assert rows_of(table, "user_id", "account_age_days") == [(1, None), (2, None)]


# user_id, event_date, events, purchases, amount. Days with three months between the first and the last.
REGULAR = [
    (1, dt.date(2025, 12, 5), 2, 1, Decimal("10.00")),
    (1, dt.date(2025, 12, 15), 1, 0, None),
    (1, dt.date(2026, 1, 4), 3, 1, Decimal("-2.50")),
    (1, dt.date(2026, 3, 5), 1, 0, Decimal("0.25")),
    # Once, long ago, and once lately: two days, so one gap and no deviation.
    (2, dt.date(2024, 2, 29), 1, 1, None),
    (2, D, 1, 0, None),
    # A single day.
    (3, D, 1, 0, None),
    # Bought on the day itself.
    (4, day(-1), 1, 0, None),
    (4, D, 1, 1, Decimal("1.00")),
]
LONG_AGO = DateRange(dt.date(2024, 1, 1), D)


@pytest.fixture(scope="module")
def history(spark):
    """The history columns of D: user_id, and tables.HISTORY."""
    daily = frame(spark, tables.USER_DAILY_ACTIVITY, REGULAR)
    users = frame(spark, tables.USERS, [(user, dt.date(2024, 2, 29), D) for user in (1, 2, 3, 4)])
    months = activity_transforms.user_monthly_activity(daily, LONG_AGO)
    table = features.user_features(daily, months, users, ONLY_D)
    return table.select("user_id", *(column.name for column in tables.HISTORY))


def test_the_history_reaches_back_to_the_users_first_day(history):
    # Active days of 90, of 365, of all; events, purchases of all.
    assert rows_of(history.select("user_id", *history.columns[1:6])) == [
        (1, 3, 4, 4, 7, 2),
        (2, 1, 1, 2, 2, 1),
        (3, 1, 1, 1, 1, 0),
        (4, 2, 2, 2, 2, 1),
    ]


def test_gaps_are_between_active_days_and_missing_where_there_are_too_few(history):
    # Gaps of user 1: 10, 20 and 60 days, mean 30; the sample's deviation is that of -20, -10 and 30.
    columns = ["mean_gap_days", "gap_std_days", "longest_gap_days", "overdue_ratio"]
    assert rounded(rows_of(history, "user_id", *columns)) == [
        (1, 30.0, round((1400 / 2) ** 0.5, 9), 60.0, round(5 / 30, 9)),
        (2, 740.0, None, 740.0, 0.0),
        (3, None, None, None, None),
        (4, 1.0, None, 1.0, 0.0),
    ]


def test_the_last_purchase_and_amounts_are_missing_where_there_is_none(history):
    columns = ["days_since_last_purchase", "amount_30d", "amount_total"]
    assert rows_of(history, "user_id", *columns) == [
        (1, 65, 0.25, 7.75),
        (2, 740, None, None),
        (3, None, None, None),
        (4, 0, 1.0, 1.0),
    ]


@pytest.mark.parametrize("offset", [-5, 0, 19, 20, 24])
def test_days_that_are_read_in_their_months_count_as_they_do_one_by_one(spark, offset):
    # From D+20, 30 March, on February is read as a whole: the 30 days begin with March.
    daily = frame(spark, tables.USER_DAILY_ACTIVITY, REGULAR)
    users = frame(spark, tables.USERS, [(user, dt.date(2024, 2, 29), D) for user in (1, 2, 3, 4)])
    date = DateRange(day(offset), day(offset))
    months = activity_transforms.user_monthly_activity(daily, DateRange(LONG_AGO.start, day(60)))
    read = daily.where(daily.event_date >= features.first_whole_day(date.start))

    in_months = rows_of(features.user_features(read, months, users, date))
    # The first of these dates is before all of these months.
    at_once = features.user_features(daily, months, users, DateRange(LONG_AGO.start, date.end))

    assert in_months == [row for row in rows_of(at_once) if row[1] == date.start] != []
