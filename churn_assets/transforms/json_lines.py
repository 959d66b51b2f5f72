"""From lines to the fields of an event, in Arrow: strict JSON objects, and everything else as it is.

Nearly every producer sends plain lines: flat objects of the known fields. One regular expression tells them,
and Arrow's JSON reader reads them together. All other lines are read one by one with orjson.

Functions are nested so that they are sent to workers by value: those have pyarrow and orjson, but not this
package.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute
import pyarrow.json as pj

# Its functions are made at run time: type checkers do not know them.
pc: Any = pyarrow.compute

FIELDS = ("event_id", "user_id", "event_ts", "event_type", "country", "source_user_id", "amount")

# A flat object of known fields whose values read back alike: strings without escapes, integers of at most 18
# digits, prices, literals. Strict JSON by construction. Prices end in no 0, so that their value gives their
# text.
_PRICE = r"-?(?:[1-9][0-9]{0,5}|0)\.[0-9]?[1-9]"
_VALUE = rf'(?:"[^"\\\x00-\x1f]*"|{_PRICE}|-?[1-9][0-9]{{0,17}}|0|true|false|null)'
_MEMBER = rf'"(?:{"|".join(FIELDS)})": ?{_VALUE}'
PLAIN_LINE = rf"\A\{{{_MEMBER}(?:, ?{_MEMBER}){{0,6}}\}}\z"

# What stands before a line and after it and belongs to its file.
MARGIN = r"\A\x{FEFF}|\r\z"
BYTE_ORDER_MARK = "\ufeff"

# Columns of text, one for each of FIELDS, then _rescued_data and _corrupt_record.
Fields = list[pa.Array]
# Of each field, how Arrow reads it.
Types = dict[str, pa.DataType]
Batches = Iterator[pa.RecordBatch]


def line_reader(columns: list[str]) -> Callable[[Batches], Batches]:
    """Return what reads lines for ``mapInArrow``.

    Args:
        columns: of the input; ``line`` holds the lines, and the others stay as they are.

    Returns:
        A function from batches with these columns to batches with _raw in the place of line, and after them
        a column for each of ``FIELDS``, _rescued_data and _corrupt_record, all of text.
    """
    fields, plain_line, margin, mark = FIELDS, PLAIN_LINE, MARGIN, BYTE_ORDER_MARK
    one_by_one, together, types_of = _one_by_one(), _together(), _types_of()

    def plain(lines: pa.Array, types: Types) -> Fields:
        read = together(lines, types)
        if read is None:
            types.update(types_of(lines))
            read = together(lines, types)
        return one_by_one(lines) if read is None else read

    def of_lines(lines: pa.Array, types: Types) -> Fields:
        is_plain = pc.match_substring_regex(lines, plain_line)
        count = pc.sum(is_plain).as_py() or 0
        if count in (0, len(lines)):
            return plain(lines, types) if count else one_by_one(lines)
        is_other = pc.invert(is_plain)
        # Where each line is among the plain ones followed by the others.
        places = pc.if_else(
            is_plain,
            pc.subtract(pc.cumulative_sum(is_plain.cast(pa.int64())), 1),
            pc.add(pc.cumulative_sum(is_other.cast(pa.int64())), count - 1),
        )
        parts = zip(plain(lines.filter(is_plain), types), one_by_one(lines.filter(is_other)), strict=True)
        return [pa.concat_arrays(list(pair)).take(places) for pair in parts]

    def read(batches: Batches) -> Batches:
        place = columns.index("line")
        names = ["_raw" if name == "line" else name for name in columns]
        # Those of the last batch: lines of one producer resemble each other.
        types: Types = dict.fromkeys(fields, pa.string())
        for batch in batches:
            lines = batch.column(place).cast(pa.string())
            if pc.any(pc.or_(pc.ends_with(lines, "\r"), pc.starts_with(lines, mark))).as_py():
                lines = pc.replace_substring_regex(lines, margin, "")
            kept = batch.columns
            kept[place] = lines
            yield pa.RecordBatch.from_arrays(
                [*kept, *of_lines(lines, types)], [*names, *fields, "_rescued_data", "_corrupt_record"]
            )

    return read


def _one_by_one() -> Callable[[pa.Array], Fields]:
    """Return what reads any lines."""
    fields = FIELDS

    def text_of(value: object) -> str | None:
        if value is None or isinstance(value, str):
            return value
        return orjson.dumps(value).decode()

    def values(line: str) -> list[str | None] | None:
        if not line.lstrip().startswith("{"):
            return None
        try:
            orjson.loads(line)  # the verdict; but as it rounds numbers to doubles, they are read again
            landed = json.loads(line, parse_int=orjson.Fragment, parse_float=orjson.Fragment)
            known = [text_of(landed.pop(name, None)) for name in fields]
            rescued = orjson.dumps(landed, option=orjson.OPT_SORT_KEYS).decode() if landed else None
        except (ValueError, TypeError, RecursionError):  # no JSON, or nested too deep to be written again
            return None
        return [*known, rescued]

    def read(lines: pa.Array) -> Fields:
        corrupt = [None] * (len(fields) + 1)
        rows = [
            [*corrupt, line] if (known := values(line)) is None else [*known, None]
            for line in lines.to_pylist()
        ]
        columns = zip(*rows, strict=True) if rows else [()] * (len(fields) + 2)
        return [pa.array(column, pa.string()) for column in columns]

    return read


def _together() -> Callable[[pa.Array, Types], Fields | None]:
    """Return what reads plain lines whose fields have these types; None where one may have another."""
    fields = FIELDS

    def as_text(column: pa.ChunkedArray) -> pa.Array:
        text = column.cast(pa.string()).combine_chunks()
        if not pa.types.is_decimal(column.type):
            return text
        # Arrow writes two digits, which the line had only where the last is no 0.
        return pc.replace_substring_regex(text, r"\.00\z|(\.[0-9])0\z", r"\1")

    def has_quoted(lines: pa.Array, types: Types) -> bool:
        # Arrow reads "00" as a decimal as well, and so as 0; of other types it refuses text.
        decimals = [name for name, kind in types.items() if pa.types.is_decimal(kind)]
        return any(pc.any(pc.match_substring_regex(lines, f'"{name}": ?"')).as_py() for name in decimals)

    def read(lines: pa.Array, types: Types) -> Fields | None:
        if has_quoted(lines, types):
            return None
        # The texts of an array lie one behind the other.
        text = pc.binary_join_element_wise(lines, "", "\n").buffers()[2]
        try:
            table = pj.read_json(
                pa.BufferReader(text),
                pj.ReadOptions(use_threads=False, block_size=text.size + 1),
                pj.ParseOptions(
                    explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="error"
                ),
            )
        except pa.ArrowInvalid:  # another type, or a field twice in one line
            return None
        missing = pa.nulls(len(lines), pa.string())
        return [*(as_text(table[name]) for name in fields), missing, missing]

    return read


def _types_of() -> Callable[[pa.Array], Types]:
    """Return what tells the type of each field of plain lines; of several, the first below."""
    fields = FIELDS
    # Exact for all numbers of a plain line.
    values = {r"-?[0-9]+\.": pa.decimal128(22, 2), "[-0-9]": pa.int64(), "[tf]": pa.bool_()}

    def types_of(lines: pa.Array) -> Types:
        def has(name: str, value: str) -> bool:
            return pc.any(pc.match_substring_regex(lines, f'"{name}": ?{value}')).as_py()

        return {
            name: next((kind for value, kind in values.items() if has(name, value)), pa.string())
            for name in fields
        }

    return types_of
