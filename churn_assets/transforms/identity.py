"""One source id a user: where user_id is made from an id, two of them must not become one user.

A user's source_user_id is that of the events that first brought one; a line with another is refused. A line
without one (NULL: unknown) goes with any.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from churn_assets.transforms.values import trimmed, user_id


def source_id() -> Column:
    """The source_user_id of a landed row, NULL if it is blank."""
    return F.nullif(trimmed(F.col("source_user_id")), F.lit(""))


def doubtful_users(landed: DataFrame, silver: DataFrame) -> DataFrame:
    """The users for whom the rows, or the rows and Silver, name more than one source id.

    Cheap where few rows carry one: others are not looked at.

    Args:
        landed: rows of ``landing.events``.
        silver: ``clean.events``.

    Returns:
        user_id (bigint), each once.
    """
    named = (
        _named(landed)
        .groupBy("user_id")
        .agg(F.min("source").alias("min_source"), F.max("source").alias("max_source"))
    )
    # The side of the rows first: Sail hashes the left one.
    known = _known(named, silver).select("user_id", "known_source")
    differs = (F.col("min_source") != F.col("max_source")) | (F.col("known_source") != F.col("min_source"))
    return named.join(known, "user_id", "left").where(differs).select("user_id")


def rows_of_users(landed: DataFrame, users: DataFrame) -> DataFrame:
    """The event_id of each landed row that names a source id for one of the users."""
    return users.join(_named(landed), "user_id")


def user_sources(good: DataFrame, silver: DataFrame, users: DataFrame) -> DataFrame:
    """The source id of each doubtful user.

    It is that of Silver, or else that of the earliest new event (then the smallest) that is certain to stay:
    the rows of its first ingestion agree on its content. So what refuses others is in Silver from then on,
    and cleaning any of these rows again comes to the same.

    Args:
        good: typed rows without a reason against them, with ``content`` (its hash): all of the event_ids
            that bring source ids for these users.
        silver: ``clean.events``.
        users: user_id.

    Returns:
        user_id; known_source (string), NULL if no event is certain to stay; known_since (timestamp), the
        ingestion that brought it; is_doubtful (true).
    """
    known = _known(users, silver)
    of_id, of_user = Window.partitionBy("event_id"), Window.partitionBy("user_id")
    left = with_verdict(good, known.withColumn("is_doubtful", F.lit(True))).where(~F.col("is_refused"))
    certain = (
        left.withColumn("first_at", F.min("_ingested_at").over(of_id))
        .where(F.col("_ingested_at") == F.col("first_at"))
        .withColumn("min_content", F.min("content").over(of_id))
        .withColumn("max_content", F.max("content").over(of_id))
        .where((F.col("min_content") == F.col("max_content")) & F.col("source_user_id").isNotNull())
        .join(silver.select("event_id"), "event_id", "left_anti")
    )
    first = (
        certain.withColumn("place", F.row_number().over(of_user.orderBy("_ingested_at", "source_user_id")))
        .where(F.col("place") == 1)
        .select(
            "user_id", F.col("source_user_id").alias("new_source"), F.col("_ingested_at").alias("new_since")
        )
    )
    return (
        users.join(known, "user_id", "left")
        .join(first, "user_id", "left")
        .select(
            "user_id",
            F.coalesce("known_source", "new_source").alias("known_source"),
            F.coalesce("known_since", "new_since").alias("known_since"),
            F.lit(True).alias("is_doubtful"),
        )
    )


def with_verdict(rows: DataFrame, sources: DataFrame) -> DataFrame:
    """Tell which typed rows name another source id than their user has.

    Args:
        rows: what ``cleaning.typed`` gives.
        sources: what ``user_sources`` gives.

    Returns:
        The rows with is_refused (boolean); of doubtful users only a source id that is theirs is kept.
    """
    since = F.coalesce(F.col("_ingested_at") >= F.col("known_since"), F.lit(False))
    is_theirs = F.col("source_user_id") == F.col("known_source")
    kept = F.when(F.col("is_doubtful").isNull() | (is_theirs & since), F.col("source_user_id"))
    # A right join, as Sail hashes the left side.
    return (
        sources.join(rows, "user_id", "right")
        .withColumn("is_refused", F.coalesce(~is_theirs & since, F.lit(False)))
        .withColumn("source_user_id", kept)
        .drop("known_source", "known_since", "is_doubtful")
    )


def _named(landed: DataFrame) -> DataFrame:
    return (
        landed.where(F.col("source_user_id").isNotNull())
        .select(user_id(F.col("user_id")).alias("user_id"), source_id().alias("source"), "event_id")
        .where(F.col("user_id").isNotNull() & F.col("source").isNotNull())
    )


def _known(users: DataFrame, silver: DataFrame) -> DataFrame:
    """What Silver knows of these users: user_id, known_source, known_since; none where it knows nothing."""
    named = silver.where(F.col("source_user_id").isNotNull())
    return (
        users.select("user_id")
        .join(named.select("user_id", "source_user_id", "_ingested_at"), "user_id")
        .groupBy("user_id")
        .agg(F.min("source_user_id").alias("known_source"), F.min("_ingested_at").alias("known_since"))
    )
