"""Which rows of a batch may not be alone with their event_id: few, so that only these have to be compared."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def id_hash() -> Column:
    """A bigint for each event_id: grouped and joined several times faster than text.

    Ids that share one by chance are compared without need, and told apart then.
    """
    return F.xxhash64("event_id")


def recurring_ids(landed: DataFrame, silver: DataFrame | None) -> DataFrame:
    """The hashes that the event_ids of several rows of the batch have, or of one of it and one of Silver.

    Args:
        landed: rows of ``landing.events``.
        silver: ``clean.events``; None if it is known to be empty.

    Returns:
        id_hash (bigint), each once, and known_dates (array of date): the event_date of each row of Silver
        with that hash.
    """
    hashes = _named(landed).select(id_hash().alias("id_hash"))
    again = hashes.groupBy("id_hash").agg(F.count(F.lit(1)).alias("rows")).where(F.col("rows") > 1)
    places = again.select("id_hash", F.lit(None).cast("date").alias("known_date"))
    if silver is not None:
        # The batch first: Sail hashes the left side.
        known = silver.select(id_hash().alias("id_hash"), F.col("event_date").alias("known_date"))
        places = places.unionByName(hashes.join(known, "id_hash"))
    return places.groupBy("id_hash").agg(F.collect_set("known_date").alias("known_dates"))


def rows_with(landed: DataFrame, ids: DataFrame) -> DataFrame:
    """The rows whose event_id has one of the hashes.

    Args:
        landed: rows of ``landing.events``.
        ids: id_hash, each once.

    Returns:
        The columns of ``landed``.
    """
    # The ids first: Sail hashes the left side.
    rows = ids.select("id_hash").join(_named(landed).withColumn("id_hash", id_hash()), "id_hash")
    return rows.select(*landed.columns)


def _named(landed: DataFrame) -> DataFrame:
    # An id of nothing or of blanks is none.
    return landed.where(F.col("event_id").isNotNull() & (F.col("event_id") != ""))
