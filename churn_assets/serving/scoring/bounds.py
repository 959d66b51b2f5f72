"""Bounds of a request that are checked before anything is built from its body.

A JSON value of three bytes becomes an object of 64, so the bytes of a body bound nothing. Its brackets and
commas do: no row and no value is without one. Those inside of texts are counted too, which refuses a body of
a million commas in texts, and nothing else that is within the bounds.
"""

from typing import NamedTuple

import numpy as np

from churn_assets.serving.scoring.replies import TooLargeError

MAX_ROWS = 100_000
# 100,000 rows of ten features, or 40,000 of all.
MAX_VALUES = 1_000_000

BYTES_AT_ONCE = 1024 * 1024

# Objects and lists around the rows, in any of the formats.
AROUND = 10


class Counts(NamedTuple):
    """How many objects, lists and commas a body may hold at most."""

    objects: int
    lists: int
    commas: int


def require_bounds(body: bytes) -> None:
    """Require that a body holds no more rows and values than one request may; 16 MB take some 30 ms.

    A body of less than 256 kB needs no such check: not even empty objects make too many rows of it.

    Raises:
        TooLargeError: it may hold more.
    """
    counts = _counts(body)
    if max(counts.objects, counts.lists) > MAX_ROWS + AROUND:
        raise TooLargeError(
            f"The body has more than {MAX_ROWS:,} rows, by its brackets; send fewer in a request."
        )
    if counts.commas > MAX_VALUES:
        raise TooLargeError(
            f"The body has more than {MAX_VALUES:,} values, by its commas; send fewer rows in a request."
        )


def _counts(body: bytes) -> Counts:
    # By NumPy, which lets other threads work meanwhile, and in parts, because a comparison is as large as it.
    content = np.frombuffer(body, dtype=np.uint8)
    parts = [content[start : start + BYTES_AT_ONCE] for start in range(0, len(content), BYTES_AT_ONCE)]
    return Counts(*(sum(int(np.count_nonzero(part == sign)) for part in parts) for sign in b"{[,"))
