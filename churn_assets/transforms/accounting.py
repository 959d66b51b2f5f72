"""Which lines have been cleaned, and where each of them went."""

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.transforms.hashing import null_safe_hash
from churn_assets.transforms.parsing import taken_apart
from churn_assets.transforms.values import amount, event_ts, trimmed, user_id

# What a user_id was before 0012 and 12 became two ids.
FORMER_USER_ID = r"^[+-]?[0-9]+\z"

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def not_yet_cleaned(landed: DataFrame, last_micros: int | None) -> DataFrame:
    """The lines that Bronze gained since the last cleaning.

    Args:
        landed: ``landing.events``.
        last_micros: the greatest _ingested_at in ``clean.events``, microseconds since 1970; None if it is
        empty.
            An ingestion that brought no new event is cleaned again, which changes nothing.
    """
    day = first_day(last_micros)
    if day is None:
        return landed
    # The partition first, so that only files of the last days are read.
    return landed.where(F.col("_processing_date") >= F.lit(day)).where(
        F.unix_micros("_ingested_at") > F.lit(last_micros)
    )


def first_day(last_micros: int | None) -> dt.date | None:
    """The first _processing_date of the lines of ``not_yet_cleaned``; None for any."""
    return None if last_micros is None else (EPOCH + dt.timedelta(microseconds=last_micros)).date()


def deliveries(landed: DataFrame, events: DataFrame) -> DataFrame:
    """The lines that say what an event of Silver says: one a delivery of that event.

    Args:
        landed: ``landing.events``, or some of its rows.
        events: ``clean.events``; at least the rows of the dates of these lines.

    Returns:
        content (bigint), a hash of event_id and content. An event delivered twice has two rows; one of them
        is an exact duplicate. A line that is in quarantine may say it too, as one that came before its time,
        or twice.
    """
    # An earlier release took 007 for 7, and Silver keeps what it has.
    former = F.when(F.col("user_id").rlike(FORMER_USER_ID), F.col("user_id").try_cast("bigint"))
    lines = landed.select(
        _content(F.coalesce(user_id(F.col("user_id")), former), event_ts(F.col("event_ts"))).alias("content"),
        amount(F.col("amount")).alias("amount"),
    )
    # Ten million events have two with one hash by chance once in 200,000 logs; two columns of text and four
    # others, joined as they are, take twice the time and several times the memory.
    silver = events.select(
        _content(F.col("user_id"), F.col("event_ts")).alias("silver_content"),
        F.col("amount").alias("silver_amount"),
    )
    # No amount goes with any. The lines first, as Sail hashes the left side.
    is_same = F.coalesce(F.col("amount") == F.col("silver_amount"), F.lit(True))
    pairs = lines.join(silver, F.col("content") == F.col("silver_content"))
    return pairs.where(is_same).select("content")


def _content(user: Column, moment: Column) -> Column:
    return null_safe_hash(("event_id", "event_type", "country"), (user, F.unix_micros(moment)))


def unreadable_amounts(landed: DataFrame) -> DataFrame:
    """The lines whose amount is no number: their events stay, without one.

    Args:
        landed: ``landing.events``.

    Returns:
        The rows of ``landed``.
    """
    return landed.where((trimmed(F.col("amount")) != "") & amount(F.col("amount")).isNull())


def quarantined_deliveries(quarantined: DataFrame, events: DataFrame) -> DataFrame:
    """Those of the ``deliveries`` that are in quarantine all the same.

    Args:
        quarantined: ``clean.quarantined_events``, or some of its rows.
        events: ``clean.events``; at least the rows of the dates of these lines.

    Returns:
        content (bigint).
    """
    # From the lines that the quarantine keeps: few, where looking for them in Bronze reads every line.
    return deliveries(taken_apart(quarantined.select(F.col("_raw").alias("line"))), events)


def days_said(landed: DataFrame) -> DataFrame:
    """The days that the lines name, as Silver's event_date has them.

    Args:
        landed: ``landing.events``, or some of its rows.

    Returns:
        event_date (date), each once; NULL for lines without a time.
    """
    return landed.select(F.to_date(event_ts(F.col("event_ts"))).alias("event_date")).distinct()
