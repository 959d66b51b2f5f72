"""Why each prediction is what it is, in words that a marketing person reads."""

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.contracts import Phrase

Batches = Iterator[pa.RecordBatch]

# Of all features, so many are named.
REASONS = 3
# What differs behind this digit, as by the order of a sum, must not change a rank.
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
    keys = "user_id bigint, feature_date date, model_version int"
    ranked = explained.mapInArrow(
        _strongest(list(columns)), f"{keys}, place int, of int, value double, contribution double"
    )
    of = F.col("of")
    return ranked.select(
        "user_id",
        "feature_date",
        (F.col("place") + 1).cast("int").alias("rank"),
        _name(columns, of).alias("feature"),
        "value",
        "contribution",
        _in_words(columns, of, F.col("value"), F.col("contribution") > 0).alias("reason"),
        "model_version",
    )


def _strongest(columns: list[str]) -> Callable[[Batches], Batches]:
    """Return what names each row's strongest contributions, for ``mapInArrow``: three rows for each.

    They are chosen in NumPy, which takes a tenth of the time that an engine takes to sort them for each row.
    """
    reasons, digits = min(REASONS, len(columns)), DIGITS
    keys = ("user_id", "feature_date", "model_version")

    # Nested, so that it is sent to workers by value: those lack this package.
    def of_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
        count = batch.num_rows
        flat = batch.column("contributions").flatten().to_numpy(zero_copy_only=False)
        # Adding 0 makes 0 of -0.
        contributions = np.round(flat.reshape(count, len(columns)), digits) + 0.0
        strength, row = np.abs(contributions), np.arange(count)
        chosen = np.empty((count, reasons), dtype=np.int32)
        for place in range(reasons):
            # Of equal ones, the first.
            chosen[:, place] = strength.argmax(axis=1)
            strength[row, chosen[:, place]] = -1.0
        values = np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in columns], axis=1)
        picked, of_rows = chosen.ravel(), np.repeat(row, reasons)
        value = values[of_rows, picked]
        return pa.RecordBatch.from_pydict(
            {
                **{name: batch.column(name).take(pa.array(of_rows)) for name in keys},
                "place": np.tile(np.arange(reasons, dtype=np.int32), count),
                "of": picked,
                # NaN stands for NULL, which has no place in NumPy.
                "value": pa.array(value, mask=np.isnan(value)),
                "contribution": contributions[of_rows, picked],
            }
        )

    def strongest(batches: Batches) -> Batches:
        return (of_batch(batch) for batch in batches if batch.num_rows)

    return strongest


def _name(columns: Sequence[str], of: Column) -> Column:
    return F.element_at(F.array(*map(F.lit, columns)), of + 1)


def _in_words(columns: Sequence[str], of: Column, value: Column, raises: Column) -> Column:
    """The words for the value of the feature that is number ``of`` of the columns."""
    phrases = {column.name: column.phrase for column in tables.ALL_FEATURES}
    # A version may have been trained with a feature that is in no contract any more.
    words = F.concat(
        _name(columns, of), F.lit(" is "), F.coalesce(_number(value, decimals=1), F.lit("missing"))
    )
    for place, column in enumerate(columns):
        if phrase := phrases.get(column):
            words = F.when(of == place, _worded(phrase, value, raises)).otherwise(words)
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
