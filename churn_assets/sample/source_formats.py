"""CSV, Parquet and JSON lines as Arrow batches in file order, a bounded number of bytes at a time.

What text files hold stays text: '007', '1e5' and '17850.0' are judged by the mapping and not by a reader.
"""

import io
from collections.abc import Iterator
from typing import IO, Protocol

import msgspec
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as papq

from churn_assets.sample.csv_dialect import Dialect
from churn_assets.sample.csv_nulls import WithoutNulls
from churn_assets.sample.text_encoding import UTF_8, without_mark

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
    """Rows of text as a dialect says. Every column is text, an empty field null; newlines may be quoted."""

    def __init__(self, dialect: Dialect | None = None, encoding: str = UTF_8) -> None:
        self._dialect = dialect or Dialect()
        self._encoding = encoding

    def columns(self, file: IO[bytes]) -> list[str]:
        """The names in the header, or column1, column2 and so on."""
        # Not by Arrow, which would read a whole block for one line.
        text = io.TextIOWrapper(file, without_mark(self._encoding), newline="")  # type: ignore[type-var]  # an IO[bytes] is a buffer
        first = next(self._dialect.rows(text), None)
        if first is None:
            what = "Empty CSV file"
            raise ValueError(what)
        text.detach()
        file.seek(0)
        return self._dialect.columns(first)

    def batches(self, file: IO[bytes], columns: list[str]) -> Batches:
        """The rows; blank lines are none."""
        names = [] if self._dialect.header else self.columns(file)
        kinds = dict.fromkeys(columns, pa.string())
        yield from self._reader(file, {"include_columns": columns, "column_types": kinds}, names)

    def _reader(
        self, file: IO[bytes], conversion: dict, names: list[str] | None = None
    ) -> pacsv.CSVStreamingReader:
        dialect = self._dialect
        source = WithoutNulls(file, dialect.delimiter) if dialect.escape and self._encoding == UTF_8 else file
        return pacsv.open_csv(
            source,
            read_options=pacsv.ReadOptions(
                block_size=CSV_BLOCK_BYTES,
                encoding=self._encoding,
                column_names=names or None,
                skip_rows=dialect.skipped_lines,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                escape_char=dialect.escape or False,
                newlines_in_values=True,
            ),
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
    """One JSON object a line; every field is text, nested ones as JSON, and blank lines are no rows.

    Numbers keep the digits that they have in the file: as doubles, two long ids would become one.
    """

    def __init__(self, encoding: str = UTF_8) -> None:
        self._encoding = encoding
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._text = msgspec.json.Decoder(str)

    def columns(self, file: IO[bytes]) -> list[str]:
        """The fields of all objects, in order of appearance: an object need not have them all."""
        names: dict[str, object] = {}
        for item in self._objects(file):
            names.update(item)
        return list(names)

    def batches(self, file: IO[bytes], columns: list[str]) -> Batches:
        """A row an object."""
        schema = pa.schema(dict.fromkeys(columns, pa.string()))
        rows: list[list[str | None]] = []
        for item in self._objects(file):
            rows.append([self._field(item.get(name)) for name in columns])
            if len(rows) == ROWS_A_BATCH:
                yield _batch(rows, schema)
                rows = []
        if rows:
            yield _batch(rows, schema)

    def _objects(self, file: IO[bytes]) -> Iterator[dict[str, msgspec.Raw]]:
        for number, line in enumerate(self._lines(file), start=1):
            if line.isspace():
                continue
            try:
                yield self._decoder.decode(line)
            except msgspec.MsgspecError as error:
                what = f"line {number} is no JSON object; give one object a line"
                raise ValueError(what) from error

    def _lines(self, file: IO[bytes]) -> Iterator[bytes]:
        if self._encoding != UTF_8:
            text = io.TextIOWrapper(file, self._encoding, newline="\n")  # type: ignore[type-var]  # as above
            yield from (line.encode() for line in text)
            return
        yield file.readline().removeprefix(b"\xef\xbb\xbf") or b"\n"
        yield from file

    def _field(self, raw: msgspec.Raw | None) -> str | None:
        value = b"null" if raw is None else bytes(raw)
        if value == b"null":
            return None
        if value[:1] == b'"':
            return self._text.decode(value)
        if value[:1] in {b"{", b"["}:
            return msgspec.json.format(value, indent=-1).decode()
        return value.decode()


def _batch(rows: list[list[str | None]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


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
