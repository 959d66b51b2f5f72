"""What became of predictions once their labels are there."""

import datetime as dt
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets import tables

# Users whose probabilities agree to four digits are counted together: at most 10,001 rows a version instead
# of millions, and no measure of the model changes by more than the last of those digits.
PROBABILITY_BINS = 10_000


def prediction_outcomes(
    predictions: DataFrame, labels: DataFrame, trained_until: Mapping[int, dt.date]
) -> DataFrame:
    """Put the label beside each prediction, and say whether it judges the model that made it.

    Args:
        predictions: ``gold.churn_predictions``.
        labels: ``gold.churn_labels``.
        trained_until: by model version, the last day that its training labels looked at: its last training
            feature_date and one horizon. Outcomes of a version that is missing here judge nothing.

    Returns:
        The columns of ``tables.PREDICTION_OUTCOMES``, one row for each user and date that has both.
    """
    return (
        predictions.join(labels.select("user_id", "feature_date", "label"), ["user_id", "feature_date"])
        .withColumn("is_out_of_time", _is_out_of_time(trained_until))
        .select(*tables.PREDICTION_OUTCOMES.column_names)
    )


def _is_out_of_time(trained_until: Mapping[int, dt.date]) -> Column:
    is_later = F.lit(False)
    for version, last_day in trained_until.items():
        scored_by_it = F.col("model_version") == F.lit(version)
        is_later = F.when(scored_by_it, F.col("feature_date") > F.lit(last_day)).otherwise(is_later)
    return is_later


def counted_by_probability(outcomes: DataFrame) -> DataFrame:
    """Count outcomes by model version and probability, which is all that judging a version takes.

    Args:
        outcomes: rows of ``gold.prediction_outcomes``.

    Returns:
        model_version (int), probability_bin (bigint, rising with the probability), rows and churned (bigint),
        and doubles: probability (sum), squares (sum of squared probabilities), churned_probability (sum over
        those who churned).
    """
    probability = F.col("churn_probability")
    return outcomes.groupBy(
        "model_version",
        F.floor(probability * F.lit(float(PROBABILITY_BINS))).cast("bigint").alias("probability_bin"),
    ).agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum(F.col("label").cast("bigint")).alias("churned"),
        F.sum(probability).alias("probability"),
        F.sum(probability * probability).alias("squares"),
        F.sum(probability * F.col("label").cast("double")).alias("churned_probability"),
    )
