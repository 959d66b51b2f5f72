"""CSV, Parquet and JSON lines as Arrow batches in file order, a bounded number of bytes at a time.

What text files hold stays text: '007', '1e5' and '17850.0' are judged by the mapping and not by a reader.
"""

from collections.abc import Iterator
from typing import IO, Protocol

import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as papq

ROWS_A_BATCH = 20_000
# A CSV row must fit in a block; the default of 1 MiB is little where a column holds whole documents.
CSV_BLOCK_BYTES = 4 << 20

Batches = Iterator[pa.RecordBatch]


class Format(Protocol):
    """How one kind of file is read; both functions raise ValueError or OSError where it is of another."""

    def columns(self, file: IO[bytes]) -> list[str]:
        """The names of its columns."""
        ...

    def batches(self, file: IO[bytes], columns: list[str]) -> Batches:
        """Its rows with these columns, in types that Spark knows."""
        ...


class Csv:
    """Comma-separated, with a header. Every column is text, an empty field null; newlines may be quoted."""

    def columns(self, file: IO[bytes]) -> list[str]:
        """The names in the header."""
        return list(self._reader(file, {}).schema.names)

    def batches(self, file: IO[bytes], columns: list[str]) -> Batches:
        """The rows below the header; blank lines are none."""
        yield from self._reader(file, {"include_columns": columns, "column_types": _all_text(columns)})

    def _reader(self, file: IO[bytes], conversion: dict) -> pacsv.CSVStreamingReader:
        return pacsv.open_csv(
            file,
            read_options=pacsv.ReadOptions(block_size=CSV_BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(strings_can_be_null=True, null_values=[""], **conversion),
        )


class Parquet:
    """Parquet, in its own types."""

    def columns(self, file: IO[bytes]) -> list[str]:
        """The names of the top-level columns."""
        return list(papq.read_schema(file).names)

    def batches(self, file: IO[bytes], columns: list[str]) -> Batches:
        """The rows of one row group after the other."""
        for batch in papq.ParquetFile(file).iter_batches(ROWS_A_BATCH, columns=columns):
            schema = pa.schema([pa.field(each.name, _spark_type(each.type)) for each in batch.schema])
            # Unsafe only in that Spark's microseconds drop the nanoseconds.
            yield batch.cast(schema, safe=False)


class JsonLines:
    """One JSON object a line; every field is text, nested ones as JSON, and blank lines are no rows."""

    def columns(self, file: IO[bytes]) -> list[str]:
        """The fields of all objects, in order of appearance: an object need not have them all."""
        names: dict[str, object] = {}
        for item in self._objects(file):
            names.update(item)
        return list(names)

    def batches(self, file: IO[bytes], columns: list[str]) -> Batches:
        """A row an object."""
        schema = pa.schema(_all_text(columns))
        rows: list[list[str | None]] = []
        for item in self._objects(file):
            rows.append([_text(item.get(name)) for name in columns])
            if len(rows) == ROWS_A_BATCH:
                yield _batch(rows, schema)
                rows = []
        if rows:
            yield _batch(rows, schema)

    def _objects(self, file: IO[bytes]) -> Iterator[dict]:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                item = orjson.loads(line)
            except orjson.JSONDecodeError:
                item = None
            if not isinstance(item, dict):
                what = f"line {number} is no JSON object; give one object a line"
                raise ValueError(what)  # noqa: TRY004 - wrong content, for which pyarrow raises it too
            yield item


def _all_text(columns: list[str]) -> dict[str, pa.DataType]:
    return dict.fromkeys(columns, pa.string())


def _batch(rows: list[list[str | None]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    return orjson.dumps(value).decode()


def _spark_type(of: pa.DataType) -> pa.DataType:
    """The type that Spark takes in the place of one that it does not know."""
    types = pa.types
    if types.is_timestamp(of):
        return pa.timestamp("us", of.tz)
    for is_unknown, instead in (
        (types.is_uint64, pa.decimal128(20, 0)),
        (types.is_unsigned_integer, pa.int64()),
        (types.is_float16, pa.float32()),
        (types.is_large_string, pa.string()),
        (types.is_string_view, pa.string()),
        (types.is_time, pa.string()),
        (types.is_null, pa.string()),
    ):
        if is_unknown(of):
            return instead
    return of
