import datetime as dt

import pytest

from churn_assets import tables
from churn_assets.transforms import treatments
from churn_assets_tests.rows import NOON, D, day, frame, rows_of, utc

HORIZON = 30
FIELDS = "user_id string, source_user_id string, treated_at string, channel string, cost string"
USERS = [
    (1, D, D, None, None),
    (2, D, D, None, None),
    (7, D, D, None, "ann@example.org"),
    (8, D, D, None, "2"),
]


def judged(spark, *rows):
    """What is said of rows of who, source, when, how and cost, in their order."""
    schema = f"{FIELDS}, row_number bigint, _raw string, _source_file string"
    given = [(*row, number, "{}", "a.csv") for number, row in enumerate(rows, start=1)]
    found = treatments.judged_treatments(
        spark.createDataFrame(given, schema), frame(spark, tables.USERS, USERS), NOON
    )
    said = rows_of(found, "row_number", "user_id", "treated_at", "channel", "cost", "reason")
    return [row[1:] for row in said]


def listed(spark, *rows):
    """Lists, of users, dates, groups and bands."""
    columns = "user_id bigint, feature_date date, assigned_group string, risk_band string"
    return spark.createDataFrame(list(rows), columns)


def treated(spark, *rows):
    """Treatments, of users, moments and channels."""
    return frame(spark, tables.TREATMENTS, [(*row, None, "a.csv", NOON) for row in rows])


def at(offset, hour=12):
    """An hour of the day ``offset`` days after D."""
    return dt.datetime.combine(day(offset), dt.time(hour), dt.UTC)


def counted(spark, lists, contacts, labels):
    table = treatments.treatment_counts(
        lists, treated(spark, *contacts), frame(spark, tables.CHURN_LABELS, labels), HORIZON
    )
    return rows_of(table, "risk_band", "month", "is_contact", "channel", "churned", "users")


def test_a_row_that_says_who_when_and_how_is_a_treatment(spark):
    assert judged(spark, ("1", None, "2026-02-28T09:30:00Z", " Email ", "2.50")) == [
        (1, utc(2026, 2, 28, 9, 30), "email", pytest.approx(2.5), None)
    ]


def test_a_date_is_its_midnight_and_a_cost_that_is_no_number_is_none(spark):
    assert judged(spark, ("2.0", None, "2026-02-28", "phone", "about 3")) == [
        (2, utc(2026, 2, 28), "phone", None, None)
    ]


def test_a_user_is_found_by_number_or_by_the_id_of_the_owner(spark):
    when, how = "2026-02-28", "sms"
    found = judged(
        spark,
        (None, "ann@example.org", when, how, None),
        ("ann@example.org", None, when, "letter", None),
        ("1", None, when, how, None),
        (None, "1", when, "letter", None),
        # The number of one user and the owner's id of another.
        ("2", None, when, how, None),
        (None, "2", when, how, None),
    )
    assert [row[0] for row in found] == [7, 7, 1, 1, 2, 8]


def test_what_is_no_treatment_says_why(spark):
    found = judged(
        spark,
        (None, " ", "2026-02-28", "email", None),
        ("3", None, "2026-02-28", "email", None),
        ("1", None, "last week", "email", None),
        ("1", None, "2026-03-01T12:00:01Z", "email", None),
        ("1", None, "2026-02-28", "  ", None),
        ("1", None, "2026-02-28", None, None),
        ("1", None, "2026-02-27", "email", None),
        ("1", None, "2026-02-27T00:00:00Z", "EMAIL", None),
    )
    assert [row[-1] for row in found] == [
        "missing_user",
        "unknown_user",
        "bad_treated_at",
        "future_treated_at",
        "missing_channel",
        "missing_channel",
        None,
        "duplicate",
    ]
    assert {row[-1] for row in found} - {None} == set(tables.TREATMENT_REASONS)


def test_a_contact_counts_from_the_day_after_the_list_to_the_end_of_the_horizon(spark):
    lists = listed(spark, *((user, D, "contact", "high") for user in (1, 2, 3, 4)))
    contacts = [
        (1, at(0), "email"),
        (2, at(1, 0), "email"),
        (3, at(30, 23), "email"),
        (4, at(31, 0), "email"),
    ]
    labels = [(user, D, 0) for user in (1, 2, 3, 4)]

    assert counted(spark, lists, contacts, labels) == [
        ("high", "2026-03", True, None, False, 2),
        ("high", "2026-03", True, "email", False, 2),
    ]


def test_of_several_contacts_the_first_says_the_channel(spark):
    lists = listed(spark, (1, D, "contact", "high"))
    contacts = [(1, at(3), "phone"), (1, at(2), "email"), (1, at(-1), "letter")]

    assert counted(spark, lists, contacts, [(1, D, 1)]) == [("high", "2026-03", True, "email", True, 1)]


def test_a_user_of_several_lists_counts_once_on_the_first(spark):
    lists = listed(spark, (1, day(10), "contact", "low"), (1, D, "control", "high"))
    contacts = [(1, at(12), "email")]

    # Contacted for the second list, within the horizon of the first: control that was contacted anyway.
    assert counted(spark, lists, contacts, [(1, D, 1), (1, day(10), 0)]) == [
        ("high", "2026-03", False, "email", True, 1)
    ]


def test_who_has_no_label_yet_does_not_count(spark):
    lists = listed(spark, (1, D, "contact", "high"), (2, day(1), "contact", "high"))

    assert counted(spark, lists, [], [(1, D, 0)]) == [("high", "2026-03", True, None, False, 1)]


def test_a_user_who_is_listed_again_while_the_first_label_is_due_waits_for_that(spark):
    lists = listed(spark, (1, D, "contact", "high"), (1, day(40), "control", "high"))

    assert counted(spark, lists, [], [(1, day(40), 0)]) == []


def test_treatments_are_counted_by_what_they_are_good_for(spark):
    lists = listed(spark, (1, D, "contact", "high"), (2, D, "control", "high"))
    contacts = treated(
        spark,
        (1, at(0), "email"),
        (1, at(2), "email"),
        (1, at(5), "email"),
        (2, at(40), "email"),
        (3, at(2), "email"),
    )
    use = treatments.treatment_use(lists, contacts, HORIZON)

    assert use.dtypes == [(name, "bigint") for name in use.columns]
    [row] = use.collect()
    assert row.asDict() == {
        "treatments": 5,
        "treatments_not_listed": 1,
        "treatments_outside_horizon": 2,
        "treatments_repeated": 1,
    }


def test_uplift_is_learned_from_the_first_listing_with_what_was_known_of_the_user_then(spark):
    known = "user_id bigint, feature_date date, assigned_group string, churn_probability double, value double"
    lists = [
        (1, D, "contact", 0.5, 20.0),
        (1, day(31), "contact", 0.75, 30.0),
        (2, day(1), "control", 0.25, 10.0),
        # No label yet, and no features.
        (3, D, "contact", 0.5, 50.0),
        (4, D, "contact", 0.5, 50.0),
    ]
    labels = [(1, D, 1), (1, day(31), 0), (2, day(1), 0), (4, D, 0)]
    features = [
        (user, on, events, 1, 0, 0, 0, 0)
        for user, on, events in ((1, D, 8), (1, day(31), 9), (2, day(1), 7), (3, D, 6))
    ]

    found = treatments.assigned_users(
        spark.createDataFrame(lists, known),
        frame(spark, tables.CHURN_LABELS, labels),
        frame(spark, tables.USER_FEATURES, features),
    )

    assert found.columns[-len(tables.FEATURE_COLUMNS) :] == tables.FEATURE_COLUMNS
    columns = ("is_contact", "churned", "churn_probability", "value", "event_count_30d")
    assert rows_of(found, "user_id", "feature_date", *columns) == [
        (1, D, True, True, 0.5, 20.0, 8.0),
        (2, day(1), False, False, 0.25, 10.0, 7.0),
    ]
