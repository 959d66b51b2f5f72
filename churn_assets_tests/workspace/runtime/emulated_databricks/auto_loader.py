"""``spark.readStream.format("cloudFiles")``: new files of a folder, appended to a table.

As a stream of Spark does it: a batch is planned in ``offsets/N`` before it runs and confirmed in
``commits/N`` after, so one that died is run again with the same number and the same files.

``foreachBatch`` is refused: where Spark is Connect, as on standard access mode and serverless compute, its
function runs in another process, so that nothing that it collects comes back, and it can import only what is
there. Spark says so in ``sql/connect/.../StreamingForeachBatchHelper.scala``, and its own server was seen to
do it (``lakehouse/test_connect.py``): Bronze was written, and 0 files were told.
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .unity import Unity, UnityError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


class Session(Protocol):
    """What a stream asks of the session that it runs in."""

    unity: Unity

    def createDataFrame(self, data: Any, schema: Any = None) -> "DataFrame":  # noqa: N802 - as Spark calls it
        """Return the rows as a DataFrame."""
        ...


CLOUD_FILES_OPTIONS = {
    "cloudFiles.format",
    "cloudFiles.maxFilesPerTrigger",
    "cloudFiles.includeExistingFiles",
}
READER_OPTIONS = {"pathGlobFilter"}
BINARY_FILE = "path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY"


class StreamReader:
    """``spark.readStream``, of which the emulation has ``cloudFiles`` of ``binaryFile``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._format = ""
        self._options: dict[str, str] = {}

    def format(self, source: str) -> "StreamReader":
        """Choose the source."""
        self._format = source
        return self

    def option(self, key: str, value: Any) -> "StreamReader":
        """Set one option."""
        self._options[key] = str(value)
        return self

    def load(self, path: str) -> "Stream":
        """The stream over a folder.

        Raises:
            UnityError: the source, its format, or an option is not known, or the path does not exist.
        """
        if self._format != "cloudFiles" or self._options.get("cloudFiles.format") != "binaryFile":
            raise UnityError("NOT_EMULATED", f"readStream of {self._format} {self._options}")
        if unknown := self._options.keys() - CLOUD_FILES_OPTIONS - READER_OPTIONS:
            raise UnityError("CF_UNKNOWN_OPTION_KEYS_ERROR", f"Found unknown option keys: {sorted(unknown)}")
        folder = self._session.unity.local(path)
        if not folder.is_dir():
            raise UnityError("PATH_NOT_FOUND", f"Path does not exist: {path}.")
        return Stream(self._session, path, folder, self._options)


class Stream:
    """A source and, as its own ``writeStream``, its sink."""

    def __init__(self, session: Session, path: str, folder: Path, options: dict[str, str]) -> None:
        self._session = session
        self._path = path
        self._folder = folder
        self._glob = options.get("pathGlobFilter", "*")
        self._most = int(options.get("cloudFiles.maxFilesPerTrigger", "1000"))
        self._columns: tuple[Any, ...] = ("*",)
        self._checkpoint: Path | None = None

    def select(self, *columns: Any) -> "Stream":
        """What of each file is written."""
        self._columns = columns
        return self

    @property
    def writeStream(self) -> "Stream":  # noqa: N802 - Spark's name
        """The sink's side."""
        return self

    def foreachBatch(self, sink: object) -> "Stream":  # noqa: N802 - Spark's name
        """Refuse, as the module says.

        Raises:
            UnityError: always.
        """
        raise UnityError(
            "NOT_EMULATED", f"foreachBatch: {sink!r} runs in another process, whose results are lost"
        )

    def format(self, sink: str) -> "Stream":
        """Choose the sink's format: Delta's, as without this."""
        if sink != "delta":
            raise UnityError("NOT_EMULATED", f"writeStream of {sink}")
        return self

    def option(self, key: str, value: str) -> "Stream":
        """Set where the checkpoint is."""
        if key != "checkpointLocation":
            raise UnityError("NOT_EMULATED", f"option {key} of writeStream")
        self._checkpoint = self._session.unity.local(value)
        return self

    def trigger(self, *, availableNow: bool) -> "Stream":  # noqa: N803 - Spark's name
        """Only what is there when the stream starts."""
        if availableNow is not True:
            raise UnityError("INVALID_PARAMETER_VALUE", "availableNow must be True")
        return self

    def toTable(self, name: str) -> "Query":  # noqa: N802 - Spark's name
        """Run all batches, each appended to a table."""
        if self._checkpoint is None:
            raise UnityError("INVALID_PARAMETER_VALUE", "A stream needs a checkpointLocation.")
        try:
            self._run(name, self._checkpoint)
        except Exception as error:  # noqa: BLE001 - a stream fails with whatever its sink raised
            return Query(error)
        return Query(None)

    def _run(self, table: str, checkpoint: Path) -> None:
        offsets, commits = checkpoint / "offsets", checkpoint / "commits"
        offsets.mkdir(parents=True, exist_ok=True)
        commits.mkdir(exist_ok=True)
        planned = {int(file.name): json.loads(file.read_text()) for file in offsets.iterdir()}
        seen = {name for names in planned.values() for name in names}
        new = sorted(name for name in self._names() if name not in seen)
        for start in range(0, len(new), self._most):
            number = len(planned)
            planned[number] = new[start : start + self._most]
            (offsets / str(number)).write_text(json.dumps(planned[number]))
        for number in sorted(planned):
            if not (commits / str(number)).exists():
                self._frame(planned[number]).select(*self._columns).writeTo(table).append()
                (commits / str(number)).touch()

    def _names(self) -> Iterator[str]:
        """Files below the folder, by their path in it; hidden ones do not count."""
        for file in self._folder.rglob("*"):
            parts = file.relative_to(self._folder).parts
            if file.is_file() and not any(part[0] in "._" for part in parts) and _fits(file.name, self._glob):
                yield "/".join(parts)

    def _frame(self, names: list[str]) -> "DataFrame":
        scheme = "dbfs:" if self._path.startswith("/Volumes/") else ""
        root = f"{scheme}{self._path.rstrip('/')}"
        return _with_contents(self._session, [(f"{root}/{name}", self._folder / name) for name in names])


class BinaryFiles:
    """``spark.read.format("binaryFile")``, as which Sail gives paths without their first slash."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def load(self, paths: list[str]) -> "DataFrame":
        """The files of these paths, in which Spark takes unescaped ``*?[]{}`` for a pattern.

        Raises:
            UnityError: a file does not exist, or the path is a pattern.
        """
        found = []
        for path in paths:
            if re.search(r"(?<!\\)[*?\[\]{}]", path):
                raise UnityError("NOT_EMULATED", f"a pattern: {path}")
            plain = re.sub(r"\\(.)", r"\1", path)
            file = self._session.unity.local(plain)
            if not file.exists():
                raise UnityError("PATH_NOT_FOUND", f"Path does not exist: {plain}. SQLSTATE: 42K03")
            found.append((plain, file))
        return _with_contents(self._session, found)


class Query:
    """A stream that has run."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def awaitTermination(self) -> None:  # noqa: N802 - Spark's name
        """Raise what the stream failed with.

        Raises:
            StreamingQueryException: a batch failed.
        """
        if self._error is not None:
            from pyspark.errors import StreamingQueryException

            raise StreamingQueryException(f"[STREAM_FAILED] {self._error!r}") from self._error


def _with_contents(session: Session, files: list[tuple[str, Path]]) -> "DataFrame":
    rows = []
    for path, file in files:
        at = dt.datetime.fromtimestamp(file.stat().st_mtime, dt.timezone.utc)  # noqa: UP017 - as in describe
        rows.append((path, at, file.stat().st_size, str(file)))
    frame = session.createDataFrame(
        rows, "path STRING, modificationTime TIMESTAMP, length BIGINT, local STRING"
    )
    return frame.mapInArrow(_with_content(), BINARY_FILE)


def _with_content() -> Callable[[Iterator["pa.RecordBatch"]], Iterator["pa.RecordBatch"]]:
    # A closure, so that it travels to the engine by value.
    def read(batches: Iterator["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
        from pathlib import Path

        import pyarrow as pa

        for batch in batches:
            contents = [Path(name).read_bytes() for name in batch.column(3).to_pylist()]
            yield pa.RecordBatch.from_arrays(
                [*batch.columns[:3], pa.array(contents, pa.binary())],
                ["path", "modificationTime", "length", "content"],
            )

    return read


def _fits(name: str, glob: str) -> bool:
    """Whether a name fits a glob, which may have one ``{a,b}``."""
    braces = re.fullmatch(r"(.*)\{(.*)\}(.*)", glob)
    globs = [f"{braces[1]}{pattern}{braces[3]}" for pattern in braces[2].split(",")] if braces else [glob]
    return any(fnmatch(name, pattern) for pattern in globs)
