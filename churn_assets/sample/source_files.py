"""The source files of ``churn import``: format, encoding, dialect, and one-line errors."""

import codecs
import contextlib
import csv
import gzip
import hashlib
import io
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO

import pyarrow as pa

from churn_assets.errors import ImportFileError, one_line
from churn_assets.sample.csv_dialect import CsvOptions, Dialect, dialect_of
from churn_assets.sample.source_formats import (
    CSV_BLOCK_BYTES,
    Batches,
    Csv,
    Format,
    JsonLines,
    Parquet,
)
from churn_assets.sample.text_encoding import QUOTES, UTF_8, Content, scan, without_mark

FORMATS: dict[str, type[Csv | Parquet | JsonLines]] = {
    ".csv": Csv,
    ".csv.gz": Csv,
    ".parquet": Parquet,
    **{f"{name}{gz}": JsonLines for name in (".json", ".jsonl", ".ndjson") for gz in ("", ".gz")},
}
# A strict look at more of each of many small files would take as long as reading them.
SAMPLE_BYTES = 1 << 15


class SourceFile:
    """One source file.

    Args:
        path: where it is.
        options: what the user says of how it is written; the rest is found out.
        names: columns that it must have, by which its dialect is known.

    Raises:
        ImportFileError: it does not exist, has an unknown extension, or (from every member) cannot be read.
    """

    def __init__(
        self, path: str | Path, options: CsvOptions | None = None, names: Collection[str] = ()
    ) -> None:
        self.path = Path(path)
        self._options = options or CsvOptions()
        self._names = names
        name = self.path.name.lower()
        extension = next((each for each in FORMATS if name.endswith(each)), None)
        if not self.path.exists():
            raise ImportFileError(f"{self.path} does not exist. Check the path.")
        if self.path.is_dir():
            raise ImportFileError(f"{self.path} is a folder: give the files in it.")
        if not extension:
            raise ImportFileError(
                f"{self.path} has none of the extensions {', '.join(FORMATS)}: rename or convert it."
            )
        self._extension = extension
        self._open_file: IO[bytes] | None = None
        self._checked_rows: int | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The name without its folder."""
        return self.path.name

    @property
    def stem(self) -> str:
        """The name without folder and extensions."""
        return self.path.name[: -len(self._extension)]

    @cached_property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    @property
    def bytes_read(self) -> int:
        """How many bytes on disk ``batches`` has come to; they need not be read in order."""
        return self._open_file.tell() if self._open_file and not self._open_file.closed else self.size

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes on disk, in hex."""
        with self._one_line_errors(), self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def written(self) -> str:
        """A description of encoding and dialect unless they are the usual ones; else empty."""
        if FORMATS[self._extension] is Parquet:
            return ""
        guessed = " (a guess; --encoding changes it)" if self._is_guess else ""
        odd = [f"encoding {self.encoding}{guessed}"] if self.encoding != UTF_8 else []
        if FORMATS[self._extension] is Csv:
            odd += [str(self._dialect)] if str(self._dialect) else []
        return ", ".join(odd)

    @cached_property
    def encoding(self) -> str:
        """The name of the encoding, of text files."""
        if not self._options.encoding:
            return self._content.encoding
        try:
            # One name for utf8, UTF-8 and utf-8-sig.
            return codecs.lookup(self._options.encoding).name.removesuffix("-sig")
        except LookupError as error:
            raise ImportFileError(
                f"--encoding {self._options.encoding} is not known. Try utf-8, utf-16, cp1252 or latin-1."
            ) from error

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns, or of the fields of all JSON objects."""
        with self._opened() as file:
            names = self._format.columns(file)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ImportFileError(f"{self} has two columns named {twice[0]!r}: rename one of them.")
        return names

    def check(self) -> None:
        """Read a CSV strictly to its end, if it has quotes: Arrow takes what is malformed for something else.

        Raises:
            ImportFileError: names the line.
        """
        quote = self._dialect.quote if FORMATS[self._extension] is Csv else ""
        if quote and (quote in self._content.quotes or quote not in QUOTES):
            with self._one_line_errors(), self._text() as text, _field_limit():
                self._checked_rows = self._dialect.count(text)

    def batches(self, columns: list[str]) -> Batches:
        """The rows in file order, with these of the columns."""
        count = 0
        with self._opened() as file:
            for batch in self._format.batches(file, columns):
                count += len(batch)
                yield batch
        expected = self._checked_rows
        if expected is not None and count + self._dialect.header != expected:
            raise ImportFileError(
                f"{self} has {expected - self._dialect.header} rows read strictly and {count} read by Arrow: "
                "say how it is written with --delimiter, --quote and --escape."
            )

    @cached_property
    def _format(self) -> Format:
        kind = FORMATS[self._extension]
        if kind is Csv:
            return Csv(self._dialect, self.encoding)
        return JsonLines(self.encoding) if kind is JsonLines else Parquet()

    @property
    def _is_guess(self) -> bool:
        return self._content.guessed and not self._options.encoding

    @cached_property
    def _content(self) -> Content:
        with self._opened() as file:
            return scan(file)

    @cached_property
    def _dialect(self) -> Dialect:
        with self._one_line_errors(), self._text() as text:
            sample = text.read(SAMPLE_BYTES)
            is_whole = not (rest := text.readline())
            return dialect_of(sample + rest, is_whole, self._options, self._names)

    @contextlib.contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        """The file decoded; a byte order mark is no part of it."""
        encoding = without_mark(self.encoding)
        with self._opened() as file, io.TextIOWrapper(file, encoding, newline="") as text:  # type: ignore[type-var]  # an IO[bytes] is a buffer
            yield text

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with self._one_line_errors(), self.path.open("rb") as self._open_file:
            if not self._extension.endswith(".gz"):
                yield self._open_file
                return
            with gzip.open(self._open_file) as unpacked:
                yield unpacked  # type: ignore[misc]  # GzipFile is an IO[bytes] in all but its stub

    @contextlib.contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, ValueError, pa.ArrowException) as error:
            raise ImportFileError(f"{self} cannot be read: {one_line(error)}.") from error


@contextlib.contextmanager
def _field_limit() -> Iterator[None]:
    """A field may be as long as Arrow's block, and what never ends stops there."""
    before = csv.field_size_limit(CSV_BLOCK_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)
