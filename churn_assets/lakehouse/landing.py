"""The landing zone: which event files are there, and their lines.

A folder or an object store's URI (``s3://bucket/prefix``). A file counts once it has its final name: names
that start with ``.`` or ``_`` are somebody's unfinished work, as everywhere in Hadoop's world.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs
from pyspark.sql import DataFrame, SparkSession

from churn_assets.errors import LandingError

SUFFIXES = (".json", ".json.gz")
# Python reads a file in blocks of this size, so that memory does not follow the size of a file.
BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Listing:
    """Names relative to the landing zone, in order; ``ignored`` counts files with other suffixes."""

    files: list[str]
    ignored: int


def list_files(root: str) -> Listing:
    """The event files of the landing zone, its subfolders included.

    Raises:
        LandingError: the landing zone does not exist or cannot be read.
    """
    try:
        filesystem, base = pyarrow.fs.FileSystem.from_uri(root)
        entries = filesystem.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
    except (OSError, pa.ArrowInvalid) as error:
        missing = isinstance(error, FileNotFoundError) or "does not exist" in str(error)
        found = "does not exist" if missing else f"cannot be read ({str(error).splitlines()[0]})"
        raise LandingError(
            f"The landing zone {root} {found}. Create it and put .json or .json.gz files there, "
            "set CHURN_LANDING_ROOT, or land sample events with: churn simulate"
        ) from error
    names = [
        str(PurePosixPath(entry.path).relative_to(base))
        for entry in entries
        if entry.type == pyarrow.fs.FileType.File
    ]
    visible = [name for name in names if not any(part[0] in "._" for part in PurePosixPath(name).parts)]
    files = sorted(name for name in visible if name.endswith(SUFFIXES))
    return Listing(files, ignored=len(visible) - len(files))


def read_lines(spark: SparkSession, root: str, files: list[str]) -> DataFrame:
    """The lines of the files: line (string), _source_file (string).

    Bytes that are not UTF-8 are replaced by U+FFFD. A file that ends in the middle of its compression gives
    the lines up to there and one more that says so, which is no JSON and so ends in quarantine.
    """
    # One partition a file up to what a few cores keep busy; the largest files are not split.
    names = spark.createDataFrame([(name,) for name in files], "name string").repartition(min(len(files), 16))
    return names.mapInArrow(_reader(root), "line string, _source_file string")


def lines_of(contents: DataFrame) -> DataFrame:
    """The same of files whose contents the engine has read: name (string), content (binary).

    Each file is in memory as a whole, and so are those of one partition, which Spark cuts at 128 MB.
    """
    return contents.select("name", "content").mapInArrow(_reader(None), "line string, _source_file string")


def _reader(  # noqa: C901 - one closure, so that it travels to a worker by value: workers lack this package
    root: str | None,
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """From names, and contents where there is no root to read them from, to lines."""
    block_bytes = BLOCK_BYTES

    def blocks(stream: Any) -> Iterator[bytes]:
        """Whole lines; the last block may lack its newline."""
        rest = b""
        # read1: of a cut-off gzip file, read would give nothing at all.
        while block := stream.read1(block_bytes):
            head, newline, tail = block.rpartition(b"\n")
            if newline:
                yield rest + head
                rest = tail
            else:
                rest += block
        if rest:
            yield rest

    def batch(lines: list[bytes], name: str) -> pa.RecordBatch:
        column = pa.array(lines, pa.binary())
        try:
            text = column.cast(pa.string())
        except pa.ArrowInvalid:
            text = pa.array([line.decode("utf-8", errors="replace") for line in lines], pa.string())
        return pa.RecordBatch.from_arrays([text, pa.repeat(name, len(lines))], ["line", "_source_file"])

    def opened(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, Any]]:
        filesystem, base = pyarrow.fs.FileSystem.from_uri(root) if root else (None, "")
        for names in batches:
            for row, name in enumerate(names.column(0).to_pylist()):
                if filesystem:
                    yield name, filesystem.open_input_file(f"{base}/{name}")
                else:
                    yield name, io.BytesIO(names.column(1)[row].as_py())

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for name, file in opened(batches):
            with file as raw:
                stream: Any = gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw  # type: ignore[call-overload]  # pyarrow's file is one in all but the type
                try:
                    for block in blocks(stream):
                        yield batch(block.split(b"\n"), name)
                except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                    yield batch([f"[unreadable from here on: {error}]".encode()], name)

    return read
