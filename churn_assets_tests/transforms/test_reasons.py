from typing import Any

import pytest
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.tables import WINDOW_FEATURES
from churn_assets.transforms import reasons
from churn_assets_tests.rows import NOON, D, day, frame, rows_of


def contributions(*of_the_features: float):
    """A model in which each feature contributes the same whatever its value."""
    return lambda *_: F.array(*(F.lit(float(one)) for one in of_the_features))


def reasons_of(spark: SparkSession, features: list[tuple], explain, *columns: str) -> list[tuple]:
    """Reasons of users with these features on D, all scored by version 4."""
    predictions = [(user, D, 0.5, True, NOON, 4) for user, *_ in features]
    table = reasons.churn_reasons(
        frame(spark, tables.CHURN_PREDICTIONS, predictions),
        frame(spark, tables.USER_FEATURES, [(user, D, *values) for user, *values in features]),
        explain,
        WINDOW_FEATURES,
    )
    assert table.dtypes == [(column.name, column.type) for column in tables.CHURN_REASONS.columns]
    return rows_of(table, *columns)


def test_the_three_strongest_features_are_named_whichever_way_they_move_the_prediction(
    spark: SparkSession,
) -> None:
    explain = contributions(0.1, -0.5, 0.9, 0.0, -0.05, 0.3)

    assert reasons_of(spark, [(7, 40, 21, 12, 2, 300, 1)], explain) == [
        (7, D, 1, "days_since_last_event", 12.0, 0.9, "No event for 12 days", 4),
        (7, D, 2, "active_days_30d", 21.0, -0.5, "Active on 21 of the last 30 days", 4),
        (7, D, 3, "rolling_7d_events", 1.0, 0.3, "Only 1 event in the last 7 days", 4),
    ]


def test_the_model_is_asked_with_the_six_features_in_order_as_doubles(spark: SparkSession) -> None:
    def explain(*columns: Column) -> Column:
        # Whole numbers would divide alike, and lose nothing.
        return F.array(*(F.when(F.typeof(column) == "double", column).otherwise(0.0) for column in columns))

    rows = reasons_of(spark, [(1, 1, 2, 3, 4, 5, 6)], explain, "rank", "feature", "contribution")

    assert rows == [
        (1, "rolling_7d_events", 6.0),
        (2, "account_age_days", 5.0),
        (3, "purchase_count_30d", 4.0),
    ]


def test_equally_strong_features_come_in_the_contracts_order_and_digits_behind_the_ninth_do_not_count(
    spark: SparkSession,
) -> None:
    explain = contributions(0.2, -0.2000000004, 0.2000000003, 0.2, -0.2, 0.2)

    assert reasons_of(spark, [(1, 1, 1, 1, 1, 1, 1)], explain, "rank", "feature", "contribution") == [
        (1, "event_count_30d", 0.2),
        (2, "active_days_30d", -0.2),
        (3, "days_since_last_event", 0.2),
    ]


def test_what_contributes_nothing_is_zero_and_not_minus_zero(spark: SparkSession) -> None:
    rows = reasons_of(spark, [(1, 1, 1, 1, 1, 1, 1)], contributions(*[-1e-12] * 6), "contribution")

    assert [str(row[0]) for row in rows] == ["0.0", "0.0", "0.0"]


def test_reasons_are_of_the_predictions_date_and_of_nobody_else(spark: SparkSession) -> None:
    predictions = [(1, D, 0.5, True, NOON, 4), (1, day(1), 0.5, True, NOON, 5)]
    features = [(user, on, 1, 1, on.day, 0, 1, 1) for user in (1, 2) for on in (day(-1), D, day(1))]
    table = reasons.churn_reasons(
        frame(spark, tables.CHURN_PREDICTIONS, predictions),
        frame(spark, tables.USER_FEATURES, features),
        contributions(0, 0, 1, 0, 0, 0),
        WINDOW_FEATURES,
    )

    assert rows_of(table.where("rank = 1"), "user_id", "feature_date", "value", "model_version") == [
        (1, D, 10.0, 4),
        (1, day(1), 11.0, 5),
    ]
    assert table.count() == 6


@pytest.mark.parametrize(
    ("feature", "raising", "lowering"),
    [
        (
            "event_count_30d",
            {
                1: "Only 1 event in the last 30 days",
                29: "Only 29 events in the last 30 days",
                30: "30 events in the last 30 days",
            },
            {1: "1 event in the last 30 days", 30: "30 events in the last 30 days"},
        ),
        (
            "active_days_30d",
            {
                1: "Only 1 active day in the last 30",
                14: "Only 14 active days in the last 30",
                15: "Active on 15 of the last 30 days",
            },
            {1: "Active on 1 of the last 30 days", 21: "Active on 21 of the last 30 days"},
        ),
        (
            "days_since_last_event",
            {0: "Active today", 1: "No event for 1 day", 12: "No event for 12 days"},
            {0: "Active today", 1: "Active yesterday", 2: "Active 2 days ago"},
        ),
        (
            "purchase_count_30d",
            {
                0: "No purchase in the last 30 days",
                1: "Only 1 purchase in the last 30 days",
                2: "Only 2 purchases in the last 30 days",
                3: "3 purchases in the last 30 days",
            },
            {0: "No purchase in the last 30 days", 1: "1 purchase in the last 30 days"},
        ),
        (
            "account_age_days",
            {
                0: "User since today",
                1: "User for only 1 day",
                29: "User for only 29 days",
                30: "User for 30 days",
            },
            {0: "User since today", 1: "User for 1 day", 14: "User for 14 days"},
        ),
        (
            "rolling_7d_events",
            {
                0: "No event in the last 7 days",
                1: "Only 1 event in the last 7 days",
                6: "Only 6 events in the last 7 days",
                7: "7 events in the last 7 days",
            },
            {0: "No event in the last 7 days", 3: "3 events in the last 7 days"},
        ),
    ],
)
def test_a_reason_says_what_the_user_did_and_only_where_that_counts_against_him(
    spark: SparkSession, feature: str, raising: dict[int, str], lowering: dict[int, str]
) -> None:
    place = WINDOW_FEATURES.index(feature)
    for sign, words in ((1, raising), (-1, lowering)):
        # The user's id is the value of the feature; all others are 1.
        users = [(value, *[1] * place, value, *[1] * (5 - place)) for value in words]
        explain = contributions(*[0] * place, sign, *[0] * (5 - place))

        found = reasons_of(spark, users, explain, "rank", "user_id", "reason")

        assert {value: reason for rank, value, reason in found if rank == 1} == words


def test_every_feature_has_its_words() -> None:
    assert [column.name for column in tables.ALL_FEATURES if not column.phrase] == []


@pytest.mark.parametrize(
    ("feature", "raising", "lowering"),
    [
        ("active_days_90d", {1: "Only 1 active day in the last 90"}, {9: "Active on 9 of the last 90 days"}),
        (
            "active_days_365d",
            {9: "Only 9 active days in the last 365"},
            {1: "Active on 1 of the last 365 days"},
        ),
        (
            "active_days_total",
            {9: "Only 9 active days so far", 10: "10 active days so far"},
            {1: "1 active day so far"},
        ),
        ("event_count_total", {29: "Only 29 events so far"}, {29: "29 events so far"}),
        (
            "purchase_count_total",
            {0: "No purchase so far", 2: "Only 2 purchases so far"},
            {2: "2 purchases so far"},
        ),
        (
            "mean_gap_days",
            {30.0: "Active every 30 days on average"},
            {3.46: "Active every 3.5 days on average"},
        ),
        ("gap_std_days", {0.0: "Days between active days vary by 0"}, {None: tables.TOO_FEW_DAYS}),
        (
            "longest_gap_days",
            {45.0: "Longest time from one active day to the next: 45 days"},
            {None: tables.TOO_FEW_DAYS},
        ),
        (
            "overdue_ratio",
            {2.449: "Silent for 2.4 times as long as usual", None: tables.TOO_FEW_DAYS},
            {0.0: "Active today", 0.9: "Silent for less time than usual"},
        ),
        (
            "days_since_last_purchase",
            {65: "No purchase for 65 days", None: "No purchase so far"},
            {0: "Bought today", 1: "Bought yesterday", 65: "Bought 65 days ago"},
        ),
        (
            "amount_30d",
            {None: "No amount in the last 30 days"},
            {12.5: "Amounts in the last 30 days add up to 12.50"},
        ),
        ("amount_total", {-3.0: "Amounts so far add up to -3.00"}, {None: "No amount so far"}),
    ],
)
def test_the_history_has_its_words_too_and_some_for_what_is_missing(
    spark: SparkSession, feature: str, raising: dict[Any, str], lowering: dict[Any, str]
) -> None:
    for raises, words in ((True, raising), (False, lowering)):
        doubles = [(None if value is None else float(value),) for value in words]
        values = spark.createDataFrame(doubles, "value double")
        said = reasons._in_words([feature], F.lit(0), F.col("value"), F.lit(raises))

        assert dict(map(tuple, values.select("value", said).collect())) == words


def test_a_version_from_before_a_feature_came_is_asked_with_its_own(spark: SparkSession) -> None:
    table = reasons.churn_reasons(
        frame(spark, tables.CHURN_PREDICTIONS, [(1, D, 0.5, True, NOON, 4)]),
        frame(spark, tables.USER_FEATURES, [(1, D, 1, 2, 3, 4, 5, 6)]),
        F.array,
        ["rolling_7d_events", "event_count_30d", "account_age_days"],
    )

    assert rows_of(table, "rank", "feature", "contribution") == [
        (1, "rolling_7d_events", 6.0),
        (2, "account_age_days", 5.0),
        (3, "event_count_30d", 1.0),
    ]


def test_a_feature_that_is_in_no_contract_any_more_is_named_with_its_value(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [column for column in tables.ALL_FEATURES if column.name != "rolling_7d_events"]
    monkeypatch.setattr(tables, "ALL_FEATURES", others)

    rows = reasons_of(spark, [(1, 1, 1, 1, 1, 1, 7)], contributions(0, 0, 0, 0, 0, 1), "rank", "reason")

    assert rows[0] == (1, "rolling_7d_events is 7")
