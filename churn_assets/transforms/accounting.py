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


def deliveries(landed: DataFrame, quarantined: DataFrame, events: DataFrame) -> DataFrame:
    """Count the lines that say what an event of Silver says: one a delivery of that event.

    A line that is in quarantine may say it too, as one that came before its time, or twice: it counts less.

    Args:
        landed: ``landing.events``, or some of its rows.
        quarantined: ``clean.quarantined_events``, or some of its rows.
        events: ``clean.events``; at least the rows of the dates of these lines.

    Returns:
        content (bigint), a hash of event_id and content, and lines (int): 1 for each line of Bronze that says
        it, and -1 for each in quarantine. An event delivered twice adds up to two, of which one is an exact
        duplicate.
    """
    # From the lines that the quarantine keeps: few, where looking for them in Bronze reads every line.
    refused = taken_apart(quarantined.select(F.col("_raw").alias("line")))
    # Together, as Silver is then read once.
    lines = _said(landed, 1).unionByName(_said(refused, -1))
    # Ten million events have two with one hash by chance once in 200,000 logs; two columns of text and four
    # others, joined as they are, take twice the time and several times the memory.
    silver = events.select(
        _content(F.col("user_id"), F.col("event_ts")).alias("silver_content"),
        F.col("amount").alias("silver_amount"),
    )
    # No amount goes with any. The lines first, as Sail hashes the left side.
    is_same = F.coalesce(F.col("amount") == F.col("silver_amount"), F.lit(True))
    pairs = lines.join(silver, F.col("content") == F.col("silver_content"))
    return pairs.where(is_same).select("content", "lines")


def _said(lines: DataFrame, count: int) -> DataFrame:
    # An earlier release took 007 for 7, and Silver keeps what it has.
    former = F.when(F.col("user_id").rlike(FORMER_USER_ID), F.col("user_id").try_cast("bigint"))
    user = F.coalesce(user_id(F.col("user_id")), former)
    return lines.select(
        _content(user, event_ts(F.col("event_ts"))).alias("content"),
        amount(F.col("amount")).alias("amount"),
        F.lit(count).alias("lines"),
    )


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


def days_said(landed: DataFrame) -> DataFrame:
    """The days that the lines name, as Silver's event_date has them.

    Args:
        landed: ``landing.events``, or some of its rows.

    Returns:
        event_date (date), each once; NULL for lines without a time.
    """
    return landed.select(F.to_date(event_ts(F.col("event_ts"))).alias("event_date")).distinct()
