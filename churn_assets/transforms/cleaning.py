"""From Bronze to Silver: typed events, one row an event_id, and what could not become one."""

import datetime as dt
from functools import reduce
from typing import Literal, NamedTuple

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.transforms.computed_once import computed_once
from churn_assets.transforms.hashing import null_safe_hash
from churn_assets.transforms.identity import (
    doubtful_users,
    rows_of_users,
    source_id,
    user_sources,
    with_verdict,
)
from churn_assets.transforms.recurrence import id_hash, rows_with
from churn_assets.transforms.values import amount, event_ts, trimmed, user_id

# Devices' clocks run a little ahead at times; what is further ahead than this cannot be placed on a day.
CLOCK_TOLERANCE = "INTERVAL 1 HOUR"

EPOCH = "timestamp '1970-01-01 00:00:00'"

# What makes two rows of one event_id the same event. Two amounts make them different, too, but none goes with
# any: what landed before there were amounts is not in conflict with itself.
CONTENT = ("user_id", "event_ts", "event_type", "country")


# See ``clean_batch``.
RecurringIds = DataFrame | Literal["none", "any"]


class CleanBatch(NamedTuple):
    """What one batch of Bronze adds: rows of ``tables.EVENTS`` and of ``tables.QUARANTINED_EVENTS``."""

    events: DataFrame
    quarantined: DataFrame


def typed(landed: DataFrame, earliest: dt.date) -> DataFrame:
    """Give each landed row its types, or the first reason why it cannot be an event.

    What is an id and what a time, ``transforms.values`` says.

    Args:
        landed: ``landing.events``.
        earliest: the first UTC day of which anybody can mean an event.

    Returns:
        event_id, event_type, country (string), user_id (bigint), event_ts (timestamp), source_user_id
        (string), amount (decimal; NULL for one that is no number, too), reason (string, NULL for an event),
        _raw, _source_file, _ingested_at, _processing_date, _clock_at; one row for each of ``landed``.
    """
    reason = (
        F.when(F.col("_corrupt_record").isNotNull(), "corrupt")
        .when(_is_blank("event_id"), "missing_event_id")
        .when(_is_blank("user_id"), "missing_user_id")
        .when(F.col("_user_id").isNull(), "bad_user_id")
        .when(F.col("_event_ts").isNull() | (F.col("_event_ts") < F.expr(EPOCH)), "bad_event_ts")
        .when(F.col("_event_ts") < _start_of(earliest), "implausible_event_ts")
        .when(F.col("_event_ts") > _latest_possible(), "future_event_ts")
    )
    return (
        landed.withColumn("_user_id", user_id(F.col("user_id")))
        .withColumn("_event_ts", event_ts(F.col("event_ts")))
        .withColumn("reason", computed_once(reason))
        .select(
            "event_id",
            F.col("_user_id").alias("user_id"),
            F.col("_event_ts").alias("event_ts"),
            "event_type",
            "country",
            source_id().alias("source_user_id"),
            amount(F.col("amount")).alias("amount"),
            "reason",
            "_raw",
            "_source_file",
            "_ingested_at",
            "_processing_date",
            "_clock_at",
        )
    )


def doubtful_sources(landed: DataFrame, silver: DataFrame, earliest: dt.date) -> DataFrame:
    """The source id of each user for whom a batch of Bronze, or the batch and Silver, name more than one.

    Args:
        landed: rows of ``landing.events``: one or more whole ingestions.
        silver: ``clean.events`` as it is, with or without this batch.
        earliest: the first UTC day of which anybody can mean an event.

    Returns:
        What ``identity.user_sources`` returns.
    """
    users = doubtful_users(landed, silver)
    # Which of them are new events that stay, the other rows of their ids say.
    ids = rows_of_users(landed, users).select("event_id").distinct()
    few = typed(ids.join(landed, "event_id"), earliest).where(F.col("reason").isNull())
    return user_sources(few.withColumn("content", _content()), silver, users)


def clean_batch(
    landed: DataFrame,
    silver: DataFrame,
    earliest: dt.date,
    sources: DataFrame | None,
    recurring_ids: RecurringIds,
) -> CleanBatch:
    """Tell which new events a batch of Bronze holds, and which of its rows cannot become one.

    Rows of one event_id and equal content are the same event: one stays, the others are dropped. If their
    content differs, that of Silver stays, or else that of the earliest ingestion, or else the smallest; rows
    with any other are quarantined as conflicting_duplicate. So neither the order of rows nor their spread
    over files counts, and cleaning a batch again gives the same quarantine.

    Before that, rows with another source_user_id than their user has (see ``transforms.identity``) are
    quarantined as conflicting_source_user_id. It is no content: that of an event is the one of its first
    ingestion, NULL if none came with it; and so is its amount, of which others are in conflict with it.

    Args:
        landed: rows of ``landing.events``: one or more whole ingestions.
        silver: ``clean.events`` as it is, with or without this batch; at least the dates on which it has
            event_ids that recur.
        earliest: the first UTC day of which anybody can mean an event.
        sources: ``doubtful_sources`` of the two, computed already, or else they are computed several times;
            None where ``identity.doubtful_users`` are none.
        recurring_ids: which event_ids several rows have, or one row and Silver: ``recurrence.recurring_ids``,
            computed already; "none" of them, or "any", with which all rows are compared.

    Returns:
        events: new ones only, event_id unique and not in ``silver``. quarantined: one row for each row of
        ``landed`` that is bad or in conflict.
    """
    rows = _judged(landed, earliest, sources)
    ids = None if isinstance(recurring_ids, str) else recurring_ids
    if ids is None and recurring_ids == "none":
        return CleanBatch(_as_events(_lone(rows, None)), _quarantined(_refused(rows)))

    # Bad rows are gone before a window or a GROUP BY, which no check of the write can pass.
    compared = _judged(landed if ids is None else rows_with(landed, ids), earliest, sources)
    by_id = _one_row_an_id(_good(compared)).join(_looked_up(silver), "event_id", "left")
    in_silver = F.col("silver_user_id").isNotNull()

    settled = by_id.where(~in_silver & ~_differs()).select(
        "event_id",
        *CONTENT,
        "_ingested_at",
        _first_source().alias("source_user_id"),
        F.when(F.col("amount_since") == F.col("_ingested_at"), F.col("min_amount")).alias("amount"),
    )
    # Where all rows are compared, most need not be parsed to know that they agree.
    differing = _judged(_differing(landed), earliest, sources) if ids is None else compared
    first = _first_arrivals(_good(differing))
    contested = first.join(silver.select("event_id"), "event_id", "left_anti")
    known = by_id.where(in_silver & (_differs() | _differs_from("silver", "min_amount"))).select(
        "event_id", *(F.col(f"silver_{name}").alias(name) for name in (*CONTENT, "amount"))
    )
    new = settled.unionByName(contested)
    if ids is not None:
        new = _lone(rows, ids).unionByName(new)
    winners = known.unionByName(contested.select("event_id", *CONTENT, "amount"))
    refused = _refused(rows).unionByName(_in_conflict(_good(compared), winners))
    return CleanBatch(_as_events(new), _quarantined(refused))


def _judged(landed: DataFrame, earliest: dt.date, sources: DataFrame | None) -> DataFrame:
    rows = typed(landed, earliest)
    if sources is None:
        return rows
    judged = with_verdict(rows, sources)
    refused = F.when(F.col("is_refused"), "conflicting_source_user_id")
    return judged.withColumn("reason", F.coalesce("reason", refused))


def _good(judged: DataFrame) -> DataFrame:
    return judged.where(F.col("reason").isNull())


def _lone(judged: DataFrame, recurring_ids: DataFrame | None) -> DataFrame:
    """The good rows whose event_id does not recur, as they are."""
    rows = _good(judged)
    if recurring_ids is not None:
        hashes = recurring_ids.select("id_hash", F.lit(True).alias("recurs"))
        # A right join, as Sail hashes the left side.
        joined = hashes.join(rows.withColumn("id_hash", id_hash()), "id_hash", "right")
        rows = joined.where(F.col("recurs").isNull())
    # The values are for bad rows, which the filter drops: Sail tests NOT NULL before a filter, and one line
    # that is quarantined anyway would fail the write, and each later one.
    filled = {
        "event_id": F.coalesce("event_id", F.lit("")),
        "user_id": F.coalesce("user_id", F.lit(0).cast("bigint")),
        "event_ts": F.coalesce("event_ts", F.expr(EPOCH)),
    }
    return rows.select(
        *(filled.get(name, F.col(name)).alias(name) for name in ("event_id", *CONTENT)),
        "_ingested_at",
        "source_user_id",
        "amount",
    )


def _as_events(new: DataFrame) -> DataFrame:
    return new.withColumn("event_date", F.to_date("event_ts")).select(*tables.EVENTS.column_names)


def _start_of(day: dt.date) -> Column:
    return F.expr(f"timestamp '{day} 00:00:00'")


def _latest_possible() -> Column:
    # Not by _ingested_at alone, which stays ahead of the clock for as long as a clock once was.
    return F.coalesce("_clock_at", "_ingested_at") + F.expr(CLOCK_TOLERANCE)


def _is_blank(column: str) -> Column:
    return F.coalesce(trimmed(F.col(column)), F.lit("")) == ""


def _content() -> Column:
    return null_safe_hash(("event_type", "country"), never_null=("user_id", "event_ts"))


def _one_row_an_id(good: DataFrame) -> DataFrame:
    # Plain min and max: dropDuplicates, windows and structs over a large batch take ten times the time and
    # memory. Where an id has one content only, which the hash tells, its minima are that content.
    return (
        good.withColumn("content", _content())
        .groupBy("event_id")
        .agg(
            *(F.min(name).alias(name) for name in (*CONTENT, "_ingested_at")),
            F.min("content").alias("min_content"),
            F.max("content").alias("max_content"),
            F.min(_sourced_moment()).alias("earliest_source"),
            F.min("amount").alias("min_amount"),
            F.max("amount").alias("max_amount"),
            F.min(F.when(F.col("amount").isNotNull(), F.col("_ingested_at"))).alias("amount_since"),
        )
    )


def _moment(column: str) -> Column:
    return F.lpad(F.unix_micros(column).cast("string"), 18, "0")


def _sourced_moment() -> Column:
    # Made only where there is one: a text a row costs a tenth of the cleaning.
    text = F.concat(_moment("_ingested_at"), F.col("source_user_id"))
    return F.when(F.col("source_user_id").isNotNull(), text)


def _first_source() -> Column:
    """The source_user_id, of a row of ``_one_row_an_id``, that came with its first ingestion."""
    is_first = F.col("earliest_source").startswith(_moment("_ingested_at"))
    return F.when(is_first, F.expr("substr(earliest_source, 19)"))


def _looked_up(silver: DataFrame) -> DataFrame:
    known = (F.col(name).alias(f"silver_{name}") for name in (*CONTENT, "amount"))
    return silver.select("event_id", *known)


def _differs() -> Column:
    """Whether the good rows of an id differ from one another."""
    return (F.col("min_content") != F.col("max_content")) | _are_two("min_amount", "max_amount")


def _differs_from(prefix: str, amount: str = "amount") -> Column:
    others = [~F.col(name).eqNullSafe(F.col(f"{prefix}_{name}")) for name in CONTENT]
    return reduce(Column.__or__, [*others, _are_two(amount, f"{prefix}_amount")])


def _are_two(one: str, other: str) -> Column:
    return F.coalesce(F.col(one) != F.col(other), F.lit(False))


def _differing(landed: DataFrame) -> DataFrame:
    """All rows of the ids whose rows differ as landed: only they can differ from one another once typed."""
    differing = (
        landed.withColumn("fields", null_safe_hash((*CONTENT, "amount")))
        .groupBy("event_id")
        .agg(F.min("fields").alias("min_fields"), F.max("fields").alias("max_fields"))
        .where(F.col("min_fields") != F.col("max_fields"))
        .select("event_id")
    )
    # To find these few takes no parsing. Joined in this order since Sail hashes the left side.
    return differing.join(landed, "event_id")


def _first_arrivals(good: DataFrame) -> DataFrame:
    """The row that wins for each id whose good rows differ from one another."""
    of_id = Window.partitionBy("event_id")
    arrival = of_id.orderBy(
        "_ingested_at",
        *(F.asc_nulls_first(name) for name in CONTENT),
        F.asc_nulls_last("amount"),
        F.asc_nulls_last("source_user_id"),
    )
    return (
        good.withColumn("content", _content())
        .withColumn("min_content", F.min("content").over(of_id))
        .withColumn("max_content", F.max("content").over(of_id))
        .withColumn("min_amount", F.min("amount").over(of_id))
        .withColumn("max_amount", F.max("amount").over(of_id))
        .withColumn("place", F.row_number().over(arrival))
        .where(_differs() & (F.col("place") == 1))
        .select("event_id", *CONTENT, "_ingested_at", "source_user_id", "amount")
    )


def _refused(judged: DataFrame) -> DataFrame:
    """The rows with a reason against them."""
    return judged.where(F.col("reason").isNotNull())


def _in_conflict(good: DataFrame, winners: DataFrame) -> DataFrame:
    """The good rows whose content is not that of their id's winner, with that as the reason against them."""
    won = winners.select("event_id", *(F.col(name).alias(f"won_{name}") for name in (*CONTENT, "amount")))
    # The winners first, as Sail hashes the left side, which here is small.
    rows = won.join(good, "event_id").where(_differs_from("won"))
    return rows.withColumn("reason", F.lit("conflicting_duplicate")).select(*good.columns)


def _quarantined(refused: DataFrame) -> DataFrame:
    # Identical lines of one file share their verdict, having one content and one ingestion: numbered among
    # the quarantined alone, they get the same numbers each time.
    of_line = Window.partitionBy("_source_file", "_raw").orderBy("_ingested_at")
    numbered = refused.withColumn("occurrence", F.row_number().over(of_line))
    return numbered.select(*tables.QUARANTINED_EVENTS.column_names)
