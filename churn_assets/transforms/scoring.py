"""The model's answer for each user and feature_date."""

import datetime as dt
from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.transforms.parsing import utc_timestamp

# The probability from which a user is predicted to churn.
CHURN_THRESHOLD = 0.5


def churn_predictions(
    features: DataFrame,
    score: Callable[..., Column],
    columns: Sequence[str],
    scored_at: dt.datetime,
    model_version: int,
) -> DataFrame:
    """Score every row of features.

    Args:
        features: ``gold.user_features`` of the feature_dates to score.
        score: gives the probability of churn (double) from ``columns``, in that order and as doubles; such
            as ``registry.scorer``.
        columns: the features that the version was trained with; the table may have gained others since.
        scored_at: when, with time zone; every row gets it.
        model_version: number of the registered version that ``score`` asks; every row gets it.

    Returns:
        The columns of ``tables.CHURN_PREDICTIONS``, one row for each of ``features``.
    """
    inputs = [F.col(name).cast("double").alias(name) for name in columns]
    scored = features.select(
        "user_id", "feature_date", score(*inputs).cast("double").alias("churn_probability")
    )
    return scored.select(
        "user_id",
        "feature_date",
        "churn_probability",
        (F.col("churn_probability") >= CHURN_THRESHOLD).alias("predicted_churn"),
        utc_timestamp(scored_at).alias("scored_at"),
        F.lit(model_version).cast("int").alias("model_version"),
    )
