"""Lines of users who were erased: told by keyed hashes of their ids, and kept without what they say."""

from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.transforms.accounting import FORMER_USER_ID
from churn_assets.transforms.values import trimmed, user_id

# Of HMAC (RFC 2104), for SHA-256.
BLOCK_BYTES = 64
INNER, OUTER = 0x36, 0x5C

EMPTIED = (
    *("event_id", "user_id", "event_ts", "event_type", "country"),
    *("_rescued_data", "source_user_id", "amount"),
)


def without_erased(landed: DataFrame, key: bytes, hashes: Collection[str]) -> DataFrame:
    """Empty the lines of erased users.

    A line that is no JSON, as one that was cut off, is told by the first user_id and source_user_id that it
    names.

    Args:
        landed: ``landing.events``.
        key: of the hashes.
        hashes: ``keyed_hash`` of the ids that were erased, each after ``tables.ERASED_USER_ID`` or
            ``tables.ERASED_SOURCE``.

    Returns:
        The same rows; those of erased users have ``tables.ERASED_LINE`` as _raw and _corrupt_record, no other
        field, and still say from which file and ingestion they are.
    """
    is_erased = _is_of(tables.ERASED_USER_ID, _said_user(), key, hashes) | _is_of(
        tables.ERASED_SOURCE, _said_source(), key, hashes
    )
    rows = landed.withColumn("is_erased", is_erased)
    kept = {
        **{name: F.when(~F.col("is_erased"), F.col(name)) for name in EMPTIED},
        **{
            name: F.when(F.col("is_erased"), F.lit(tables.ERASED_LINE)).otherwise(F.col(name))
            for name in ("_raw", "_corrupt_record")
        },
    }
    return rows.select(
        *(kept.get(name, F.col(name)).alias(name) for name in tables.LANDED_EVENTS.column_names)
    )


def with_their_reason(quarantined: DataFrame) -> DataFrame:
    """Say of emptied lines why they are in quarantine.

    Args:
        quarantined: ``clean.quarantined_events``.

    Returns:
        The same rows, with the reason erased_user where it was corrupt.
    """
    reason = F.when(F.col("_raw") == tables.ERASED_LINE, F.lit("erased_user")).otherwise(F.col("reason"))
    return quarantined.withColumn("reason", reason)


def keyed_hash(text: Column, key: bytes) -> Column:
    """The HMAC-SHA256 of a text in UTF-8, in hexadecimal, as Python's ``hmac`` computes it.

    Args:
        text: string.
        key: at most 64 bytes.
    """
    padded = key.ljust(BLOCK_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in padded) for pad in (INNER, OUTER))
    digest = F.sha2(F.concat(F.unhex(F.lit(inner.hex())), F.encode(text, "UTF-8")), 256)
    return F.sha2(F.concat(F.unhex(F.lit(outer.hex())), F.unhex(digest)), 256)


def _is_of(kind: str, said: Column, key: bytes, hashes: Collection[str]) -> Column:
    found = keyed_hash(F.concat(F.lit(kind), said), key).isin(*sorted(hashes))
    return F.coalesce(found, F.lit(False))


def _said_user() -> Column:
    text = _said("user_id")
    # What an earlier release took for the user, too.
    former = F.when(text.rlike(FORMER_USER_ID), text.try_cast("bigint"))
    return F.coalesce(user_id(text), former).cast("string")


def _said_source() -> Column:
    return trimmed(_said("source_user_id"))


def _said(name: str) -> Column:
    in_pieces = F.regexp_extract(F.col("_corrupt_record"), rf'"{name}" *: *"?([^",\}}]+)', 1)
    return F.when(F.col("_corrupt_record").isNotNull(), trimmed(in_pieces)).otherwise(F.col(name))
