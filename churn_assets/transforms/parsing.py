"""From lines to Bronze: strict JSON objects, told from everything else by one rule on every engine.

Engines disagree on what is JSON (single quotes, control characters, trailing garbage, a repeated name) and on
how a value reads back (``1e5``, nested values), and Apache Spark takes ten times as long as Arrow to read it.
"""

import datetime as dt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.transforms.json_lines import FIELDS, line_reader

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def landed_events(
    lines: DataFrame, ingested_at: dt.datetime, clock_at: dt.datetime | None = None
) -> DataFrame:
    r"""Take lines apart as Bronze keeps them: every line becomes a row, whatever it holds.

    A line is good if the whole of it is one JSON object (RFC 8259), with numbers in the range of doubles and
    at most 250 levels. A string field is kept as its content, a number or literal as its text, an object or
    array as compact JSON; null is as good as absent, and of a repeated name the last counts. A byte order
    mark before the line and a ``\r`` after it belong to the file and are dropped.

    Args:
        lines: line (string), _source_file (string), one row a line.
        ingested_at: when this ingestion took place, with time zone; every row gets it. Later than that of any
            other ingestion, even if the clock is not.
        clock_at: what the clock said, with time zone; the same, without it.

    Returns:
        The columns of ``tables.LANDED_EVENTS``, one row a line.
    """
    return (
        taken_apart(lines)
        .withColumn("_ingested_at", utc_timestamp(ingested_at))
        .withColumn("_processing_date", F.lit(ingested_at.astimezone(dt.UTC).date()))
        .withColumn("_clock_at", utc_timestamp(clock_at or ingested_at))
        .select(*tables.LANDED_EVENTS.column_names)
    )


def taken_apart(lines: DataFrame) -> DataFrame:
    """Take lines apart.

    Args:
        lines: line (string), and any other columns.

    Returns:
        The same columns, the line as _raw, with the known fields, _rescued_data and _corrupt_record (string).
    """
    names = ("_raw" if name == "line" else name for name in lines.columns)
    types = (kind for _, kind in lines.dtypes)
    schema = [
        *(f"`{name}` {kind}" for name, kind in zip(names, types, strict=True)),
        *(f"`{name}` string" for name in (*FIELDS, "_rescued_data", "_corrupt_record")),
    ]
    return lines.mapInArrow(line_reader(lines.columns), ", ".join(schema))


def utc_timestamp(moment: dt.datetime) -> Column:
    """A timestamp literal, to the microsecond and whatever the time zone of the Python process."""
    return F.timestamp_micros(F.lit((moment - _EPOCH) // dt.timedelta(microseconds=1)))
