"""Imported events as the JSON lines that land."""

import orjson
import pyarrow as pa
from pyarrow import compute

from churn_assets.sample.text_columns import end_to_end, iso_times, joined, joined_without_nulls

FIELDS = ("event_id", "user_id", "source_user_id", "event_ts", "event_type", "country", "amount")


def event_lines(events: pa.Table) -> bytes:
    """One JSON object a row, UTF-8 without escapes; a field that is null is left out.

    Args:
        events: the columns that ``EventMapping.events`` gives, with an event_id. Where user_id is made of
            user_text, that lands as source_user_id.
    """
    events = events.combine_chunks()
    values: dict[str, pa.Array] = {name: _only_chunk(events[name]) for name in events.column_names}
    times = iso_times(values["event_ts_micros"].cast(pa.timestamp("us")))
    columns = {name: _json(values[name]) for name in ("event_id", "event_type", "country", "amount")}
    columns["source_user_id"] = _json(values["user_text"])
    columns["user_id"] = values["user_id"].cast(pa.string())
    columns["event_ts"] = _json(compute.call_function("coalesce", [times, values["event_ts_text"]]))
    fields = [joined(f'"{name}":', columns[name]) for name in FIELDS]
    return end_to_end(joined("{", joined_without_nulls(fields, ","), "}\n"))


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _json(strings: pa.StringArray) -> pa.StringArray:
    """Each string as JSON; escaping is orjson's business, once for each distinct string."""
    encoded = strings.dictionary_encode()
    distinct = [orjson.dumps(value).decode() for value in encoded.dictionary.to_pylist()]
    return pa.array(distinct, pa.string()).take(encoded.indices)
