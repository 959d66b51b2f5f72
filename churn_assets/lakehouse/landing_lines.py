"""From event files to lines, and on to their fields, in bounded memory however large a file or line is."""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.fs
from pyspark.sql import DataFrame, SparkSession

from churn_assets.transforms.json_lines import Batches

# Its functions are made at run time: type checkers do not know them.
pc: Any = pyarrow.compute

# Python reads a file in blocks of this size.
BLOCK_BYTES = 4 * 1024 * 1024
MEGABYTE = 1024 * 1024
DEFAULT_LINE_MEGABYTES = 16
# What a few cores keep busy.
DEFAULT_READERS = 16
# How many characters are kept of a line that is too long.
KEPT_CHARACTERS = 1000

# A worker's message about a file that it could not read: the name in hex, then the reason.
UNREADABLE = "unreadable landing file"
_UNREADABLE = re.compile(rf"{UNREADABLE} ((?:[0-9a-f]{{2}})+): ([^\n\"\\]*)")


def read_lines(
    spark: SparkSession, root: str, files: list[str], line_megabytes: int = DEFAULT_LINE_MEGABYTES
) -> DataFrame:
    """Return the lines of the files: line (string), _source_file (string).

    Bytes that are not UTF-8 are replaced by U+FFFD. A compressed file that is cut off gives the lines up to
    there and one more that says so; a line longer than ``line_megabytes`` is replaced by one with its length
    and its beginning. Neither is JSON, and so both end in quarantine.

    A file that cannot be read fails the computation with an error that ``unreadable_file`` understands.
    """
    return _names(spark, files).mapInArrow(_reader(root, line_megabytes), "line string, _source_file string")


def read_rows(
    spark: SparkSession,
    root: str,
    files: list[str],
    line_megabytes: int = DEFAULT_LINE_MEGABYTES,
    readers: int = DEFAULT_READERS,
) -> DataFrame:
    """Return the lines of the files as ``parsing.taken_apart`` does, with _source_file; see ``read_lines``.

    ``readers`` files are read at once.
    """
    return _taken_apart(_names(spark, files, readers), _reader(root, line_megabytes))


def rows_of(contents: DataFrame, line_megabytes: int = DEFAULT_LINE_MEGABYTES) -> DataFrame:
    """Return the same of files whose contents the engine has read: name (string), content (binary).

    The files of one partition, which Spark cuts at 128 MB, are in memory as a whole.
    """
    return _taken_apart(contents.select("name", "content"), _reader(None, line_megabytes))


def _taken_apart(files: DataFrame, read: Callable[[Batches], Batches]) -> DataFrame:
    # It brings pandas, a third of a second, and whoever asks for unreadable_file reads nothing.
    from churn_assets.transforms import parsing

    return parsing.taken_apart(files, read)


def _names(spark: SparkSession, files: list[str], readers: int = DEFAULT_READERS) -> DataFrame:
    # A file is not split, however large it is.
    return spark.createDataFrame([(name,) for name in files], "name string").repartition(
        min(len(files), readers)
    )


def unreadable_file(error: BaseException) -> tuple[str, str] | None:
    """Return the file that made a computation of ``read_rows`` fail, and why; None for other errors."""
    match = _UNREADABLE.search(str(error))
    return (bytes.fromhex(match[1]).decode(), match[2].strip()) if match else None


def unreadable_error(name: str, reason: str) -> RuntimeError:
    """Return the error for a file that this process cannot read, as ``unreadable_file`` understands it."""
    return RuntimeError(f"{UNREADABLE} {name.encode().hex()}: {reason}")


# Closures, here and below, so that they are sent to workers by value: workers lack this package.
def _splitter(  # noqa: C901 - one closure, as the comment above says
    line_megabytes: int,
) -> Callable[[Any], Iterator[pa.Array]]:
    """Return what splits a stream into arrays (binary) of whole lines.

    An array is no larger than a block and a line.
    """
    block_bytes, most, kept = BLOCK_BYTES, line_megabytes * MEGABYTE, KEPT_CHARACTERS

    def bounded(line: bytes, size: int) -> bytes:
        if size <= most:
            return line
        # No JSON text begins with "[line".
        notice = f"[line of {size:,} bytes; at most {line_megabytes} MB are read; it begins with:] "
        text = line[: 4 * kept].decode("utf-8", errors="replace")[:kept]
        return (notice + text).encode()

    def lines_in(body: bytes) -> pa.Array:
        lines = pc.split_pattern(pa.array([body], pa.binary()), b"\n").values
        if pc.max(pc.binary_length(lines)).as_py() <= most:
            return lines
        return pa.array([bounded(line, len(line)) for line in lines.to_pylist()], pa.binary())

    def split(stream: Any) -> Iterator[pa.Array]:
        # A line whose end has not come: all of it, or its beginning if it is too long; and its length.
        parts: list[bytes] = []
        size = 0
        # read1, as read would return nothing of a cut-off gzip file.
        while block := stream.read1(block_bytes):
            first, newline, others = block.partition(b"\n")
            if size <= most:
                parts.append(first)
            size += len(first)
            if size > most:
                # Joining all of an endless line would copy it again with each block.
                parts = [b"".join(parts)[: 4 * kept]]
            if newline:
                ended = pa.array([bounded(b"".join(parts), size)], pa.binary())
                body, newline, tail = others.rpartition(b"\n")
                yield pa.concat_arrays([ended, lines_in(body)]) if newline else ended
                parts, size = [tail], len(tail)
        # The last line may lack its newline.
        if size:
            yield pa.array([bounded(b"".join(parts), size)], pa.binary())

    return split


def _reader(  # noqa: C901 - one closure, as the comment above says
    root: str | None, line_megabytes: int
) -> Callable[[Batches], Batches]:
    """Return what reads lines from names or, without a root, from names with their contents."""
    split, unreadable = _splitter(line_megabytes), UNREADABLE

    def batch(lines: pa.Array, name: str) -> pa.RecordBatch:
        try:
            text = lines.cast(pa.string())
        except pa.ArrowInvalid:
            decoded = [line.decode("utf-8", errors="replace") for line in lines.to_pylist()]
            text = pa.array(decoded, pa.string())
        return pa.RecordBatch.from_arrays([text, pa.repeat(name, len(lines))], ["line", "_source_file"])

    def contents(batches: Batches) -> Iterator[tuple[str, Callable[[], Any]]]:
        filesystem, base = pyarrow.fs.FileSystem.from_uri(root) if root else (None, "")
        for names in batches:
            for row, name in enumerate(names.column(0).to_pylist()):
                if filesystem:
                    yield name, lambda name=name: filesystem.open_input_file(f"{base}/{name}")
                else:
                    yield name, lambda names=names, row=row: io.BytesIO(names.column(1)[row].as_py())

    def of_file(name: str, open_file: Callable[[], Any]) -> Batches:
        with open_file() as raw:
            packed = name.lower().endswith(".gz")
            stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[call-overload]  # pyarrow's file is one in all but the type
            try:
                for lines in split(stream):
                    yield batch(lines, name)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                end = f"[unreadable from here on: {error}]".encode()
                yield batch(pa.array([end], pa.binary()), name)

    def read(batches: Batches) -> Batches:
        for name, open_file in contents(batches):
            try:
                yield from of_file(name, open_file)
            except OSError as error:
                reason = error.strerror or str(error).splitlines()[0]
                message = f"{unreadable} {name.encode().hex()}: {reason}"
                raise RuntimeError(message) from error

    return read
