"""Why each prediction is what it is, in words that a marketing person reads."""

from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Of all features, so many are named.
REASONS = 3
# Engines add up in their own order; what differs behind this digit must not change a rank.
DIGITS = 9

TOO_FEW_DAYS = "Active on too few days to tell a rhythm"

# From the user's value, a double, and whether it raises the probability of churn.
Phrase = Callable[[Column, Column], Column]


def churn_reasons(
    predictions: DataFrame, features: DataFrame, explain: Callable[..., Column], columns: Sequence[str]
) -> DataFrame:
    """Name the features that move each prediction most.

    Args:
        predictions: ``gold.churn_predictions``, all scored by the model that ``explain`` asks.
        features: ``gold.user_features`` of the same feature_dates.
        explain: gives what each feature adds to the log-odds of churn (array of double) from ``columns``, in
            that order and as doubles; such as ``registry.explainer``.
        columns: the features that the model was trained with; the table may have gained others since.

    Returns:
        The columns of ``tables.CHURN_REASONS``, three rows for each prediction whose features are there.
        Equally strong features come in the order of ``columns``.
    """
    inputs = [F.col(name).cast("double").alias(name) for name in columns]
    scored = predictions.select("user_id", "feature_date", "model_version")
    explained = scored.join(features, ["user_id", "feature_date"]).select(
        "user_id", "feature_date", "model_version", *inputs, explain(*inputs).alias("contributions")
    )
    # Sorted and not ranked by a window, which would shuffle six rows for each prediction. And not cut by
    # slice(), which Sail refuses for structs.
    by_strength = F.array_sort(F.array(*(_candidate(place, name) for place, name in enumerate(columns))))
    ranked = (
        explained.select(
            "user_id", "feature_date", "model_version", F.posexplode(by_strength).alias("place", "of")
        )
        .where(F.col("place") < REASONS)
        .select("*", "of.feature", "of.value", "of.contribution")
    )
    return ranked.select(
        "user_id",
        "feature_date",
        (F.col("place") + 1).cast("int").alias("rank"),
        "feature",
        "value",
        "contribution",
        _in_words(F.col("feature"), F.col("value"), F.col("contribution") > 0).alias("reason"),
        "model_version",
    )


def _candidate(place: int, feature: str) -> Column:
    """A struct that sorts by strength, and by place where strengths are equal."""
    # Adding 0 makes 0 of -0.
    contribution = F.round(F.col("contributions")[place], DIGITS) + F.lit(0.0)
    return F.struct(
        (-F.abs(contribution)).alias("weakness"),
        F.lit(place).alias("order"),
        F.lit(feature).alias("feature"),
        F.col(feature).alias("value"),
        contribution.alias("contribution"),
    )


def _in_words(feature: Column, value: Column, raises: Column) -> Column:
    # A version may have been trained with a feature that has no phrase here.
    words = F.concat(feature, F.lit(" is "), F.coalesce(_short(value), F.lit("missing")))
    for name, phrase in PHRASES.items():
        words = F.when(feature == name, phrase(value, raises)).otherwise(words)
    return words


def _events_of_30_days(value: Column, raises: Column) -> Column:
    # Less than one a day is "only" where it counts against the user.
    return F.concat(_only(raises & (value < 30)), _counted(value, "event"), F.lit(" in the last 30 days"))


def _recency(value: Column, raises: Column) -> Column:
    return (
        F.when(value == 0, F.lit("Active today"))
        .when(raises, F.concat(F.lit("No event for "), _counted(value, "day")))
        .when(value == 1, F.lit("Active yesterday"))
        .otherwise(F.concat(F.lit("Active "), _counted(value, "day"), F.lit(" ago")))
    )


def _purchases(value: Column, raises: Column) -> Column:
    some = F.concat(_only(raises & (value < 3)), _counted(value, "purchase"), F.lit(" in the last 30 days"))
    return F.when(value == 0, F.lit("No purchase in the last 30 days")).otherwise(some)


def _account_age(value: Column, raises: Column) -> Column:
    since = F.concat(
        F.lit("User for "), F.when(raises & (value < 30), "only ").otherwise(""), _counted(value, "day")
    )
    return F.when(value == 0, F.lit("User since today")).otherwise(since)


def _events_of_7_days(value: Column, raises: Column) -> Column:
    some = F.concat(_only(raises & (value < 7)), _counted(value, "event"), F.lit(" in the last 7 days"))
    return F.when(value == 0, F.lit("No event in the last 7 days")).otherwise(some)


def _active_days_of(days: int) -> Phrase:
    def phrase(value: Column, raises: Column) -> Column:
        few = F.concat(F.lit("Only "), _counted(value, "active day"), F.lit(f" in the last {days}"))
        many = F.concat(F.lit("Active on "), _whole(value), F.lit(f" of the last {days} days"))
        return F.when(raises & (value < days // 2), few).otherwise(many)

    return phrase


def _so_far(noun: str, few: int) -> Phrase:
    def phrase(value: Column, raises: Column) -> Column:
        some = F.concat(_only(raises & (value < few)), _counted(value, noun), F.lit(" so far"))
        return F.when(value == 0, F.lit(f"No {noun} so far")).otherwise(some)

    return phrase


def _from_gaps(before: str, after: str) -> Phrase:
    def phrase(value: Column, _raises: Column) -> Column:
        return F.coalesce(F.concat(F.lit(before), _short(value), F.lit(after)), F.lit(TOO_FEW_DAYS))

    return phrase


def _overdue(value: Column, _raises: Column) -> Column:
    return (
        F.when(value.isNull(), F.lit(TOO_FEW_DAYS))
        .when(value == 0, F.lit("Active today"))
        .when(value < 1, F.lit("Silent for less time than usual"))
        .otherwise(F.concat(F.lit("Silent for "), _short(value), F.lit(" times as long as usual")))
    )


def _last_purchase(value: Column, raises: Column) -> Column:
    return (
        F.when(value.isNull(), F.lit("No purchase so far"))
        .when(value == 0, F.lit("Bought today"))
        .when(raises, F.concat(F.lit("No purchase for "), _counted(value, "day")))
        .when(value == 1, F.lit("Bought yesterday"))
        .otherwise(F.concat(F.lit("Bought "), _counted(value, "day"), F.lit(" ago")))
    )


def _amounts(when: str) -> Phrase:
    def phrase(value: Column, _raises: Column) -> Column:
        added = F.concat(F.lit(f"Amounts {when} add up to "), value.cast("decimal(28,2)").cast("string"))
        return F.coalesce(added, F.lit(f"No amount {when}"))

    return phrase


def _short(value: Column) -> Column:
    """A number to one place, and to none where that is 0."""
    return F.regexp_replace(value.cast("decimal(18,1)").cast("string"), r"\.0$", "")


def _whole(value: Column) -> Column:
    return value.cast("bigint").cast("string")


def _only(condition: Column) -> Column:
    return F.when(condition, "Only ").otherwise("")


def _counted(value: Column, noun: str) -> Column:
    """The number and the noun, in the plural where it is not one."""
    return F.concat(_whole(value), F.when(value == 1, f" {noun}").otherwise(f" {noun}s"))


# "Today" is the feature_date.
PHRASES: dict[str, Phrase] = {
    "event_count_30d": _events_of_30_days,
    "active_days_30d": _active_days_of(30),
    "days_since_last_event": _recency,
    "purchase_count_30d": _purchases,
    "account_age_days": _account_age,
    "rolling_7d_events": _events_of_7_days,
    "active_days_90d": _active_days_of(90),
    "active_days_365d": _active_days_of(365),
    "active_days_total": _so_far("active day", few=10),
    "event_count_total": _so_far("event", few=30),
    "purchase_count_total": _so_far("purchase", few=3),
    "mean_gap_days": _from_gaps("Active every ", " days on average"),
    "gap_std_days": _from_gaps("Days between active days vary by ", ""),
    "longest_gap_days": _from_gaps("Longest time from one active day to the next: ", " days"),
    "overdue_ratio": _overdue,
    "days_since_last_purchase": _last_purchase,
    "amount_30d": _amounts("in the last 30 days"),
    "amount_total": _amounts("so far"),
}
