"""From lines to Bronze: strict JSON objects, told from everything else by one rule on every engine.

Engines disagree on what is JSON (single quotes, control characters, trailing garbage, a repeated name) and on
how a value reads back (``1e5``, nested values), and Apache Spark takes ten times as long as Arrow to read it.
"""

import datetime as dt
from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.transforms.json_lines import FIELDS, Batches, line_reader

# What reads files gives.
LINE_COLUMNS = ["line", "_source_file"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def landed_events(
    rows: DataFrame, ingested_at: dt.datetime, clock_at: dt.datetime | None = None
) -> DataFrame:
    r"""Give lines that have been taken apart the columns of Bronze: every line is a row, whatever it holds.

    Args:
        rows: what ``taken_apart`` returns, with _source_file (string).
        ingested_at: when this ingestion took place, with time zone; every row gets it. Later than that of any
            other ingestion, even if the clock is not.
        clock_at: what the clock said, with time zone; the same, without it.

    Returns:
        The columns of ``tables.LANDED_EVENTS``, one row a line.
    """
    return (
        rows.withColumn("_ingested_at", utc_timestamp(ingested_at))
        .withColumn("_processing_date", F.lit(ingested_at.astimezone(dt.UTC).date()))
        .withColumn("_clock_at", utc_timestamp(clock_at or ingested_at))
        .select(*tables.LANDED_EVENTS.column_names)
    )


def taken_apart(lines: DataFrame, before: Callable[[Batches], Batches] | None = None) -> DataFrame:
    r"""Take lines apart.

    A line is good if the whole of it is one JSON object (RFC 8259), with numbers in the range of doubles and
    at most 250 levels. A string field is kept as its content, a number or literal as its text, an object or
    array as compact JSON; null is as good as absent, and of a repeated name the last counts. A byte order
    mark before the line and a ``\r`` after it belong to the file and are dropped.

    Args:
        lines: line (string), and any other columns of strings.
        before: gives line and _source_file (string) from the batches of ``lines``, which then have other
            columns. In the same pass, as Apache Spark would send each line to Python once more.

    Returns:
        The same columns, the line as _raw, with the known fields, _rescued_data and _corrupt_record (string).
    """
    columns = LINE_COLUMNS if before else lines.columns
    names = ["_raw" if name == "line" else name for name in columns]
    schema = ", ".join(f"`{name}` string" for name in (*names, *FIELDS, "_rescued_data", "_corrupt_record"))
    read = line_reader(columns)
    return lines.mapInArrow(_one_after_the_other(before, read) if before else read, schema)


def _one_after_the_other(
    first: Callable[[Batches], Batches], second: Callable[[Batches], Batches]
) -> Callable[[Batches], Batches]:
    # Nested, so that it is sent to workers by value.
    def both(batches: Batches) -> Batches:
        return second(first(batches))

    return both


def utc_timestamp(moment: dt.datetime) -> Column:
    """A timestamp literal, to the microsecond and whatever the time zone of the Python process."""
    return F.timestamp_micros(F.lit((moment - _EPOCH) // dt.timedelta(microseconds=1)))
