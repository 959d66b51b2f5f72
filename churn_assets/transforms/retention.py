"""Whom to contact: the users of a date in the order of what a contact is expected to gain."""

from typing import NamedTuple

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from churn_assets import tables

# In hexadecimal digits of a hash: enough that no share is off by more than a billionth.
HASH_DIGITS = 8

# Two ways to say that a user is silent; a list says it once, and beside it what is usual.
SILENCE = ("days_since_last_event", "overdue_ratio")
USUAL = "mean_gap_days"


class Terms(NamedTuple):
    """What decides who is in a list.

    ``budget`` is the number of contacts, None for all that are expected to gain something. ``contact_cost``
    and ``saved_value`` are in the currency of the events' amounts. ``save_rate`` is the share of contacted
    users who stay though they would have churned, ``control_share`` that of users who are left alone.
    """

    budget: int | None
    contact_cost: float
    saved_value: float
    save_rate: float
    control_share: float
    control_seed: str

    @property
    def medium_from(self) -> float:
        """The probability from which on a contact of a user of ``saved_value`` pays, at most 1."""
        gain = self.save_rate * self.saved_value
        # A measured save rate may be 0: no contact pays.
        return min(1.0, self.contact_cost / gain) if gain else 1.0

    @property
    def high_from(self) -> float:
        """The probability half-way between ``medium_from`` and 1."""
        return (1 + self.medium_from) / 2


def in_control_group(user_id: Column, share: float, seed: str) -> Column:
    """Whether a user belongs to the control group, whatever the date, the engine and the other users.

    Args:
        user_id: the user, a bigint.
        share: of all users, 0 to below 1. Who is in it at one share is in it at every greater one.
        seed: another one draws another group.
    """
    # SHA-256, as each engine has other fast hashes; and compared as text of equal length, as conversions of
    # numbers differ, too.
    digest = F.sha2(F.concat(F.lit(f"{seed}:"), user_id.cast("string")), 256)
    limit = f"{int(share * 16**HASH_DIGITS):0{HASH_DIGITS}x}"
    return F.substring(digest, 1, HASH_DIGITS) < F.lit(limit)


def retention_list(  # noqa: PLR0913, PLR0917 - a parameter for each table that is read
    predictions: DataFrame,
    week_before: DataFrame,
    reasons: DataFrame,
    features: DataFrame,
    activity: DataFrame,
    users: DataFrame,
    listed: DataFrame,
    terms: Terms,
    uplifts: DataFrame | None = None,
) -> DataFrame:
    """List whom to contact after one feature_date, and the control group.

    Args:
        predictions: ``gold.churn_predictions`` of the date.
        week_before: the same of seven days earlier, or nothing.
        reasons: ``gold.churn_reasons`` of the date.
        features: ``gold.user_features`` of the date.
        activity: ``gold.user_daily_activity`` of the 90 days up to the date.
        users: ``clean.users``.
        listed: ``user_id`` of those who are in no list now, as another one is too close.
        terms: budget, costs, and control group.
        uplifts: user_id (bigint) and uplift (double, by how much a contact lowers the probability of churn)
            of the scored users, where the list is ranked by it; None where it is ranked by risk.

    Returns:
        The columns of ``tables.RETENTION_LIST``. The list ends with the last contact of the budget, so that
        control users are as much worth contacting as those who are contacted.
    """
    worth = _worth_contacting(predictions, activity, terms)
    ranked = _ranked(_by_risk(worth) if uplifts is None else _by_uplift(worth, uplifts, terms), listed, terms)
    before = week_before.select("user_id", F.col("churn_probability").alias("probability_before"))
    return (
        ranked.join(before, "user_id", "left")
        .join(users.select("user_id", "source_user_id"), "user_id", "left")
        .join(_risks(reasons, features), "user_id", "left")
        .withColumn("probability_change", F.col("churn_probability") - F.col("probability_before"))
        .withColumn("risk_band", _risk_band(terms))
        .withColumn("save_rate", F.lit(float(terms.save_rate)))
        .select(*tables.RETENTION_LIST.column_names)
    )


def _worth_contacting(predictions: DataFrame, activity: DataFrame, terms: Terms) -> DataFrame:
    """The predictions of users who are expected to gain more than a contact costs, with value and gain."""
    spent = activity.groupBy("user_id").agg(F.sum("amount").alias("spent"))
    # Whether events bring amounts at all: if so, who has none is worth none, and not what is assumed.
    any_amount = activity.agg(F.count("amount").alias("amounts"))
    amount = F.coalesce(F.col("spent").cast("double"), F.lit(0.0))
    value = F.when(F.col("amounts") > 0, F.greatest(amount, F.lit(0.0))).otherwise(
        F.lit(float(terms.saved_value))
    )
    gain = F.col("churn_probability") * F.lit(float(terms.save_rate)) * F.col("value") - F.lit(
        float(terms.contact_cost)
    )
    return (
        predictions.join(spent, "user_id", "left")
        .crossJoin(any_amount)
        .withColumn("value", value)
        .withColumn("expected_gain", gain)
        .where(F.col("expected_gain") > F.lit(0.0))
        .select("user_id", "feature_date", "churn_probability", "value", "expected_gain", "model_version")
    )


def _by_risk(worth: DataFrame) -> DataFrame:
    return worth.withColumn("uplift", F.lit(None).cast("double"))


def _by_uplift(worth: DataFrame, uplifts: DataFrame, terms: Terms) -> DataFrame:
    """Of those who are worth contacting by their risk, the ones whom a contact saves, with that gain.

    Nobody else: uplift was learned from users who had been listed, and says little of those who never are.
    """
    saved = F.coalesce(F.col("uplift"), F.col("churn_probability") * F.lit(float(terms.save_rate)))
    gain = saved * F.col("value") - F.lit(float(terms.contact_cost))
    return (
        worth.join(uplifts.select("user_id", "uplift"), "user_id", "left")
        .withColumn("expected_gain", gain)
        .where(F.col("expected_gain") > F.lit(0.0))
    )


def _ranked(worth: DataFrame, listed: DataFrame, terms: Terms) -> DataFrame:
    """Users who are in no list, with group and rank, up to the last contact that the budget allows."""
    order = Window.partitionBy("feature_date").orderBy(F.desc("expected_gain"), F.asc("user_id"))
    up_to_here = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    is_control = in_control_group(F.col("user_id"), terms.control_share, terms.control_seed)
    ranked = (
        worth.join(listed.select("user_id").distinct(), "user_id", "left_anti")
        .withColumn("is_control", is_control)
        .withColumn("rank", F.row_number().over(order).cast("int"))
        .withColumn("contacts", F.sum(F.when(F.col("is_control"), 0).otherwise(1)).over(up_to_here))
        .withColumn("assigned_group", F.when(F.col("is_control"), tables.CONTROL).otherwise(tables.CONTACT))
    )
    if terms.budget is None:
        return ranked
    # Of the control users, only those before the last contact.
    contacts_before = F.col("contacts") - F.when(F.col("is_control"), 0).otherwise(1)
    return ranked.where(contacts_before < F.lit(terms.budget))


def _risk_band(terms: Terms) -> Column:
    high, medium, low = tables.RISK_BANDS
    probability = F.col("churn_probability")
    return (
        F.when(probability >= F.lit(terms.high_from), high)
        .when(probability >= F.lit(terms.medium_from), medium)
        .otherwise(low)
    )


def _risks(reasons: DataFrame, features: DataFrame) -> DataFrame:
    """What raises each user's risk, the strongest first: user_id, reason_1, reason_2, reason_3."""
    silence = features.select(
        "user_id", F.col("days_since_last_event").alias("silent_days"), F.col("mean_gap_days").alias("gap")
    )
    raising = (
        reasons.where(F.col("contribution") > F.lit(0.0))
        .join(silence, "user_id", "left")
        .withColumn("is_silence", F.col("feature").isin(*SILENCE))
        .withColumn("is_usual", F.col("feature") == USUAL)
        .withColumn("words", F.when(F.col("is_silence"), _silence()).otherwise(F.col("reason")))
    )

    def ranked(column: str, place: int) -> Column:
        return F.max(F.when(F.col("rank") == place, F.col(column)))

    by_user = raising.groupBy("user_id").agg(
        *(ranked("words", place).alias(f"words_{place}") for place in (1, 2, 3)),
        *(ranked("is_silence", place).alias(f"silence_{place}") for place in (1, 2, 3)),
        *(ranked("is_usual", place).alias(f"usual_{place}") for place in (1, 2, 3)),
    )
    silent, usual = (
        [F.coalesce(F.col(f"{of}_{place}"), F.lit(False)) for place in (1, 2, 3)]
        for of in ("silence", "usual")
    )
    is_silent = silent[0] | silent[1] | silent[2]
    first = F.when(~(is_silent & usual[0]), F.col("words_1"))
    second = F.when(~((silent[0] & silent[1]) | (is_silent & usual[1])), F.col("words_2"))
    third = F.when(~(((silent[0] | silent[1]) & silent[2]) | (is_silent & usual[2])), F.col("words_3"))
    # Moved up where one before is missing.
    count = sum((F.when(words.isNotNull(), 1).otherwise(0) for words in (first, second)), F.lit(0))
    return by_user.select(
        "user_id",
        F.coalesce(first, second, third).alias("reason_1"),
        F.when(first.isNotNull(), F.coalesce(second, third))
        .when(second.isNotNull(), third)
        .alias("reason_2"),
        F.when(count == 2, third).alias("reason_3"),
    )


def _silence() -> Column:
    """How long a user has been silent, beside what is usual; the reason's own words if that is unknown."""
    days, gap = F.col("silent_days"), F.col("gap").cast("decimal(18,0)").cast("bigint")
    return F.when(
        (days > 0) & F.col("gap").isNotNull(),
        F.concat(
            F.lit("Quiet for "),
            days.cast("string"),
            F.when(days == 1, " day").otherwise(" days"),
            F.lit(", usually active every "),
            F.when(gap == 1, "day").otherwise(F.concat(gap.cast("string"), F.lit(" days"))),
        ),
    ).otherwise(F.col("reason"))
