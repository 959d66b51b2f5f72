"""The files that ``churn import`` is given: which can be read, as what, and in one line why not."""

import contextlib
import gzip
import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO

import pyarrow as pa

from churn_assets.errors import ImportFileError
from churn_assets.sample.source_formats import Batches, Csv, Format, JsonLines, Parquet

FORMATS: dict[str, Format] = {
    ".csv": Csv(),
    ".csv.gz": Csv(),
    ".parquet": Parquet(),
    **{f"{name}{gz}": JsonLines() for name in (".json", ".jsonl", ".ndjson") for gz in ("", ".gz")},
}


class SourceFile:
    """One file.

    Raises:
        ImportFileError: it does not exist, has an unknown extension, or (from every member) cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
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
        self._format = FORMATS[extension]
        self._open_file: IO[bytes] | None = None

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

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns, or of the fields of all JSON objects."""
        with self._opened() as file:
            names = self._format.columns(file)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ImportFileError(f"{self} has two columns named {twice[0]!r}: rename one of them.")
        return names

    def batches(self, columns: list[str]) -> Batches:
        """The rows in file order, with these of the columns."""
        with self._opened() as file:
            yield from self._format.batches(file, columns)

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
            reason = " ".join(str(error).split()).rstrip(".")
            raise ImportFileError(f"{self} cannot be read: {reason}.") from error
