"""Reads a body as MLflow's server does: any of its formats, into rows of named values.

Both use Python's JSON parser, which accepts NaN and Infinity, a byte order mark and UTF-16. This module knows
no features; ``cells.py`` interprets the values.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from churn_assets.serving.scoring.cells import display
from churn_assets.serving.scoring.replies import BadRequestError

FORMATS = ("dataframe_records", "dataframe_split", "inputs", "instances")

# MLflow takes a body with one of these keys for a language model's, whatever else is in it.
CHAT_KEYS = ("messages", "prompt", "input")

# Returns the place in the body of a value, by its row and column.
Place = Callable[[int, str], str]


@dataclass(frozen=True)
class RequestTable:
    """The rows of one request as they were sent.

    ``columns`` are those that at least one row has, or that a split names; ``duplicates`` are those that a
    split names more than once. If ``is_uniform``, all rows must have the same columns.
    """

    rows: list[dict[str, Any]]
    columns: set[str]
    place: Place
    duplicates: set[str] = field(default_factory=set)
    params: Any = None
    is_uniform: bool = False


def read(body: bytes) -> RequestTable:
    """Read the rows of a body.

    Raises:
        BadRequestError: the body is not JSON, or has no rows in one of ``FORMATS``.
    """
    content = _parse_json(body)
    if not isinstance(content, dict):
        raise _type_error("object", content, "$")
    formats = [name for name in FORMATS if name in content]
    if len(formats) != 1:
        contents = f"has {' and '.join(formats)}" if formats else "has none of them"
        raise BadRequestError(f"The body {contents}; send exactly one of {', '.join(FORMATS)}.")
    if chat := next((name for name in CHAT_KEYS if name in content), None):
        raise BadRequestError(f"The body has {chat}, as for a language model; send {formats[0]} without it.")
    name, value = formats[0], content[formats[0]]
    table = _read_format(name, value)
    if not table.rows:
        raise BadRequestError(f"{name} has no row; send at least one.")
    is_uniform = name == "instances" and isinstance(value, list)
    return replace(table, params=content.get("params"), is_uniform=is_uniform)


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        # For an unterminated string the parser reports its beginning.
        is_truncated = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        raise BadRequestError(
            f"The body's JSON is {'truncated' if is_truncated else 'malformed'}: "
            f"{error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except UnicodeDecodeError as error:
        raise BadRequestError(
            f"The body's JSON is malformed: byte {error.start} is no {error.encoding.upper()}."
        ) from error
    except RecursionError as error:
        raise BadRequestError("The body's JSON is nested too deep.") from error
    except ValueError as error:
        raise BadRequestError("The body's JSON has a number of too many digits.") from error


def _read_format(name: str, value: Any) -> RequestTable:
    if name == "dataframe_split":
        return _from_split(value, f"$.{name}")
    if isinstance(value, dict) and name != "dataframe_records":
        return _from_columns(value, f"$.{name}")
    return _from_records(value, f"$.{name}")


def _from_records(value: Any, path: str) -> RequestTable:
    if not isinstance(value, list):
        raise _type_error("array", value, path)
    for row, record in enumerate(value):
        if not isinstance(record, dict):
            raise _type_error("object", record, f"{path}[{row}]")
    return RequestTable(value, set().union(*value), lambda row, column: f"at `{path}[{row}].{column}`")


def _from_columns(value: dict[str, Any], path: str) -> RequestTable:
    """Read one list for each column; a value that is no list applies to all rows."""
    lengths = {len(values) for values in value.values() if isinstance(values, list)}
    if len(lengths) > 1:
        raise BadRequestError(
            f"{path[2:]} has columns of {sorted(lengths)} values; expected the same number."
        )
    count = lengths.pop() if lengths else min(len(value), 1)
    rows = [
        {name: values[row] if isinstance(values, list) else values for name, values in value.items()}
        for row in range(count)
    ]

    def place(row: int, column: str) -> str:
        position = f"[{row}]" if isinstance(value.get(column), list) else ""
        return f"at `{path}.{column}{position}`"

    return RequestTable(rows, set(value), place)


def _from_split(value: Any, path: str) -> RequestTable:
    if not isinstance(value, dict):
        raise _type_error("object", value, path)
    if unknown := sorted(set(value) - {"columns", "data", "index"}):
        raise BadRequestError(f"Object has unknown field {display(unknown[0])} - at `{path}`.")
    if "data" not in value:
        raise BadRequestError(f"Object missing required field `data` - at `{path}`.")
    names, data = _names(value.get("columns"), f"{path}.columns"), value["data"]
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        table = _from_records(data, f"{path}.data")
    elif isinstance(data, dict):
        table = _from_columns(data, f"{path}.data")
    else:
        table = _from_lists(data, names or [], f"{path}.data")
    if names is not None:
        # As in pandas: they select columns of the rows, and a column that no row has is null.
        counts = Counter(name for name in names if isinstance(name, str))
        duplicates = {name for name, count in counts.items() if count > 1}
        table = replace(table, columns=set(counts), duplicates=duplicates)
    return _apply_index(table, value.get("index"), f"{path}.index")


def _names(columns: Any, path: str) -> list[Any] | None:
    if columns is None:
        return None
    if not isinstance(columns, list):
        raise _type_error("array", columns, path)
    for position, name in enumerate(columns):
        if isinstance(name, list | dict):
            raise _type_error("str", name, f"{path}[{position}]")
    return columns


def _from_lists(data: Any, names: Sequence[Any], path: str) -> RequestTable:
    if not isinstance(data, list):
        raise _type_error("array", data, path)
    for row, values in enumerate(data):
        if not isinstance(values, list):
            raise _type_error("array", values, f"{path}[{row}]")
    # The first of the widest rows: pandas pads shorter ones.
    widest = max(range(len(data)), key=lambda row: len(data[row]), default=0)
    if data and len(data[widest]) != len(names):
        raise BadRequestError(f"{_width(path, widest, data[widest])}; columns has {len(names)}.")

    def place(row: int, column: str) -> str:
        position = names.index(column)
        if position < len(data[row]):
            return f"at `{path}[{row}][{position}]`"
        return f"{_width(path, row, data[row])}; columns has {len(names)}"

    return RequestTable([dict(zip(names, values, strict=False)) for values in data], set(), place)


def _width(path: str, row: int, values: list[Any]) -> str:
    return f"{path[2:]}[{row}] has {len(values)} values"


def _apply_index(table: RequestTable, index: Any, path: str) -> RequestTable:
    """Require an index entry for each row, or repeat a single row for each entry."""
    if index is None:
        return table
    if not isinstance(index, list | dict):
        raise _type_error("array", index, path)
    if len(index) == len(table.rows):
        return table
    if len(table.rows) == 1 and index:
        return replace(table, rows=table.rows * len(index), place=lambda _row, column: table.place(0, column))
    raise BadRequestError(f"{path[2:]} has {len(index)} values; data has {len(table.rows)} rows.")


def _type_error(expected: str, value: Any, path: str) -> BadRequestError:
    names = {dict: "object", list: "array", type(None): "null", bool: "bool"}
    name = names.get(type(value), type(value).__name__)
    return BadRequestError(f"Expected `{expected}`, got `{name}` - at `{path}`.")
