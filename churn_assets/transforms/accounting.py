"""Which lines have been cleaned, and where each of them went."""

import datetime as dt
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.transforms.cleaning import CONTENT, is_event, typed

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def not_yet_cleaned(landed: DataFrame, last_micros: int | None) -> DataFrame:
    """The lines that Bronze gained since the last cleaning.

    Args:
        landed: ``landing.events``.
        last_micros: the greatest _ingested_at in ``clean.events``, microseconds since 1970; None if it is
        empty.
            An ingestion that brought no new event is cleaned again, which changes nothing.
    """
    if last_micros is None:
        return landed
    day = (EPOCH + dt.timedelta(microseconds=last_micros)).date()
    # The partition first, so that only files of the last days are read.
    return landed.where(F.col("_processing_date") >= F.lit(day)).where(
        F.unix_micros("_ingested_at") > F.lit(last_micros)
    )


def deliveries(landed: DataFrame, events: DataFrame) -> DataFrame:
    """The lines that say what an event of Silver says: one a delivery of that event.

    Args:
        landed: ``landing.events``.
        events: ``clean.events``.

    Returns:
        event_id, _source_file. An event delivered twice has two rows; one of them is an exact duplicate.
    """
    silver = events.select("event_id", *(F.col(name).alias(f"silver_{name}") for name in CONTENT))
    same = reduce(Column.__and__, [F.col(name).eqNullSafe(F.col(f"silver_{name}")) for name in CONTENT])
    return (
        silver.join(typed(landed).where(is_event()), "event_id")
        .where(same)
        .select("event_id", "_source_file")
    )
