"""Why each prediction is what it is, in words that a marketing person reads."""

import re
from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.contracts import Phrase

# Of all features, so many are named.
REASONS = 3
# Engines add up in their own order; what differs behind this digit must not change a rank.
DIGITS = 9


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
    # A version may have been trained with a feature that is in no contract any more.
    words = F.concat(feature, F.lit(" is "), F.coalesce(_number(value, decimals=1), F.lit("missing")))
    for column in tables.ALL_FEATURES:
        if column.phrase:
            words = F.when(feature == column.name, _worded(column.phrase, value, raises)).otherwise(words)
    return words


def _worded(phrase: Phrase, value: Column, raises: Column) -> Column:
    """The value in the first text of the phrase that applies to it."""
    below = F.lit(True) if phrase.raises_below is None else value < phrase.raises_below
    texts = [
        (phrase.missing, value.isNull()),
        (phrase.zero, value == 0),
        (phrase.if_it_raises, raises & below),
        (phrase.one, value == 1),
        (phrase.below_one, value < 1),
    ]
    words = _filled_in(phrase.text, value, phrase.decimals)
    for text, applies in reversed(texts):
        if text:
            words = F.when(applies, _filled_in(text, value, phrase.decimals)).otherwise(words)
    return words


def _filled_in(text: str, value: Column, decimals: int) -> Column:
    """The text with the value for ``{n}``, and an s for ``(s)`` where it is not 1."""
    blanks = {"{n}": _number(value, decimals), "(s)": F.when(value == 1, "").otherwise("s")}
    return F.concat(*(blanks.get(piece, F.lit(piece)) for piece in re.split(r"(\{n\}|\(s\))", text)))


def _number(value: Column, decimals: int) -> Column:
    """A number as text: whole, with one decimal unless that is 0, or as an amount with two."""
    match decimals:
        case 0:
            return value.cast("bigint").cast("string")
        case 1:
            return F.regexp_replace(value.cast("decimal(18,1)").cast("string"), r"\.0$", "")
        case _:
            return value.cast(f"decimal(28,{decimals})").cast("string")
