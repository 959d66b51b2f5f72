"""What is in a body, as MLflow's server reads it: any of its formats to rows of named values.

Python's own JSON parser, as there: it takes NaN and Infinity, a byte order mark and UTF-16. Nothing here
knows features; what a value means is said in ``cells.py``.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from churn_assets.serving.scoring.cells import shown
from churn_assets.serving.scoring.replies import BadRequestError

FORMATS = ("dataframe_records", "dataframe_split", "inputs", "instances")

# With one of these at its top MLflow takes a body for a language model's, whatever else is in it.
CHAT = ("messages", "prompt", "input")

# Where the value of a row and a column stands in the body.
Place = Callable[[int, str], str]


@dataclass(frozen=True)
class RequestTable:
    """The rows of one request as they were sent.

    ``columns`` are those that at least one row has, or that a split names, ``twice`` those that it names
    twice; ``place`` says where a value stands. Where ``is_even``, all rows must have the same columns.
    """

    rows: list[dict[str, Any]]
    columns: set[str]
    place: Place
    twice: set[str] = field(default_factory=set)
    params: Any = None
    is_even: bool = False


def read(body: bytes) -> RequestTable:
    """The rows of a body.

    Raises:
        BadRequestError: it is no JSON, or has no rows where ``FORMATS`` have them.
    """
    content = _parsed(body)
    if not isinstance(content, dict):
        raise _other_kind("object", content, "$")
    given = [name for name in FORMATS if name in content]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has none of them"
        raise BadRequestError(f"The body {found}; send exactly one of {', '.join(FORMATS)}.")
    if chat := next((name for name in CHAT if name in content), None):
        raise BadRequestError(f"The body has {chat}, as for a language model; send {given[0]} without it.")
    name, value = given[0], content[given[0]]
    table = _of_format(name, value)
    if not table.rows:
        raise BadRequestError(f"{name} has no row; send at least one.")
    is_even = name == "instances" and isinstance(value, list)
    return replace(table, params=content.get("params"), is_even=is_even)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        # Of a text that is open at its end the parser names the beginning.
        ends = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        what = "truncated" if ends else "malformed"
        raise BadRequestError(
            f"The body's JSON is {what}: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except UnicodeDecodeError as error:
        raise BadRequestError(
            f"The body's JSON is malformed: byte {error.start} is no {error.encoding.upper()}."
        ) from error
    except RecursionError as error:
        raise BadRequestError("The body's JSON is nested too deep.") from error
    except ValueError as error:
        raise BadRequestError("The body's JSON has a number of too many digits.") from error


def _of_format(name: str, value: Any) -> RequestTable:
    if name == "dataframe_split":
        return _from_split(value, f"$.{name}")
    if isinstance(value, dict) and name != "dataframe_records":
        return _from_columns(value, f"$.{name}")
    return _from_records(value, f"$.{name}")


def _from_records(value: Any, path: str) -> RequestTable:
    if not isinstance(value, list):
        raise _other_kind("array", value, path)
    for row, record in enumerate(value):
        if not isinstance(record, dict):
            raise _other_kind("object", record, f"{path}[{row}]")
    return RequestTable(value, set().union(*value), lambda row, column: f"at `{path}[{row}].{column}`")


def _from_columns(value: dict[str, Any], path: str) -> RequestTable:
    """One list a column; what is no list holds for all rows."""
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
        raise _other_kind("object", value, path)
    if unknown := sorted(set(value) - {"columns", "data", "index"}):
        raise BadRequestError(f"Object has unknown field {shown(unknown[0])} - at `{path}`.")
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
        # As in pandas: they choose among what the rows have, and what no row has is null.
        counted = Counter(name for name in names if isinstance(name, str))
        twice = {name for name, count in counted.items() if count > 1}
        table = replace(table, columns=set(counted), twice=twice)
    return _indexed(table, value.get("index"), f"{path}.index")


def _names(columns: Any, path: str) -> list[Any] | None:
    if columns is None:
        return None
    if not isinstance(columns, list):
        raise _other_kind("array", columns, path)
    for position, name in enumerate(columns):
        if isinstance(name, list | dict):
            raise _other_kind("str", name, f"{path}[{position}]")
    return columns


def _from_lists(data: Any, names: Sequence[Any], path: str) -> RequestTable:
    if not isinstance(data, list):
        raise _other_kind("array", data, path)
    for row, values in enumerate(data):
        if not isinstance(values, list):
            raise _other_kind("array", values, f"{path}[{row}]")
    # The first of the widest: pandas fills up rows that are shorter than others.
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


def _indexed(table: RequestTable, index: Any, path: str) -> RequestTable:
    """The table, whose rows an index must count; one row stands for all that the index names."""
    if index is None:
        return table
    if not isinstance(index, list | dict):
        raise _other_kind("array", index, path)
    if len(index) == len(table.rows):
        return table
    if len(table.rows) == 1 and index:
        return replace(table, rows=table.rows * len(index), place=lambda _row, column: table.place(0, column))
    raise BadRequestError(f"{path[2:]} has {len(index)} values; data has {len(table.rows)} rows.")


def _other_kind(wanted: str, found: Any, path: str) -> BadRequestError:
    names = {dict: "object", list: "array", type(None): "null", bool: "bool"}
    kind = names.get(type(found), type(found).__name__)
    return BadRequestError(f"Expected `{wanted}`, got `{kind}` - at `{path}`.")
