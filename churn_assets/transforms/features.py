"""What was known of each active user at the end of each feature_date."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.dates import DateRange
from churn_assets.partitions import ROLLING_WINDOW_DAYS
from churn_assets.tables import FEATURE_WINDOW_DAYS
from churn_assets.transforms.activity import within


def user_features(activity: DataFrame, users: DataFrame, dates: DateRange) -> DataFrame:
    """Sum up the 30 days up to each feature_date for every user with an event in them.

    Args:
        activity: ``gold.user_daily_activity``, at least the days from 29 before ``dates.start`` to
            ``dates.end``; days before or after change nothing.
        users: ``clean.users``, for first_seen_date.
        dates: the feature_dates to compute.

    Returns:
        The columns of ``tables.USER_FEATURES``, one row per feature_date and user active in its 30 days.
    """
    reach = FEATURE_WINDOW_DAYS - 1
    last = (dates.end - dates.start).days
    # Each user-day is copied to the feature_dates that it reaches, with days as integers from dates.start on:
    # ten million events take 3 s so, and 14 s with RANGE windows.
    days = activity.where(within("event_date", dates.widened(before=reach, after=0))).select(
        "user_id", "events", "purchases", F.datediff("event_date", F.lit(dates.start)).alias("day")
    )
    reached = F.sequence(
        F.greatest(F.col("day"), F.lit(0)), F.least(F.col("day") + F.lit(reach), F.lit(last))
    )
    is_recent = F.col("feature_day") - F.col("day") < ROLLING_WINDOW_DAYS
    windows = (
        days.withColumn("feature_day", F.explode(reached))
        .groupBy("user_id", "feature_day")
        .agg(
            F.sum("events").alias("event_count_30d"),
            F.count(F.lit(1)).alias("active_days_30d"),
            F.max("day").alias("last_day"),
            F.sum("purchases").alias("purchase_count_30d"),
            F.sum(F.when(is_recent, F.col("events")).otherwise(F.lit(0).cast("bigint"))).alias(
                "rolling_7d_events"
            ),
        )
        .withColumn("feature_date", F.date_add(F.lit(dates.start), F.col("feature_day")))
    )
    # A left join: a user missing from users must fail the table's contract, not vanish.
    return (
        windows.join(users.select("user_id", "first_seen_date"), "user_id", "left")
        .withColumn("days_since_last_event", (F.col("feature_day") - F.col("last_day")).cast("bigint"))
        .withColumn("account_age_days", F.datediff("feature_date", "first_seen_date").cast("bigint"))
        # Active by events from before the data's first day alone: not seen yet.
        .where(F.col("account_age_days").isNull() | (F.col("account_age_days") >= 0))
        .select(*tables.USER_FEATURES.column_names)
    )
