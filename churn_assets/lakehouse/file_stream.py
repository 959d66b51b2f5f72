"""New event files from a stream with a checkpoint: Spark's own file source, or Databricks' Auto Loader.

Both provide paths. Auto Loader provides contents too, as its files may lie where only the engine can read.
"""

import re
from collections.abc import Callable

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.readwriter import DataStreamReader

from churn_assets import plain_paths
from churn_assets.errors import ChurnError, LandingError
from churn_assets.lakehouse.file_ledger import AppendedFiles, Clock, append_new_files
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import EXPECTED, SUFFIXES, Listing
from churn_assets.lakehouse.landing_lines import read_rows, rows_of
from churn_assets.tables import LANDED_EVENTS

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
    listed = set(listing.files)

    def ingest_batch(files: DataFrame) -> AppendedFiles:
        names = {relative(row["path"], place) for row in files.select("path").collect()} & listed
        return append_new_files(
            lake, names, lambda new: read_rows(lake.spark, root, new, megabytes), now, listing
        )

    reader = (
        lake.spark.readStream.format("binaryFile")
        # A stream wants the format's own schema; only the path is read.
        .schema("path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY")
        .option("recursiveFileLookup", value=True)
    )
    return _available_now(lake, reader, ingest_batch, place)


def by_auto_loader(lake: Lakehouse, now: Clock) -> list[AppendedFiles]:
    """Ingest the new files of Auto Loader.

    They are read as whole files: the format ``text`` would split lines by other rules, and replace other
    bytes. The schema is fixed, so no schema location is needed.
    """
    root = lake.settings.landing_root

    def ingest_batch(files: DataFrame) -> AppendedFiles:
        # Only the paths of a batch are read here; contents are read later, and only those of new files.
        paths = {relative(row["path"], root): row["path"] for row in files.select("path").collect()}

        def read(new: list[str]) -> DataFrame:
            pairs = lake.spark.createDataFrame(
                [(paths[name], name) for name in new], "path string, name string"
            )
            return rows_of(files.join(F.broadcast(pairs), "path"), lake.settings.max_line_megabytes)

        return append_new_files(lake, set(paths), read, now)

    reader = lake.spark.readStream.format("cloudFiles").option("cloudFiles.format", "binaryFile")
    return _available_now(lake, reader, ingest_batch, root)


def _available_now(
    lake: Lakehouse,
    reader: DataStreamReader,
    ingest_batch: Callable[[DataFrame], AppendedFiles],
    path: str,
) -> list[AppendedFiles]:
    batches: list[AppendedFiles] = []
    errors: list[ChurnError] = []

    def collect_batch(files: DataFrame, _number: int) -> None:
        try:
            batches.append(ingest_batch(files))
        except ChurnError as error:
            errors.append(error)
            raise

    root = lake.settings.landing_root
    try:
        stream = (
            reader.option("pathGlobFilter", GLOB)
            .load(path)
            .writeStream.foreachBatch(collect_batch)
            .option("checkpointLocation", lake.checkpoint(LANDED_EVENTS))
            .trigger(availableNow=True)
            .start()
        )
        stream.awaitTermination()
    except PySparkException as error:
        # Spark reports only that the stream has failed; the reason was raised inside it.
        if errors:
            raise errors[0] from error
        if any(sign in str(error) for sign in NO_SUCH_PATH):
            raise LandingError(
                f"The landing zone {root} does not exist. Create it and put event files there ({EXPECTED}), "
                "or set CHURN_LANDING_ROOT."
            ) from error
        raise
    return batches


def relative(path: str, root: str) -> str:
    """Return a file's name in Bronze, relative to the landing zone, from the engine's path.

    Spark's paths are ``file:/folder/name``, Databricks' ``dbfs:/Volumes/…/name`` or ``s3://bucket/folder/name``.
    """
    folder = _without_scheme(root).rstrip("/")
    return _without_scheme(path).removeprefix(f"{folder}/")


def _without_scheme(path: str) -> str:
    # Not urlparse: a file's name may hold ? and #.
    return re.sub(r"^\w+:(//[^/]*)?", "", path)
