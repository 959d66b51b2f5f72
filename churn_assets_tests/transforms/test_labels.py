import datetime as dt

import pytest

from churn_assets import tables
from churn_assets.dates import DateRange
from churn_assets.errors import ImmatureLabelError
from churn_assets.transforms import labels
from churn_assets_tests.rows import D, day, frame, rows_of


def labelled(spark, events, users, dates, horizon_days, *event_types):
    """Labels of users by date; an event is a user, a day and, if it matters, a type."""
    feature_rows = [(user, date, 1, 1, 0, 0, 0, 1) for user, date in users]
    features = frame(spark, tables.USER_FEATURES, feature_rows)
    rows = [
        (str(number), user, dt.datetime.combine(date, dt.time(12), dt.UTC), date, *kind)
        for number, (user, date, *kind) in enumerate(events)
    ]
    landed = frame(spark, tables.EVENTS, rows)
    table = labels.churn_labels(features, landed, dates, horizon_days, event_types=event_types)
    assert table.dtypes == [(column.name, column.type) for column in tables.CHURN_LABELS.columns]
    return rows_of(table)


def test_a_user_silent_for_the_whole_horizon_has_churned(spark):
    events = [
        (1, day(0)),  # on the day itself, then silent
        (2, day(-5)),
        (2, day(31)),  # back one day after the horizon
        (3, day(1)),
        (3, day(1)),
        (4, day(30)),
        (5, day(1)),  # no features, so no label
        *((6, day(offset)) for offset in range(-5, 40)),
    ]
    rows = labelled(spark, events, [(user, D) for user in (1, 2, 3, 4, 6)], DateRange(D, D), 30)
    assert rows == [(1, D, 1), (2, D, 1), (3, D, 0), (4, D, 0), (6, D, 0)]


def test_each_date_of_a_range_has_its_own_horizon(spark):
    users = [(1, day(offset)) for offset in range(-1, 8)]
    rows = labelled(spark, [(1, day(3)), (1, day(7))], users, DateRange(day(0), day(6)), 2)
    stayed = [(day(offset), label) for offset, label in enumerate([1, 0, 0, 1, 1, 0, 0])]
    assert rows == [(1, date, label) for date, label in stayed]


def test_only_events_of_the_types_that_count_keep_a_user(spark):
    users = [(user, D) for user in (1, 2, 3, 4)]
    events = [
        (1, day(1), "page_view"),
        (2, day(1), "page_view"),
        (2, day(9), "purchase"),
        (3, day(2), "renewal"),
        (4, day(1), None),
    ]
    only = DateRange(D, D)
    bought = labelled(spark, events, users, only, 30, "purchase")
    assert bought == [
        (1, D, 1),
        (2, D, 0),
        (3, D, 1),
        (4, D, 1),
    ]
    both = labelled(spark, events, users, only, 30, "renewal", "purchase")
    assert both == [(1, D, 1), (2, D, 0), (3, D, 0), (4, D, 1)]
    assert labelled(spark, events, users, only, 30) == [(user, D, 0) for user in (1, 2, 3, 4)]


def test_dates_of_which_too_little_is_known_have_no_rows(spark):
    features = frame(spark, tables.USER_FEATURES, [(1, day(i), 1, 1, 0, 0, 0, 1) for i in range(6)])
    events = frame(spark, tables.EVENTS, [("a", 1, dt.datetime(2026, 3, 16, tzinfo=dt.UTC), day(6))])
    withheld = [day(1), day(2), day(4)]
    table = labels.churn_labels(features, events, DateRange(day(0), day(5)), 2, unlabelled=withheld)
    assert rows_of(table) == [(1, day(0), 1), (1, day(3), 1), (1, day(5), 0)]


def test_the_last_labelled_date_lies_one_horizon_back():
    assert labels.last_labelled_date(dt.date(2026, 3, 31), 30) == dt.date(2026, 3, 1)


def test_a_date_is_labelled_only_once_its_horizon_is_complete():
    dates = DateRange(dt.date(2026, 2, 1), dt.date(2026, 3, 1))
    labels.require_mature(dates, complete_to=dt.date(2026, 3, 31), horizon_days=30)
    with pytest.raises(ImmatureLabelError) as caught:
        labels.require_mature(dates, complete_to=dt.date(2026, 3, 30), horizon_days=30)
    assert str(caught.value) == (
        "Labels of 2026-02-01 to 2026-03-01 need complete data up to 2026-03-31, but it is complete up to "
        "2026-03-30. Ask for dates up to 2026-02-28, land what is missing, or wait: 2026-03-01 can "
        "be labelled from 2026-04-01 on."
    )
