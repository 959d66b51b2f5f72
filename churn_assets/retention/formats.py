"""A list of whom to contact as a file: CSV that a spreadsheet may open, JSON, or Parquet."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Literal

from churn_assets.tables import RETENTION_LIST

Format = Literal["csv", "json", "parquet"]
Rows = Sequence[dict[str, Any]]

# What a spreadsheet takes for a formula, as it runs programs: https://owasp.org/www-community/attacks/CSV_Injection
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

TEXT_COLUMNS = frozenset(column.name for column in RETENTION_LIST.columns if column.type == "string")


def formatted(rows: Rows, kind: Format) -> bytes:
    """Return the rows in a format; CSV and JSON in UTF-8."""
    match kind:
        case "csv":
            return as_csv(rows)
        case "json":
            return json.dumps(rows, default=str, ensure_ascii=False, indent=1).encode() + b"\n"
        case "parquet":
            return _as_parquet(rows)


def as_csv(rows: Rows, *, with_head: bool = True) -> bytes:
    r"""Return the rows, by default with a head, as RFC 4180 has them: lines end in CR LF, null is nothing.

    A text that a spreadsheet would take for a formula begins with an apostrophe, and so is not that user's id
    to the letter: read JSON or Parquet where that matters.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if with_head:
        writer.writerow(RETENTION_LIST.column_names)
    writer.writerows([_cell(name, row[name]) for name in RETENTION_LIST.column_names] for row in rows)
    return text.getvalue().encode()


def _cell(name: str, value: Any) -> Any:
    is_formula = name in TEXT_COLUMNS and isinstance(value, str) and value.startswith(FORMULA_STARTS)
    return f"'{value}" if is_formula else value


def _as_parquet(rows: Rows) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as papq

    types = {
        "bigint": pa.int64(),
        "int": pa.int32(),
        "double": pa.float64(),
        "string": pa.string(),
        "date": pa.date32(),
    }
    schema = pa.schema(
        [pa.field(one.name, types[one.type], nullable=one.nullable) for one in RETENTION_LIST.columns]
    )
    sink = io.BytesIO()
    papq.write_table(pa.Table.from_pylist(list(rows), schema), sink)
    return sink.getvalue()
