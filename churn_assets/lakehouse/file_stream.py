"""New event files from a stream with a checkpoint: Spark's own file source, or Databricks' Auto Loader.

The stream only appends the paths of new files to ``tables.FOUND_FILES``. This process reads them there, and
they stay until Bronze has the files: a death in between costs a second look at them. Auto Loader's files may
lie where only the engine can read, so it reads their contents too.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.readwriter import DataStreamReader

from churn_assets import plain_paths
from churn_assets.lakehouse import ddl
from churn_assets.lakehouse.file_ledger import AppendedFiles, Clock, append_new_files
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import SUFFIXES, Listing, missing
from churn_assets.lakehouse.landing_lines import read_rows, rows_of, unreadable_error
from churn_assets.tables import FOUND_FILES

# As many as Auto Loader has in a batch: their paths are in one plan, and their lines in one commit.
FILES_A_COMMIT = 1000

# Spark reads a binary file whole, into one value: 2 GB are its limit, and one such file would fail its batch.
MOST_BYTES_A_FILE = 1024**3

# Not urlparse: a file's name may hold ? and #.
SCHEME = re.compile(r"^\w+:(//[^/]*)?")
NO_SUCH_PATH = ("PATH_NOT_FOUND", "PATH_DOES_NOT_EXIST", "FileNotFoundException")


def _in_any_case(suffix: str) -> str:
    return "".join(f"[{each}{each.upper()}]" if each.isalpha() else each for each in suffix)


GLOB = f"*{{{','.join(map(_in_any_case, SUFFIXES))}}}"


def by_file_stream(lake: Lakehouse, now: Clock, listing: Listing) -> list[AppendedFiles]:
    """Ingest the new files of Spark's file source.

    It follows links, so that it knows one file by several names: only names in ``listing`` are ingested.
    """
    root, megabytes = lake.settings.landing_root, lake.settings.max_line_megabytes
    # Spark expects a pattern, and the paths that it reports begin with it.
    place = plain_paths.for_pattern(root)
    reader = (
        lake.spark.readStream.format("binaryFile")
        # A stream wants the format's own schema; only the path is read.
        .schema("path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY")
        .option("recursiveFileLookup", value=True)
    )
    with _found(lake, reader, place) as paths:
        names = {relative(path, place) for path in paths}.intersection(listing.files)
        if not names:
            return []
        return [
            append_new_files(
                lake, names, lambda new: read_rows(lake.spark, root, new, megabytes), now, listing
            )
        ]


def by_auto_loader(lake: Lakehouse, now: Clock) -> list[AppendedFiles]:
    """Ingest the new files of Auto Loader.

    They are read as whole files: the format ``text`` would split lines by other rules, and replace other
    bytes. The schema is fixed, so no schema location is needed.
    """
    root = lake.settings.landing_root
    reader = lake.spark.readStream.format("cloudFiles").option("cloudFiles.format", "binaryFile")
    with _found(lake, reader, root) as found:
        paths = {relative(path, root): path for path in found}
        names = sorted(paths)
        return [
            append_new_files(
                lake,
                set(names[start : start + FILES_A_COMMIT]),
                lambda new: _contents(lake, {name: paths[name] for name in new}),
                now,
            )
            for start in range(0, len(names), FILES_A_COMMIT)
        ]


def _contents(lake: Lakehouse, paths: dict[str, str]) -> DataFrame:
    """Return the lines of files by their names in Bronze.

    Raises:
        RuntimeError: one is no longer there, or too large to be read whole, in the words that
            ``unreadable_file`` understands.
    """
    spark = lake.spark
    try:
        files = spark.read.format("binaryFile").load([_literal(path) for path in paths.values()])
        # Spark Connect looks for the files only when it is asked for something.
        _ = files.schema
    except AnalysisException as error:
        gone = [name for name, path in paths.items() if path in str(error)]
        if not gone or not _is_no_such_path(error):
            raise
        raise unreadable_error(max(gone, key=len), "it is no longer there") from error
    places = [(_without_scheme(path), name) for name, path in paths.items()]
    # Of the column with the contents nothing is read for this.
    for path, size in files.where(F.col("length") > MOST_BYTES_A_FILE).select("path", "length").take(1):
        reason = f"it has {size:,} bytes, and is read whole: {MOST_BYTES_A_FILE:,} are the most; split it"
        raise unreadable_error(dict(places)[_without_scheme(path)], reason)
    names = spark.createDataFrame(places, "place string, name string")
    # The reader of files may say their scheme in another way than the stream.
    placed = files.withColumn("place", F.regexp_replace("path", SCHEME.pattern, ""))
    return rows_of(placed.join(F.broadcast(names), "place"), lake.settings.max_line_megabytes)


@contextmanager
def _found(lake: Lakehouse, reader: DataStreamReader, path: str) -> Iterator[set[str]]:
    """Look for new files and yield the paths of all that wait; without an error they wait no longer."""
    try:
        files = reader.option("pathGlobFilter", GLOB).load(path)
        lake.append_stream(FOUND_FILES, files.select("path", F.lit(uuid.uuid4().hex).alias("found_by")))
    except PySparkException as error:
        if _is_no_such_path(error):
            raise missing(lake.settings.landing_root) from error
        raise
    waiting = lake.query("SELECT `path`, `found_by` FROM {found}", found=FOUND_FILES)
    yield {row["path"] for row in waiting}
    if waiting:
        # Not all rows: another process may have found more meanwhile.
        runs = ", ".join(sorted({ddl.quoted(row["found_by"]) for row in waiting}))
        lake.query(f"DELETE FROM {{found}} WHERE `found_by` IN ({runs})", found=FOUND_FILES)  # noqa: S608 - ids of ours


def _is_no_such_path(error: Exception) -> bool:
    return any(sign in str(error) for sign in NO_SUCH_PATH)


def _literal(path: str) -> str:
    """Escape what Spark would take for a pattern where it is told what to read."""
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", path)


def relative(path: str, root: str) -> str:
    """Return a file's name in Bronze, relative to the landing zone, from the engine's path.

    Spark's paths are ``file:/folder/name``, Databricks' ``dbfs:/Volumes/…/name`` or ``s3://bucket/folder/name``.
    """
    folder = _without_scheme(root).rstrip("/")
    return _without_scheme(path).removeprefix(f"{folder}/")


def _without_scheme(path: str) -> str:
    return SCHEME.sub("", path)
