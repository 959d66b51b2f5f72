"""Ids of events whose log has none: made of what the event says, and of how often its file has said it.

Not of the file's name, nor of a line's number: an export that is made again, under any name, in any order and
overlapping the last one, gives each event the id that it had. What this cannot tell apart is in ADR 0022.
"""

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.sample.text_columns import joined

# Longer than any chance of two contents with one digest; with the number after it as long as a UUID.
DIGEST_CHARACTERS = 32


def with_content(events: DataFrame, with_amounts: bool = False) -> DataFrame:
    """Add what ids are made of.

    Args:
        events: user_id (bigint), event_ts_micros (bigint), event_ts_text, event_type, country, amount
            (string).
        with_amounts: whether the log has amounts: they tell events apart, and in a log without them ids are
            what they were before there were any.

    Returns:
        The same, and content_digest (string, equal for equal content on every engine) and content_key
        (bigint, by which content is counted).
    """
    content = F.concat(
        _field(F.col("user_id").cast("string")),
        _field(F.coalesce(F.col("event_ts_micros").cast("string"), F.col("event_ts_text"))),
        _field(F.col("event_type")),
        _field(F.col("country")),
        *([_field(F.col("amount"))] if with_amounts else []),
    )
    return events.withColumn(
        "content_digest", F.substring(F.sha2(content, 256), 1, DIGEST_CHARACTERS)
    ).withColumn("content_key", F.xxhash64(content))


def ids(events: pa.Table, occurrences: np.ndarray) -> pa.Array:
    """The digest, and the number of the row among those of its file that have it."""
    digests = events["content_digest"].combine_chunks()
    return joined(digests, "-", pa.array(occurrences).cast(pa.string()))


class KeyCounts:
    """How often each of many 64-bit keys came, in 16 bytes a key: hundreds of millions fit in memory.

    Sorted runs, merged when the last has grown as large as the one before it, so that a key is copied a dozen
    times and looked up in a dozen places.
    """

    def __init__(self) -> None:
        self.runs: list[tuple[np.ndarray, np.ndarray]] = []

    def __len__(self) -> int:
        self._merge(everything=True)
        return len(self.runs[0][0]) if self.runs else 0

    def counts(self, keys: np.ndarray) -> np.ndarray:
        """Return how often each key has been added, int64 of the keys' shape."""
        totals = np.zeros(len(keys), np.int64)
        for known, counts in self.runs:
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            totals += np.where(known[place] == keys, counts[place], 0)
        return totals

    def add(self, keys: np.ndarray, counts: np.ndarray) -> None:
        """Add distinct keys with their counts."""
        if len(keys):
            order = np.argsort(keys)
            self.runs.append((keys[order], counts[order].astype(np.int64)))
            self._merge()

    def occurrences(self, keys: np.ndarray) -> np.ndarray:
        """Number the rows of each key from 1 in their order, continuing from those added before."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        is_first = np.ones(len(keys), bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        starts = np.flatnonzero(is_first)
        lengths = np.diff(np.append(starts, len(keys)))
        numbers = np.empty(len(keys), np.int64)
        numbers[order] = np.arange(len(keys)) - np.repeat(starts, lengths) + 1
        numbers += self.counts(keys)
        self.add(ordered[starts], lengths)
        return numbers

    def _merge(self, *, everything: bool = False) -> None:
        runs = self.runs
        while len(runs) > 1 and (everything or len(runs[-1][0]) * 2 > len(runs[-2][0])):
            (last_keys, last_counts), (keys, counts) = runs.pop(), runs.pop()
            distinct, where = np.unique(np.concatenate([keys, last_keys]), return_inverse=True)
            total = np.zeros(len(distinct), np.int64)
            np.add.at(total, where, np.concatenate([counts, last_counts]))
            runs.append((distinct, total))


def _field(text: Column) -> Column:
    """With its length before it, so that ('ab', 'c') is not ('a', 'bc'), nor a null an empty text."""
    return F.coalesce(F.concat(F.length(text).cast("string"), F.lit(":"), text), F.lit("-"))
