"""New event files through a stream with a checkpoint: Spark's own file source, or Databricks' Auto Loader.

Both hand over paths. Auto Loader hands over contents too: its files may lie where only the engine can read.
"""

import re
from collections.abc import Callable

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.readwriter import DataStreamReader

from churn_assets import plain_paths
from churn_assets.errors import ChurnError, LandingError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import EXPECTED, SUFFIXES, Listing
from churn_assets.lakehouse.landing_lines import lines_of, read_lines
from churn_assets.lakehouse.ledger import Clock, TakenIn, take_in
from churn_assets.tables import LANDED_EVENTS

NO_SUCH_PATH = ("PATH_NOT_FOUND", "PATH_DOES_NOT_EXIST", "FileNotFoundException")


def _in_any_case(suffix: str) -> str:
    return "".join(f"[{each}{each.upper()}]" if each.isalpha() else each for each in suffix)


GLOB = f"*{{{','.join(map(_in_any_case, SUFFIXES))}}}"


def by_file_stream(lake: Lakehouse, now: Clock, listing: Listing) -> list[TakenIn]:
    """Take in what Spark's file source finds new.

    It follows links, so that one file has many names there: what is not listed is not taken in.
    """
    root, megabytes = lake.settings.landing_root, lake.settings.max_line_megabytes
    # What is loaded is a pattern, and Spark names what it finds by it.
    place = plain_paths.for_pattern(root)
    listed = set(listing.files)

    def batch(found: DataFrame) -> TakenIn:
        names = {relative(row["path"], place) for row in found.select("path").collect()} & listed
        return take_in(lake, names, lambda new: read_lines(lake.spark, root, new, megabytes), now, listing)

    reader = (
        lake.spark.readStream.format("binaryFile")
        # A stream wants the format's own schema; only the path is read.
        .schema("path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY")
        .option("recursiveFileLookup", value=True)
    )
    return _available_now(lake, reader, batch, place)


def by_auto_loader(lake: Lakehouse, now: Clock) -> list[TakenIn]:
    """Take in what Auto Loader finds new.

    As whole files: the format ``text`` would cut the lines by rules of its own, and replace other bytes.
    A schema location is for formats whose schema is inferred; this one's is fixed.
    """
    root = lake.settings.landing_root

    def batch(found: DataFrame) -> TakenIn:
        # Of a batch of files only the paths are read here; the contents follow, of new files alone.
        paths = {relative(row["path"], root): row["path"] for row in found.select("path").collect()}

        def read(new: list[str]) -> DataFrame:
            pairs = lake.spark.createDataFrame(
                [(paths[name], name) for name in new], "path string, name string"
            )
            return lines_of(found.join(F.broadcast(pairs), "path"), lake.settings.max_line_megabytes)

        return take_in(lake, set(paths), read, now)

    reader = lake.spark.readStream.format("cloudFiles").option("cloudFiles.format", "binaryFile")
    return _available_now(lake, reader, batch, root)


def _available_now(
    lake: Lakehouse,
    reader: DataStreamReader,
    batch: Callable[[DataFrame], TakenIn],
    place: str,
) -> list[TakenIn]:
    done: list[TakenIn] = []
    refused: list[ChurnError] = []

    def take_batch(found: DataFrame, _number: int) -> None:
        try:
            done.append(batch(found))
        except ChurnError as error:
            refused.append(error)
            raise

    root = lake.settings.landing_root
    try:
        stream = (
            reader.option("pathGlobFilter", GLOB)
            .load(place)
            .writeStream.foreachBatch(take_batch)
            .option("checkpointLocation", lake.checkpoint(LANDED_EVENTS))
            .trigger(availableNow=True)
            .start()
        )
        stream.awaitTermination()
    except PySparkException as error:
        # Spark says only that the stream has failed; the reason is the one that was given in it.
        if refused:
            raise refused[0] from error
        if any(sign in str(error) for sign in NO_SUCH_PATH):
            raise LandingError(
                f"The landing zone {root} does not exist. Create it and put event files there ({EXPECTED}), "
                "or set CHURN_LANDING_ROOT."
            ) from error
        raise
    return done


def relative(path: str, root: str) -> str:
    """The name in the ledger of a file by the engine's path: relative to the landing zone.

    Spark says ``file:/folder/name``, Databricks ``dbfs:/Volumes/…/name`` or ``s3://bucket/folder/name``.
    """
    folder = _without_scheme(root).rstrip("/")
    return _without_scheme(path).removeprefix(f"{folder}/")


def _without_scheme(path: str) -> str:
    # Not urlparse: a file's name may hold ? and #.
    return re.sub(r"^\w+:(//[^/]*)?", "", path)
