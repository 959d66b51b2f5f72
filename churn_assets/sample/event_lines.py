"""Events as the JSON lines that land."""

from collections.abc import Iterable

import orjson
import pyarrow as pa
from pyarrow import compute

FIELDS = ("event_id", "user_id", "event_ts", "event_type", "country")


def event_lines(events: pa.Table) -> bytes:
    """One JSON object a row, UTF-8 without escapes; a field that is null is left out.

    Args:
        events: the columns that ``EventMapping.events`` gives.
    """
    iso = compute.call_function(
        "strftime",
        [events["event_ts_micros"].cast(pa.timestamp("us"))],
        compute.StrftimeOptions("%Y-%m-%dT%H:%M:%SZ"),
    )
    times = compute.call_function("coalesce", [iso, events["event_ts_text"]])
    columns = [times if name == "event_ts" else events[name] for name in FIELDS]
    rows: Iterable[tuple] = zip(*(column.to_pylist() for column in columns), strict=True)
    dumps, newline = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    return b"".join(
        dumps(
            {name: value for name, value in zip(FIELDS, row, strict=True) if value is not None}, None, newline
        )
        for row in rows
    )
