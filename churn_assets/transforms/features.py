"""What was known of each active user at the end of each feature_date."""

import datetime as dt
from collections.abc import Callable

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.dates import DateRange
from churn_assets.tables import FEATURE_WINDOW_DAYS
from churn_assets.transforms.activity import within
from churn_assets.transforms.running import known_of
from churn_assets.transforms.spans import NEVER

# Users are worked out in so many groups, each of which a worker holds in memory with what it reads and its
# rows of all dates: the more of either, the more groups. One costs a few milliseconds.
LEAST_GROUPS = 8
MOST_GROUPS_FOR_DATES = 256
# Some 100 bytes each, and several times that while they are worked out.
ROWS_A_GROUP = 1_000_000

EPOCH = dt.date(1970, 1, 1)

ARROW_TYPES = {"bigint": pa.int64(), "date": pa.date32(), "double": pa.float64()}


def user_features(
    activity: DataFrame, months: DataFrame, users: DataFrame, dates: DateRange, rows: int = 0
) -> DataFrame:
    """Sum up what each user did up to each feature_date who has an event in the 30 days up to it.

    Args:
        activity: ``gold.user_daily_activity``, at least from ``first_whole_day`` of ``dates.start`` to
            ``dates.end``; days before or after change nothing.
        months: ``gold.user_monthly_activity``, at least all months before that; others change nothing.
        users: ``clean.users``, for first_seen_date.
        dates: the feature_dates to compute.
        rows: about how many of activity and months there are; decides on memory, and on no result.

    Returns:
        The columns of ``tables.USER_FEATURES``, one row per feature_date and user active in its 30 days.
    """
    first_day = first_whole_day(dates.start)
    days = activity.where(within("event_date", DateRange(first_day, dates.end)))
    # Who is not active since then has no row. Joined in this order since Sail hashes the left side.
    earlier = (
        days.select("user_id")
        .distinct()
        .join(months.where(F.col("month_end_date") < F.lit(first_day)), "user_id")
    )
    # A right join: a user missing from users must fail the table's contract, not vanish. Before the features,
    # which are more rows than the days.
    parts = users.select("user_id", _number(F.col("first_seen_date")).alias("first_seen")).join(
        _days(days).unionByName(_months(earlier)), "user_id", "right"
    )
    for_dates = min(LEAST_GROUPS + (dates.end - dates.start).days // 8, MOST_GROUPS_FOR_DATES)
    groups = max(for_dates, rows // ROWS_A_GROUP)
    columns = ", ".join(f"{column.name} {column.type}" for column in tables.USER_FEATURES.columns)
    return parts.groupBy(F.pmod(F.xxhash64("user_id"), F.lit(groups)).alias("group")).applyInArrow(
        _worked_out(dates), columns
    )


def first_whole_day(feature_date: dt.date) -> dt.date:
    """The first day that is read as itself; months before it are read whole, and hold none of the 30 days."""
    seen = DateRange(feature_date, feature_date).widened(before=FEATURE_WINDOW_DAYS - 1, after=0)
    return seen.start.replace(day=1)


def _days(activity: DataFrame) -> DataFrame:
    """Each day as if it were a month of one day."""
    day = _number(F.col("event_date"))
    return activity.select(
        "user_id",
        day.alias("first_day"),
        F.lit(1).cast("bigint").alias("active_day_bits"),
        *_summed(F.when(F.col("purchases") > 0, day)),
    )


def _months(months: DataFrame) -> DataFrame:
    return months.select(
        "user_id",
        _number(F.trunc("month_end_date", "month")).alias("first_day"),
        "active_day_bits",
        *_summed(_number(F.col("last_purchase_date"))),
    )


def _summed(last_purchase: Column) -> list[Column]:
    """Without NULL, and amounts as whole hundredths: doubles add them without rounding, in any order."""
    cents = (F.col("amount") * F.lit(100)).cast("double")
    return [
        F.col("events"),
        F.col("purchases"),
        F.coalesce(cents, F.lit(0.0)).alias("cents"),
        F.col("amount").isNotNull().cast("bigint").alias("with_amount"),
        F.coalesce(last_purchase, F.lit(NEVER).cast("bigint")).alias("last_purchase"),
    ]


def _number(day: Column) -> Column:
    return F.datediff(day, F.lit(EPOCH)).cast("bigint")


def _worked_out(dates: DateRange) -> Callable[[pa.Table], pa.Table]:
    """From the days and months of a group of users to their features of all dates."""
    first, last = ((day - EPOCH).days for day in dates)
    types = {column.name: ARROW_TYPES[column.type] for column in tables.USER_FEATURES.columns}

    # A closure: it travels to the workers by value, as they lack this package.
    def worked_out(parts: pa.Table) -> pa.Table:
        return known_of(parts, first, last, types)

    return worked_out
