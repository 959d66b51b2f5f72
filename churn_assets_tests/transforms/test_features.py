import pytest

from churn_assets import tables
from churn_assets.dates import DateRange
from churn_assets.transforms import features
from churn_assets_tests.rows import D, day, frame, rows_of

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


def test_features_are_what_was_known_at_the_end_of_the_day(activity, users):
    table = features.user_features(activity, users, ONLY_D)
    assert table.dtypes == [(column.name, column.type) for column in tables.USER_FEATURES.columns]
    # Events, active days, days since the last, purchases; account age; events in 7 days.
    assert rows_of(table) == [
        (1, D, 1 + 10 + 2 + 4, 4, 0, 1 + 3, 400, 2 + 4),
        (2, D, 5, 1, 29, 0, 29, 0),
    ]


def test_who_was_active_only_before_the_first_day_of_the_data_is_not_seen_yet(spark):
    activity = frame(spark, tables.USER_DAILY_ACTIVITY, [(1, day(-3), 1, 0), (1, day(2), 1, 0)])
    users = frame(spark, tables.USERS, [(1, day(2), day(2), None)])
    table = features.user_features(activity, users, DateRange(day(0), day(2)))
    assert rows_of(table, "feature_date", "account_age_days") == [(day(2), 0)]


def test_a_range_of_dates_gives_what_its_dates_give_one_by_one(activity, users):
    dates = DateRange(day(-31), day(31))
    in_one = rows_of(features.user_features(activity, users, dates))
    one_by_one = [
        row
        for date in (day(-31), day(-30), day(-1), day(0), day(1), day(28), day(30), day(31))
        for row in rows_of(features.user_features(activity, users, DateRange(date, date)))
    ]
    assert sorted(one_by_one) == [row for row in in_one if row in one_by_one]
    per_user = {user: sum(row[0] == user for row in in_one) for user in range(1, 6)}
    # Each user-day reaches 30 dates: user 1 is seen from D-30 to D+30, user 2 from D-29 to D, ...
    assert per_user == {1: 61, 2: 30, 3: 30, 4: 30, 5: 0}


def test_no_event_in_thirty_days_gives_no_row(activity, users):
    assert rows_of(features.user_features(activity, users, DateRange(day(31), day(40)))) == []


def test_a_user_missing_from_users_is_not_silently_dropped(spark, activity):
    nobody = frame(spark, tables.USERS, [])
    table = features.user_features(activity, nobody, ONLY_D)
    assert rows_of(table, "user_id", "account_age_days") == [(1, None), (2, None)]
