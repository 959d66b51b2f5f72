"""Whom a date's list names, in which order, in which group and with which words, on rows by hand."""

import hashlib
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.transforms import retention
from churn_assets.transforms.retention import Terms
from churn_assets_tests.rows import NOON, D, day, frame, rows_of

# A contact costs 1 and saves an eighth of 64: it pays from a probability of 0.125 on.
TERMS = Terms(
    budget=None, contact_cost=1.0, saved_value=64.0, save_rate=0.125, control_share=0.0, control_seed=""
)
# With this seed the users 1, 7 and 8, of 1 to 9, are the control group.
WITH_CONTROL = TERMS._replace(control_share=0.3, control_seed="a")


def listed(
    spark: SparkSession,
    probabilities: dict[int, float],
    terms: Terms = TERMS,
    *,
    before: dict[int, float] | None = None,
    reasons: list[tuple] | None = None,
    silence: dict[int, tuple[int, float | None]] | None = None,
    amounts: list[tuple[int, Any]] | None = None,
    sources: dict[int, str] | None = None,
    in_pause: tuple[int, ...] = (),
    uplifts: dict[int, float] | None = None,
) -> DataFrame:
    """The list of D, on which these users have these probabilities of churn."""
    source = sources or {}
    predictions = [(user, D, p, p >= 0.5, NOON, 4) for user, p in probabilities.items()]
    of_week_before = [(user, day(-7), p, p >= 0.5, NOON, 3) for user, p in (before or {}).items()]
    features = frame(spark, tables.USER_FEATURES, [(user, D, 1, 1, 0, 0, 0, 0) for user in probabilities])
    known = silence or {}
    silent = F.lit(None).cast("bigint")
    gap = F.lit(None).cast("double")
    for user, (days, mean) in known.items():
        silent = F.when(F.col("user_id") == user, F.lit(days).cast("bigint")).otherwise(silent)
        gap = F.when(F.col("user_id") == user, F.lit(mean).cast("double")).otherwise(gap)
    activity = [(user, day(-9), 1, 1, amount) for user, amount in amounts or [(1, None)]]
    found = retention.retention_list(
        frame(spark, tables.CHURN_PREDICTIONS, predictions),
        frame(spark, tables.CHURN_PREDICTIONS, of_week_before),
        frame(spark, tables.CHURN_REASONS, [(user, D, *one, 4) for user, *one in reasons or []]),
        features.withColumns({"days_since_last_event": silent, "mean_gap_days": gap}),
        frame(spark, tables.USER_DAILY_ACTIVITY, activity),
        frame(spark, tables.USERS, [(user, day(-99), D, None, source.get(user)) for user in probabilities]),
        spark.createDataFrame([(user,) for user in in_pause], "user_id bigint"),
        terms,
        spark.createDataFrame(list(uplifts.items()), "user_id bigint, uplift double") if uplifts else None,
    )
    assert found.dtypes == [(column.name, column.type) for column in tables.RETENTION_LIST.columns]
    return found


def ranks(found: DataFrame) -> list[tuple[int, int, str]]:
    return rows_of(found, "rank", "user_id", "assigned_group")


def test_a_user_is_listed_whose_contact_gains_more_than_it_costs_with_what_is_known_of_them(
    spark: SparkSession,
) -> None:
    found = listed(
        spark,
        # 0.125 * 0.125 * 64 is what a contact costs, and gains nothing.
        {7: 0.75, 8: 0.125, 9: 0.1},
        before={7: 0.25},
        sources={7: "ann@example.com"},
        reasons=[(7, 1, "active_days_30d", 2.0, 0.5, "Only 2 active days in the last 30")],
    )

    assert rows_of(found) == [
        (7, D, "ann@example.com", 1, "contact", 0.75, 0.5, "high", 64.0, 5.0, 0.125,
         "Only 2 active days in the last 30", None, None, 4, None)
    ]  # fmt: skip


def test_the_greatest_gain_comes_first_and_equal_ones_by_user(spark: SparkSession) -> None:
    assert ranks(listed(spark, {5: 0.5, 3: 0.9, 4: 0.5, 6: 0.6})) == [
        (1, 3, "contact"),
        (2, 6, "contact"),
        (3, 4, "contact"),
        (4, 5, "contact"),
    ]


def test_a_user_is_worth_the_amounts_of_90_days_where_events_bring_any(spark: SparkSession) -> None:
    # Together 512 of user 1; user 2 gave more back than was bought; user 3 has no amount.
    amounts = [(1, Decimal("300.00")), (1, Decimal("212.00")), (2, Decimal("-20.00")), (3, None)]

    found = listed(spark, {1: 0.0625, 2: 0.9, 3: 0.9}, amounts=amounts)

    assert rows_of(found, "user_id", "value", "expected_gain", "risk_band") == [(1, 512.0, 3.0, "low")]


def test_where_no_event_brings_an_amount_everybody_is_worth_what_is_assumed(spark: SparkSession) -> None:
    assert rows_of(listed(spark, {1: 0.5, 2: 0.5}), "user_id", "value") == [(1, 64.0), (2, 64.0)]


def test_bands_begin_where_a_contact_pays_and_half_way_from_there_to_certainty(spark: SparkSession) -> None:
    found = listed(spark, {1: 1.0, 2: 0.5625, 3: 0.5624, 4: 0.126})

    assert [band for _, band in rows_of(found, "user_id", "risk_band")] == [
        "high",
        "high",
        "medium",
        "medium",
    ]


def test_where_an_ordinary_contact_never_pays_all_but_certain_risks_are_low(spark: SparkSession) -> None:
    costly = TERMS._replace(contact_cost=60.0)
    rich = [(1, Decimal("9000.00"))]

    assert costly.medium_from == costly.high_from == 1
    assert rows_of(listed(spark, {1: 0.99}, costly, amounts=rich), "risk_band") == [("low",)]


def test_control_users_are_ranked_beside_the_others_and_cost_no_budget(spark: SparkSession) -> None:
    # The higher the number, the greater the risk.
    risks = {user: user / 10 for user in range(1, 10)}

    # User 1 would be control too, but nobody whom the budget reaches is as little worth it.
    assert ranks(listed(spark, risks, WITH_CONTROL._replace(budget=3))) == [
        (1, 9, "contact"),
        (2, 8, "control"),
        (3, 7, "control"),
        (4, 6, "contact"),
        (5, 5, "contact"),
    ]


def test_without_a_budget_of_contacts_nobody_is_listed_and_none_is_no_limit(spark: SparkSession) -> None:
    risks = dict.fromkeys(range(1, 10), 0.9)

    assert ranks(listed(spark, risks, WITH_CONTROL._replace(budget=0))) == []
    assert len(ranks(listed(spark, risks, WITH_CONTROL))) == 9


def test_by_uplift_those_whom_a_contact_saves_come_first_and_others_not_at_all(spark: SparkSession) -> None:
    # User 3 is not worth a contact by risk, user 4 churns whatever one does, and of user 5 nothing is known.
    found = listed(
        spark,
        {1: 0.9, 2: 0.5, 3: 0.1, 4: 0.9, 5: 0.25},
        uplifts={1: 0.0625, 2: 0.25, 3: 0.25, 4: -0.125},
    )

    assert rows_of(found, "rank", "user_id", "expected_gain", "uplift", "save_rate", "risk_band") == [
        (1, 2, 15.0, 0.25, 0.125, "medium"),
        (2, 1, 3.0, 0.0625, 0.125, "high"),
        (3, 5, 1.0, None, 0.125, "medium"),
    ]


def test_by_uplift_budget_and_control_group_hold_as_before(spark: SparkSession) -> None:
    risks, reversed_uplift = (
        dict.fromkeys(range(1, 10), 0.9),
        {user: 0.9 - user / 16 for user in range(1, 10)},
    )

    # Users 1, 7 and 8 are control.
    found = listed(spark, risks, WITH_CONTROL._replace(budget=2), uplifts=reversed_uplift)

    assert ranks(found) == [(1, 1, "control"), (2, 2, "contact"), (3, 3, "contact")]


def test_who_is_in_the_pause_is_not_listed_and_the_next_take_their_places(spark: SparkSession) -> None:
    found = listed(spark, {1: 0.9, 2: 0.8, 3: 0.7}, TERMS._replace(budget=1), in_pause=(1, 1, 8))

    assert ranks(found) == [(1, 2, "contact")]


def test_the_control_group_is_the_users_whose_sha_256_says_so(spark: SparkSession) -> None:
    users = [*range(-3, 400), 2**63 - 1, -(2**63)]
    groups = [(0.1, ""), (0.1, "spring"), (0.5, ""), (0.9, "")]
    chosen = spark.createDataFrame([(user,) for user in users], "user_id bigint").select(
        "user_id", *(retention.in_control_group(F.col("user_id"), *of).alias(str(of)) for of in groups)
    )

    found = chosen.collect()

    for share, seed in groups:
        limit = int(share * 2**32)
        expected = {
            user
            for user in users
            if int(hashlib.sha256(f"{seed}:{user}".encode()).hexdigest()[:8], 16) < limit
        }
        assert {row["user_id"] for row in found if row[str((share, seed))]} == expected
        assert abs(len(expected) - share * len(users)) < 4 * (len(users) * share * (1 - share)) ** 0.5


def test_only_what_raises_the_risk_is_a_reason_and_silence_is_told_once_against_what_is_usual(
    spark: SparkSession,
) -> None:
    reasons = [
        # Two ways to say that the user is silent.
        (1, 1, "overdue_ratio", 2.6, 0.9, "Silent for 2.6 times as long as usual"),
        (1, 2, "days_since_last_event", 23.0, 0.5, "No event for 23 days"),
        (1, 3, "purchase_count_30d", 0.0, 0.1, "No purchase in the last 30 days"),
        # The strongest lowers the risk.
        (2, 1, "active_days_90d", 60.0, -0.9, "Active on 60 of the last 90 days"),
        (2, 2, "days_since_last_event", 1.0, 0.5, "No event for 1 day"),
        (2, 3, "rolling_7d_events", 2.0, 0.2, "Only 2 events in the last 7 days"),
        # Seen on one day only: nothing is usual.
        (3, 1, "active_days_30d", 1.0, 0.7, "Only 1 active day in the last 30"),
        (3, 2, "rolling_7d_events", 0.0, 0.6, "No event in the last 7 days"),
        (3, 3, "days_since_last_event", 20.0, 0.5, "No event for 20 days"),
        (4, 1, "active_days_90d", 60.0, -0.9, "Active on 60 of the last 90 days"),
        # What is usual is beside the silence already, but a reason of its own without it.
        (6, 1, "mean_gap_days", 8.7, 0.9, "Active every 8.7 days on average"),
        (6, 2, "overdue_ratio", 2.6, 0.8, "Silent for 2.6 times as long as usual"),
        (6, 3, "rolling_7d_events", 0.0, 0.6, "No event in the last 7 days"),
        (7, 1, "mean_gap_days", 8.7, 0.9, "Active every 8.7 days on average"),
    ]
    silence = {1: (23, 8.7), 2: (1, 1.2), 3: (20, None), 6: (23, 8.7), 7: (3, 8.7)}

    found = listed(spark, dict.fromkeys(range(1, 8), 0.9), reasons=reasons, silence=silence)

    assert rows_of(found, "user_id", "reason_1", "reason_2", "reason_3") == [
        (1, "Quiet for 23 days, usually active every 9 days", "No purchase in the last 30 days", None),
        (2, "Quiet for 1 day, usually active every day", "Only 2 events in the last 7 days", None),
        (3, "Only 1 active day in the last 30", "No event in the last 7 days", "No event for 20 days"),
        (4, None, None, None),
        (5, None, None, None),
        (6, "Quiet for 23 days, usually active every 9 days", "No event in the last 7 days", None),
        (7, "Active every 8.7 days on average", None, None),
    ]
