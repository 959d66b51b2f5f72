"""From Bronze to Silver: typed events, one row an event_id, and what could not become one."""

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.transforms.parsing import FIELDS

# Devices' clocks run a little ahead at times; what is further ahead than this cannot be placed on a day.
CLOCK_TOLERANCE = "INTERVAL 1 HOUR"

EPOCH = "timestamp '1970-01-01 00:00:00'"

# Ends are \z, as $ lets a line end pass.
INTEGER = r"^[+-]?[0-9]+\z"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
_ZONE = r"Z|[+-](0[0-9]|1[0-7]):[0-5][0-9]|[+-]18:00"
_YEAR = "(19[7-9][0-9]|[2-9][0-9]{3})"
TIMESTAMP = rf"^{_YEAR}-[0-9]{{2}}-[0-9]{{2}}([T ]{_CLOCK})?({_ZONE})?\z"

# What makes two rows of one event_id the same event.
CONTENT = ("user_id", "event_ts", "event_type", "country")


class CleanBatch(NamedTuple):
    """What one batch of Bronze adds: rows of ``tables.EVENTS`` and of ``tables.QUARANTINED_EVENTS``."""

    events: DataFrame
    quarantined: DataFrame


def typed(landed: DataFrame) -> DataFrame:
    """Give each landed row its types, or the first reason why it cannot be an event.

    event_ts is ISO 8601: a date, or a date and a time to the minute or finer, with ``Z``, an offset or, for
    UTC, nothing. Digits after the microsecond are cut off.

    Args:
        landed: ``landing.events``.

    Returns:
        event_id, event_type, country (string), user_id (bigint), event_ts (timestamp), reason (string, NULL
        for an event), _raw, _source_file, _ingested_at, _processing_date, _clock_at; one row for each of
        ``landed``.
    """
    user_id = F.when(F.col("user_id").rlike(INTEGER), F.col("user_id").try_cast("bigint"))
    event_ts = F.when(F.col("event_ts").rlike(TIMESTAMP), _canonical_timestamp().try_cast("timestamp"))
    reason = (
        F.when(F.col("_corrupt_record").isNotNull(), "corrupt")
        .when(_is_blank("event_id"), "missing_event_id")
        .when(_is_blank("user_id"), "missing_user_id")
        .when(F.col("_user_id").isNull(), "bad_user_id")
        .when(F.col("_event_ts").isNull() | (F.col("_event_ts") < F.expr(EPOCH)), "bad_event_ts")
        .when(F.col("_event_ts") > _latest_possible(), "future_event_ts")
    )
    return (
        landed.withColumn("_user_id", user_id)
        .withColumn("_event_ts", event_ts)
        .withColumn("reason", reason)
        .select(
            "event_id",
            F.col("_user_id").alias("user_id"),
            F.col("_event_ts").alias("event_ts"),
            "event_type",
            "country",
            "reason",
            "_raw",
            "_source_file",
            "_ingested_at",
            "_processing_date",
            "_clock_at",
        )
    )


def clean_batch(landed: DataFrame, silver: DataFrame) -> CleanBatch:
    """Tell which new events a batch of Bronze holds, and which of its rows cannot become one.

    Rows of one event_id and equal content are the same event: one stays, the others are dropped. If their
    content differs, that of Silver stays, or else that of the earliest ingestion, or else the smallest; rows
    with any other are quarantined as conflicting_duplicate. So neither the order of rows nor their spread
    over files counts, and cleaning a batch again gives the same quarantine.

    Args:
        landed: rows of ``landing.events``: one or more whole ingestions.
        silver: ``clean.events`` as it is, with or without this batch.

    Returns:
        events: new ones only, event_id unique and not in ``silver``. quarantined: one row for each row of
        ``landed`` that is bad or in conflict.
    """
    rows = typed(landed)
    by_id = _one_row_an_id(rows.where(is_event())).join(_looked_up(silver), "event_id", "left")
    in_silver = F.col("silver_user_id").isNotNull()

    settled = by_id.where(~in_silver & ~_differs()).select("event_id", *CONTENT, "_ingested_at")
    contested = _first_arrivals(landed).join(silver.select("event_id"), "event_id", "left_anti")
    known = by_id.where(in_silver & (_differs() | _differs_from("silver"))).select(
        "event_id", *(F.col(f"silver_{name}").alias(name) for name in CONTENT)
    )
    new = settled.unionByName(contested).withColumn("event_date", F.to_date("event_ts"))
    winners = known.unionByName(contested.drop("_ingested_at"))
    return CleanBatch(
        events=new.select(*tables.EVENTS.column_names),
        quarantined=_quarantined(rows, winners),
    )


def _latest_possible() -> Column:
    # Not by _ingested_at alone, which stays ahead of the clock for as long as a clock once was.
    return F.coalesce("_clock_at", "_ingested_at") + F.expr(CLOCK_TOLERANCE)


def is_event() -> Column:
    """Whether a row of ``typed`` has no reason against it."""
    # The same as "reason IS NULL", which Sail takes apart into a dozen parsings of each timestamp: 8 s for
    # five million rows instead of 3 s.
    return (
        ~_is_blank("event_id")
        & F.col("user_id").isNotNull()
        & F.col("event_ts").between(F.expr(EPOCH), _latest_possible())
    )


def _is_blank(column: str) -> Column:
    return F.coalesce(F.btrim(F.col(column), F.lit(" \t\r\n\f\v")), F.lit("")) == ""


def _canonical_timestamp() -> Column:
    # Sail casts no zone without seconds before it. Both engines cut digits after the microsecond off.
    landed = F.col("event_ts")
    return (
        F.when(_has_zone_at(11), F.concat(landed.substr(1, 10), F.lit("T00:00:00"), landed.substr(11, 6)))
        .when(_has_zone_at(17), F.concat(landed.substr(1, 16), F.lit(":00"), landed.substr(17, 6)))
        .otherwise(landed)
    )


def _has_zone_at(position: int) -> Column:
    return F.col("event_ts").substr(position, 1).isin("Z", "+", "-")


def _hash(columns: Iterable[str]) -> Column:
    # NULL is hashed as such; else it would leave the hash as it is, and (NULL, 'a') be equal to ('a', NULL).
    return F.xxhash64(*(part for name in columns for part in (F.col(name), F.isnull(name))))


def _one_row_an_id(good: DataFrame) -> DataFrame:
    # Plain min and max: dropDuplicates, windows and structs over a large batch take ten times the time and
    # memory. Where an id has one content only, which the hash tells, its minima are that content.
    return (
        good.withColumn("content", _hash(CONTENT))
        .groupBy("event_id")
        .agg(
            *(F.min(name).alias(name) for name in (*CONTENT, "_ingested_at")),
            F.min("content").alias("min_content"),
            F.max("content").alias("max_content"),
        )
    )


def _looked_up(silver: DataFrame) -> DataFrame:
    return silver.select("event_id", *(F.col(name).alias(f"silver_{name}") for name in CONTENT))


def _differs() -> Column:
    """Whether the good rows of an id differ from one another."""
    return F.col("min_content") != F.col("max_content")


def _differs_from(prefix: str) -> Column:
    return reduce(Column.__or__, [~F.col(name).eqNullSafe(F.col(f"{prefix}_{name}")) for name in CONTENT])


def _first_arrivals(landed: DataFrame) -> DataFrame:
    """The row that wins for each id whose good rows differ from one another."""
    # Only ids whose fields differ as landed can be among them: to find these few takes no parsing.
    suspects = (
        landed.withColumn("fields", _hash(FIELDS))
        .groupBy("event_id")
        .agg(F.min("fields").alias("min_fields"), F.max("fields").alias("max_fields"))
        .where(F.col("min_fields") != F.col("max_fields"))
        .select("event_id")
    )
    # Joined in this order since Sail hashes the left side, and typed after that: only the few rows are
    # parsed.
    few = typed(suspects.join(landed, "event_id"))
    is_good = F.col("reason").isNull()
    of_id = Window.partitionBy("event_id")
    arrival = of_id.orderBy(~is_good, "_ingested_at", *(F.asc_nulls_first(name) for name in CONTENT))
    return (
        few.withColumn("content", F.when(is_good, _hash(CONTENT)))
        .withColumn("min_content", F.min("content").over(of_id))
        .withColumn("max_content", F.max("content").over(of_id))
        .withColumn("place", F.row_number().over(arrival))
        .where(_differs() & (F.col("place") == 1))
        .select("event_id", *CONTENT, "_ingested_at")
    )


def _quarantined(rows: DataFrame, winners: DataFrame) -> DataFrame:
    """The rows with a reason, and those whose content is not that of their id's winner."""
    won = winners.select("event_id", *(F.col(name).alias(f"won_{name}") for name in CONTENT))
    in_conflict = F.col("won_user_id").isNotNull() & _differs_from("won")
    # Identical lines of one file share their verdict, having one content and one ingestion: numbered among
    # the quarantined alone, they get the same numbers each time.
    of_line = Window.partitionBy("_source_file", "_raw").orderBy("_ingested_at")
    # A right join, as Sail hashes the left side, which here is small.
    return (
        won.join(rows, "event_id", "right")
        .withColumn("reason", F.coalesce("reason", F.when(in_conflict, F.lit("conflicting_duplicate"))))
        .where(F.col("reason").isNotNull())
        .withColumn("occurrence", F.row_number().over(of_line))
        .select(*tables.QUARANTINED_EVENTS.column_names)
    )
