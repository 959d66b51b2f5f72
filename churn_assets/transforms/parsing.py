"""From lines to Bronze: strict JSON objects, told from everything else by one rule on every engine.

Engines disagree on what is JSON (single quotes, control characters, trailing garbage, a repeated name) and on
how a value reads back (``1e5``, nested values). They agree on the plain lines that nearly every producer
sends, so these stay in the engine; every other line is read by orjson in an Arrow UDF.
"""

import datetime as dt
import json
from collections.abc import Callable

import orjson
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from churn_assets import tables

FIELDS = ("event_id", "user_id", "event_ts", "event_type", "country", "source_user_id", "amount")
# Most lines have none of these, and looking for a name is cheaper than reading the object once more.
SELDOM = FIELDS[5:]

# A flat object of known fields whose values read back alike everywhere: strings without escapes, integers of
# at most 18 digits, prices, literals. Strict JSON by construction. Bounded: an unbounded group overflows
# Java's stack. Longer fractions and those that end in 0 are doubles to Apache Spark, and come back as such.
_PRICE = r"-?(?:[1-9][0-9]{0,5}|0)\.[0-9]?[1-9]"
_VALUE = rf'(?:"[^"\\\x00-\x1f]*"|{_PRICE}|-?[1-9][0-9]{{0,17}}|0|true|false|null)'
_MEMBER = rf'"(?:{"|".join(FIELDS)})": ?{_VALUE}'
PLAIN_LINE = rf"\A\{{{_MEMBER}(?:, ?{_MEMBER}){{0,6}}\}}\z"
# Of a repeated name the last counts, as in nearly every JSON reader; get_json_object takes the first.
REPEATED_FIELD = "|".join(rf'"{field}":.*"{field}":' for field in FIELDS)

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
    raw = lines.select(F.regexp_replace("line", "^\ufeff|\r$", "").alias("_raw"), "_source_file")
    return (
        taken_apart(raw)
        .withColumn("_ingested_at", utc_timestamp(ingested_at))
        .withColumn("_processing_date", F.lit(ingested_at.astimezone(dt.UTC).date()))
        .withColumn("_clock_at", utc_timestamp(clock_at or ingested_at))
        .select(*tables.LANDED_EVENTS.column_names)
    )


def taken_apart(raw: DataFrame) -> DataFrame:
    """Take lines apart that are kept as they are.

    Args:
        raw: _raw (string), and any other columns.

    Returns:
        The same columns with the known fields, _rescued_data and _corrupt_record (string).
    """
    is_plain = F.col("_raw").rlike(PLAIN_LINE) & ~F.col("_raw").rlike(REPEATED_FIELD)
    told_apart = raw.withColumn("_is_plain", is_plain)
    read = told_apart.withColumn("_read", _strict_reader()(F.when(~F.col("_is_plain"), F.col("_raw"))))
    sourced = read.withColumn("_object", F.when(F.col("_is_plain"), F.col("_raw")).otherwise(F.col("_read")))
    return sourced.select(
        *raw.columns,
        *(_field(field).alias(field) for field in FIELDS),
        F.get_json_object("_read", "$._rescued_data").alias("_rescued_data"),
        F.when(F.col("_object").isNull(), F.col("_raw")).alias("_corrupt_record"),
    )


def _field(name: str) -> Column:
    value = F.get_json_object("_object", f"$.{name}")
    return F.when(F.contains(F.col("_object"), F.lit(f'"{name}"')), value) if name in SELDOM else value


def utc_timestamp(moment: dt.datetime) -> Column:
    """A timestamp literal, to the microsecond and whatever the time zone of the Python process."""
    return F.timestamp_micros(F.lit((moment - _EPOCH) // dt.timedelta(microseconds=1)))


def _strict_reader() -> Callable[..., Column]:
    """The UDF that reads any line: to JSON of the known fields and ``_rescued_data`` as text, or to NULL."""

    # Nested, so that it is pickled by value: the workers of a cluster need orjson, but not this package.
    def read(lines: pd.Series) -> pd.Series:
        def text(value: object) -> str | None:
            if value is None or isinstance(value, str):
                return value
            return orjson.dumps(value).decode()

        def fields(line: str | None) -> str | None:
            if line is None or not line.lstrip().startswith("{"):
                return None
            try:
                orjson.loads(line)  # the verdict; but as it rounds numbers to doubles, they are read again
                landed = json.loads(line, parse_int=orjson.Fragment, parse_float=orjson.Fragment)
                found = {name: text(landed.pop(name, None)) for name in FIELDS}
                rescued = orjson.dumps(landed, option=orjson.OPT_SORT_KEYS).decode() if landed else None
                return orjson.dumps(found | {"_rescued_data": rescued}).decode()
            except (ValueError, TypeError, RecursionError):  # no JSON, or nested too deep to be written again
                return None

        return pd.Series([fields(line) for line in lines], dtype=object)

    return F.pandas_udf(StringType())(read)  # type: ignore[call-overload]  # the overloads want a type as text
