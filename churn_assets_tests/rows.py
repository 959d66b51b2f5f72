"""Rows in and out of DataFrames, short enough for a test to be read."""

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from churn_assets import tables
from churn_assets.assets.silver import collected_ids, of_dates, settled_sources
from churn_assets.dates import ONE_DAY
from churn_assets.transforms import cleaning

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
D = dt.date(2026, 3, 10)
EARLIEST = dt.date(2000, 1, 1)


def utc(*parts: int) -> dt.datetime:
    """A moment in UTC: year, month, day and so on."""
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc]  # the parts are not tzinfo


def day(offset: int) -> dt.date:
    """The day ``offset`` days after D, 2026-03-10."""
    return D + offset * ONE_DAY


def frame(spark: SparkSession, table: tables.Table, rows: Iterable[Sequence[Any]]) -> DataFrame:
    """A DataFrame of the table's columns and types; the last columns may be left out.

    What is left out is null, but for features: a user without a history was never there before the 30 days.
    """
    schema = ", ".join(f"{column.name} {column.type}" for column in table.columns)
    width = len(table.columns)
    if table is tables.USER_FEATURES:
        rows = [row if len(row) == width else _with_history(row) for row in rows]
    return spark.createDataFrame([(*row, *[None] * (width - len(row))) for row in rows], schema)


def _with_history(row: Sequence[Any]) -> tuple[Any, ...]:
    """The row, and what ``tables.HISTORY`` is of a user who came within the 30 days, and then every day."""
    named = dict(zip(tables.USER_FEATURES.column_names, row, strict=False))
    days, silent = named.get("active_days_30d"), named.get("days_since_last_event")
    gap = 1.0 if (days or 0) > 1 else None
    history = {
        **dict.fromkeys(("active_days_90d", "active_days_365d", "active_days_total"), days),
        "event_count_total": named.get("event_count_30d"),
        "purchase_count_total": named.get("purchase_count_30d"),
        "mean_gap_days": gap,
        "gap_std_days": 0.0 if (days or 0) > 2 else None,
        "longest_gap_days": gap,
        "overdue_ratio": None if gap is None or silent is None else silent / gap,
        "days_since_last_purchase": silent if named.get("purchase_count_30d") else None,
    }
    known = {column.name: _least(column) for column in tables.HISTORY} | history | named
    return tuple(known.get(name) for name in tables.USER_FEATURES.column_names)


def features(**named: float | None) -> dict[str, float | None]:
    """A value for each feature that models take, in their order; of those not named, null or the least."""
    columns = {column.name: column for column in tables.ALL_FEATURES}
    assert set(named) <= set(columns)
    return {name: named[name] if name in named else _least(columns[name]) for name in tables.FEATURE_COLUMNS}


def _least(column: tables.Column) -> float | None:
    """The first value that the contract allows: null, or the smallest."""
    least = column.minimum or 0
    return None if column.nullable else float(least) if column.type == "double" else int(least)


def landed_lines(spark: SparkSession, lines_by_file: dict[str, list[str]]) -> DataFrame:
    """What ingestion hands to parsing: each line with its file."""
    rows = [(line, name) for name, lines in lines_by_file.items() for line in lines]
    return spark.createDataFrame(rows, "line string, _source_file string")


def landed_rows(spark: SparkSession, *lines: str, at: dt.datetime = NOON, file: str = "a.jsonl") -> DataFrame:
    """Lines as Bronze holds them; a line is an event of ``line`` or no JSON at all."""
    rows = []
    for text in lines:
        fields = json.loads(text) if text.startswith("{") else {}
        names = ("event_id", "user_id", "event_ts", "event_type", "country", "source_user_id", "amount")
        as_text = [None if (value := fields.get(name)) is None else str(value) for name in names]
        *first_five, source, amount = as_text
        corrupt = None if fields else text
        rows.append((*first_five, text, None, corrupt, at, file, at.date(), source, at, amount))
    return frame(spark, tables.LANDED_EVENTS, rows)


def clean(landed: DataFrame, silver: DataFrame, earliest: dt.date = EARLIEST) -> cleaning.CleanBatch:
    """A batch as the asset cleans it."""
    sources = settled_sources(landed, silver, earliest)
    recurring_ids, dates = collected_ids(landed, silver)
    return cleaning.clean_batch(landed, of_dates(silver, dates), earliest, sources, recurring_ids)


def rows_of(table: DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The rows in an order that depends on nothing but their values; timestamps in UTC."""
    rows = table.select(*columns).collect() if columns else table.collect()
    return sorted((tuple(map(_in_utc, row)) for row in rows), key=nulls_first)


def rounded(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The rows with their fractions to nine digits, behind which two ways to calculate may differ."""
    return [tuple(round(value, 9) if isinstance(value, float) else value for value in row) for row in rows]


def nulls_first(row: Sequence[Any]) -> list[tuple[bool, Any]]:
    """A sort key for rows that hold None."""
    return [(value is not None, value) for value in row]


def _in_utc(value: Any) -> Any:
    # Both engines give naive datetimes of the Python process's time zone.
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value


def line(
    event_id: Any,
    user_id: Any,
    event_ts: Any,
    event_type: Any = "page_view",
    country: Any = "DE",
    **more: Any,
) -> str:
    """An event as producers send it."""
    fields = {
        "event_id": event_id,
        "user_id": user_id,
        "event_ts": event_ts,
        "event_type": event_type,
        "country": country,
    }
    return json.dumps({**fields, **more})
