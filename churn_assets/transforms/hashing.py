"""A hash of several columns that tells NULL from every value."""

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F


def null_safe_hash(
    text: Iterable[Column | str] = (),
    numbers: Iterable[Column | str] = (),
    never_null: Iterable[Column | str] = (),
) -> Column:
    """A bigint of columns of text and of whole numbers, which may be NULL, and of any type that are not."""
    # NULL is hashed as such; else it would leave the hash as it is, and (NULL, 'a') be equal to ('a', NULL).
    # It never reaches the hash itself: Sail 0.7.2 panics on a batch of a column that holds nothing else.
    parts = [
        part
        for filler, columns in (("", text), (0, numbers))
        for column in columns
        for part in (F.coalesce(column, F.lit(filler)), F.isnull(column))
    ]
    return F.xxhash64(*never_null, *parts)
