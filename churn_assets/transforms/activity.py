"""From events to who the users are, what they did each day, and what happened each day."""

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.dates import DateRange

# What ``clean.users`` knows of each.
_OF_A_USER = ("first_seen_date", "last_seen_date", "country", "source_user_id")


def within(column: str, dates: DateRange) -> Column:
    """Whether a date column lies in a range of days, both ends included."""
    return (F.col(column) >= F.lit(dates.start)) & (F.col(column) <= F.lit(dates.end))


def users(events: DataFrame, first_day: dt.date | None = None) -> DataFrame:
    """Sum up each user over all events.

    Args:
        events: ``clean.events``, all of them.
        first_day: the day on which the data starts. first_seen_date is a user's first day from then on:
            a few events that lie apart before it make nobody old. Who has no later one keeps their own.

    Returns:
        The columns of ``tables.USERS``, one row a user. country is that of the latest event that has one (of
        several at one moment, that with the greatest event_id). source_user_id is the one that its events
        name, NULL where none does.
    """
    summed = _summed_up(events, first_day)
    return summed.select(
        "user_id",
        F.coalesce("first_own_date", "first_event_date").alias("first_seen_date"),
        "last_seen_date",
        "country",
        "source_user_id",
    )


def users_since(
    known: DataFrame, events: DataFrame, since: dt.date, first_day: dt.date | None = None
) -> DataFrame:
    """Bring the users up to date, where no event of an earlier day has come.

    Args:
        known: ``clean.users``, as ``users`` gave it with the same ``first_day``.
        events: ``clean.events``, all from the day ``since`` on; earlier ones change nothing.
        since: the earliest day of an event that ``known`` lacks.
        first_day: as for ``users``.

    Returns:
        What ``users`` gives of all events.
    """
    recent = _summed_up(events.where(F.col("event_date") >= F.lit(since)), first_day)
    before = known.select("user_id", *(F.col(name).alias(f"{name}_before") for name in _OF_A_USER))
    was = F.col("first_seen_date_before")
    own = F.when(was >= F.lit(first_day), was) if first_day else was
    return recent.join(before, "user_id", "full").select(
        "user_id",
        F.coalesce(F.least("first_own_date", own), F.least("first_event_date", was)).alias("first_seen_date"),
        F.greatest("last_seen_date", "last_seen_date_before").alias("last_seen_date"),
        # An event since then is later than any before.
        F.coalesce("country", "country_before").alias("country"),
        F.least("source_user_id", "source_user_id_before").alias("source_user_id"),
    )


def _summed_up(events: DataFrame, first_day: dt.date | None) -> DataFrame:
    # A user has few countries: all but a row or two a user are gone after the first GROUP BY, which one plain
    # max per group keeps light. Windows or structs over all events are not.
    recency = F.concat(F.lpad(F.unix_micros("event_ts").cast("string"), 18, "0"), F.col("event_id"))
    is_own = F.col("event_date") >= F.lit(first_day) if first_day else F.lit(True)
    per_country = events.groupBy("user_id", F.expr("nullif(country, '')").alias("country")).agg(
        F.min("event_date").alias("first_event_date"),
        F.min(F.when(is_own, F.col("event_date"))).alias("first_own_date"),
        F.max("event_date").alias("last_seen_date"),
        F.max(recency).alias("recency"),
        F.min("source_user_id").alias("source_user_id"),
    )
    known_recency = F.when(F.col("country").isNotNull(), F.col("recency"))
    return per_country.groupBy("user_id").agg(
        F.min("first_own_date").alias("first_own_date"),
        F.min("first_event_date").alias("first_event_date"),
        F.max("last_seen_date").alias("last_seen_date"),
        F.max_by("country", known_recency).alias("country"),
        F.min("source_user_id").alias("source_user_id"),
    )


def user_daily_activity(events: DataFrame, dates: DateRange) -> DataFrame:
    """Count what each user did on each day.

    Args:
        events: ``clean.events``, at least those of ``dates``.
        dates: the event dates to count; others in ``events`` are left out.

    Returns:
        The columns of ``tables.USER_DAILY_ACTIVITY``, one row per user and day with at least one event.
    """
    return (
        events.where(within("event_date", dates))
        .groupBy("user_id", "event_date")
        .agg(
            F.count(F.lit(1)).alias("events"),
            F.count(F.when(F.col("event_type") == "purchase", 1)).alias("purchases"),
            F.sum("amount").alias("amount"),
        )
    )


def user_monthly_activity(activity: DataFrame, dates: DateRange) -> DataFrame:
    """Put each user's days of a calendar month into one row.

    Args:
        activity: ``gold.user_daily_activity``, at least the months that end in ``dates``.
        dates: the months' last days; months that end on none of them are left out.

    Returns:
        The columns of ``tables.USER_MONTHLY_ACTIVITY``, one row per user and month with at least one event.
    """
    is_bought = F.col("purchases") > 0
    bit = F.expr("shiftleft(1L, day(event_date) - 1)")
    return (
        activity.withColumn("month_end_date", F.last_day("event_date"))
        .where(within("month_end_date", dates))
        .groupBy("user_id", "month_end_date")
        .agg(
            F.sum(bit).alias("active_day_bits"),
            F.sum("events").alias("events"),
            F.sum("purchases").alias("purchases"),
            F.max(F.when(is_bought, F.col("event_date"))).alias("last_purchase_date"),
            F.sum("amount").cast("decimal(28,2)").alias("amount"),
        )
    )


def daily_summary(activity: DataFrame, users: DataFrame, dates: DateRange) -> DataFrame:
    """Sum up each day over all users.

    Args:
        activity: ``gold.user_daily_activity``, at least the days of ``dates``.
        users: ``clean.users``, for who was new on a day.
        dates: the event dates to sum up.

    Returns:
        The columns of ``tables.DAILY_SUMMARY``, one row per day with at least one event.
    """
    days = (
        activity.where(within("event_date", dates))
        .groupBy("event_date")
        .agg(
            F.sum("events").alias("events"),
            F.count(F.lit(1)).alias("active_users"),
            F.sum("purchases").alias("purchases"),
        )
    )
    arrivals = users.groupBy(F.col("first_seen_date").alias("event_date")).agg(
        F.count(F.lit(1)).alias("new_users")
    )
    summary = days.join(arrivals, "event_date", "left")
    return summary.withColumn("new_users", F.coalesce("new_users", F.lit(0).cast("bigint"))).select(
        *tables.DAILY_SUMMARY.column_names
    )
