"""Who stayed away after a feature_date, and when that can be known."""

import datetime as dt
from collections.abc import Collection, Iterable

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.dates import ONE_DAY, DateRange, contiguous_ranges
from churn_assets.errors import ImmatureLabelError
from churn_assets.transforms.activity import within


def churn_labels(  # noqa: PLR0913 - named, and each is one thing that a label depends on
    features: DataFrame,
    events: DataFrame,
    dates: DateRange,
    horizon_days: int,
    *,
    event_types: Collection[str] = (),
    unlabelled: Iterable[dt.date] = (),
) -> DataFrame:
    """Label each user active in the 30 days up to a feature_date: did they stay away for the whole horizon?

    Args:
        features: ``gold.user_features``, at least those of ``dates``; its users are the ones labelled.
        events: ``clean.events``, every day of every horizon; days outside change nothing.
        dates: the feature_dates to label. Call ``require_mature`` first.
        horizon_days: days after the feature_date in which one event that counts means that the user stayed.
        event_types: the types that count; without any, every event does.
        unlabelled: those of ``dates`` that get no rows, as too little is known of their horizons.

    Returns:
        The columns of ``tables.CHURN_LABELS``, one row per user and date of ``features``.
    """
    asked = features.where(within("feature_date", dates))
    for run in contiguous_ranges(unlabelled):
        asked = asked.where(~within("feature_date", run))
    stayed = _dates_stayed(_days_that_count(events, dates, horizon_days, event_types), dates, horizon_days)
    return (
        asked.select("user_id", "feature_date")
        .join(stayed, ["user_id", "feature_date"], "left")
        .withColumn("label", F.when(F.col("stayed").isNull(), 1).otherwise(0))
        .select(*tables.CHURN_LABELS.column_names)
    )


def _days_that_count(
    events: DataFrame, dates: DateRange, horizon_days: int, event_types: Collection[str]
) -> DataFrame:
    """Each user's days with an event that counts, numbered from the first feature_date on."""
    ahead = events.where(
        within("event_date", DateRange(dates.start + ONE_DAY, dates.end + horizon_days * ONE_DAY))
    )
    if event_types:
        ahead = ahead.where(F.col("event_type").isin(*sorted(event_types)))
    return ahead.select("user_id", F.datediff("event_date", F.lit(dates.start)).alias("day")).distinct()


def _dates_stayed(days: DataFrame, dates: DateRange, horizon_days: int) -> DataFrame:
    """The user's feature_dates with such a day in their horizon, each once.

    A day stands for the dates of which it is the first such day: those since the one before it.
    """
    before = F.lag("day").over(Window.partitionBy("user_id").orderBy("day"))
    first = F.greatest(F.col("day") - F.lit(horizon_days), F.coalesce(before, F.lit(0)), F.lit(0))
    last = F.least(F.col("day") - F.lit(1), F.lit((dates.end - dates.start).days))
    return (
        days.select("user_id", first.alias("first"), last.alias("last"))
        .where("first <= last")
        .select("user_id", F.explode(F.sequence("first", "last")).alias("number"))
        .select(
            "user_id",
            F.date_add(F.lit(dates.start), F.col("number")).alias("feature_date"),
            F.lit(True).alias("stayed"),
        )
    )


def last_labelled_date(data_complete_to: dt.date, horizon_days: int) -> dt.date:
    """The last feature_date whose whole horizon lies in the days up to ``data_complete_to``."""
    return data_complete_to - horizon_days * ONE_DAY


def require_mature(dates: DateRange, complete_to: dt.date, horizon_days: int) -> None:
    """Refuse to label a date before its horizon is complete: an outage must not look like everybody churning.

    Args:
        dates: the feature_dates asked for.
        complete_to: the last UTC day that is over and has a plausible volume of events.
        horizon_days: the horizon.

    Raises:
        ImmatureLabelError: a date's horizon ends after ``complete_to``.
    """
    last = last_labelled_date(complete_to, horizon_days)
    if dates.end <= last:
        return
    ripe = dates.end + (horizon_days + 1) * ONE_DAY  # the day after the horizon's last, once that one is over
    raise ImmatureLabelError(
        f"Labels of {dates} need complete data up to {dates.end + horizon_days * ONE_DAY}, but it is complete"
        f" up to {complete_to}. Ask for dates up to {last}, land what is missing, or wait: {dates.end} can "
        f"be labelled from {ripe} on."
    )
