"""Rows that break a contract are counted by the rule that they break."""

import datetime as dt

import pytest
from pyspark.sql import SparkSession

from churn_assets.tables import (
    CHURN_PREDICTIONS,
    EVENTS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    TABLES,
    USER_FEATURES,
    USERS,
    Table,
)
from churn_assets.transforms import conformance
from churn_assets_tests.rows import NOON, D, frame

# user_id, feature_date, event_count_30d, active_days_30d, days_since_last_event, purchases, age, rolling
GOOD = (1, D, 10, 5, 0, 2, 40, 3)
KNOWN = [(user, D, D, "DE") for user in (1, 2, 3)]


def broken(spark: SparkSession, table: Table, *rows: tuple, referenced: list[tuple] | None = None) -> dict:
    """The counts that are not zero, by rule."""
    known = None
    if referenced is not None and table.references:
        known = frame(spark, table.references, referenced)
    held = frame(spark, table, rows)
    counted = conformance.violations(table, held, known).collect()[0].asDict()
    whole = {
        "repeated_keys": conformance.repeated_keys(table, held),
        conformance.UNKNOWN: counted[conformance.UNKNOWN],
    }
    return {name: count for name, count in (whole | conformance.by_rule(table, counted)).items() if count}


def test_a_table_that_keeps_its_contract_breaks_nothing(spark: SparkSession) -> None:
    assert broken(spark, USER_FEATURES, GOOD, (2, *GOOD[1:]), referenced=KNOWN) == {}


@pytest.mark.parametrize(
    ("place", "value", "rule"),
    [
        (2, 0, "event_count_30d >= 1"),
        (3, 31, "active_days_30d <= 30"),
        (4, 30, "days_since_last_event <= 29"),
        (4, -1, "days_since_last_event >= 0"),
        (5, -1, "purchase_count_30d >= 0"),
        (7, 11, "rolling_7d_events <= event_count_30d"),
        (6, None, "not null: account_age_days"),
    ],
)
def test_a_value_out_of_its_range_is_counted_under_its_rule(
    spark: SparkSession, place: int, value: int | None, rule: str
) -> None:
    bad = (*GOOD[:place], value, *GOOD[place + 1 :])

    found = broken(spark, USER_FEATURES, bad, (2, *GOOD[1:]))

    assert found[rule] == 1


def test_a_key_that_comes_twice_is_one_repeated_key(spark: SparkSession) -> None:
    yesterday = D - dt.timedelta(days=1)

    assert broken(spark, USER_FEATURES, GOOD, GOOD, GOOD, (1, yesterday, *GOOD[2:])) == {"repeated_keys": 1}


def test_a_user_that_nobody_knows_is_an_unknown_reference(spark: SparkSession) -> None:
    assert broken(spark, USER_FEATURES, GOOD, (4, *GOOD[1:]), (5, *GOOD[1:]), referenced=KNOWN) == {
        "unknown_references": 2
    }


def test_a_referenced_table_with_two_rows_of_a_key_counts_no_row_twice(spark: SparkSession) -> None:
    counted = conformance.violations(
        USER_FEATURES, frame(spark, USER_FEATURES, [GOOD]), frame(spark, USERS, [KNOWN[0], KNOWN[0]])
    )

    assert counted.collect()[0]["rows"] == 1


@pytest.mark.parametrize(
    ("probability", "churns", "rules"),
    [
        (0.5, True, []),
        (0.0, False, []),
        (1.0, True, []),
        (1.0000001, True, ["churn_probability <= 1"]),
        (-0.1, False, ["churn_probability >= 0"]),
        (0.49, True, ["predicted_churn = (churn_probability >= 0.5D)"]),
        (float("nan"), True, ["churn_probability <= 1"]),
    ],
)
def test_a_probability_is_a_number_from_zero_to_one(
    spark: SparkSession, probability: float, churns: bool, rules: list[str]
) -> None:
    found = broken(spark, CHURN_PREDICTIONS, (1, D, probability, churns, NOON, 1))

    assert list(found) == rules


def test_a_reason_that_is_not_in_the_list_is_refused(spark: SparkSession) -> None:
    rows = [(reason, "a", "{}", reason, 1, NOON, NOON.date()) for reason in ("corrupt", "bad luck")]

    found = broken(spark, QUARANTINED_EVENTS, *rows)

    assert list(found.values()) == [1]
    assert next(iter(found)).startswith("reason in (corrupt, missing_event_id")


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_a_table_without_rows_breaks_nothing(spark: SparkSession, table: Table) -> None:
    assert broken(spark, table, referenced=[]) == {}


def test_a_table_without_key_may_repeat_rows(spark: SparkSession) -> None:
    row = (*[None] * 5, "{}", None, None, NOON, "a.json", NOON.date())

    assert broken(spark, LANDED_EVENTS, row, row) == {}


def test_examples_are_the_rows_that_break_a_rule(spark: SparkSession) -> None:
    rows = frame(spark, EVENTS, [("a", 1, NOON, D, None, None, NOON), ("b", None, NOON, D, None, None, NOON)])

    assert [row["event_id"] for row in conformance.examples(EVENTS, rows).collect()] == ["b"]
