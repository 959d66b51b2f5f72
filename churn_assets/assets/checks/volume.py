"""The number of rows of a date, compared with the same weekday of the weeks before."""

import datetime as dt
from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

from churn_assets.dates import ONE_DAY

WEEKS_BEFORE = 4
FEWEST_WEEKS = 2
LEAST, MOST = 0.5, 2.0
# Only the end of a long range is judged: what was odd last spring is history.
LAST_DATES = 7


class Volume(NamedTuple):
    """The rows of one date, and the median of the same weekday in up to four weeks before."""

    day: dt.date
    rows: int
    usual: float

    @property
    def is_odd(self) -> bool:
        """Whether the rows are less than half, or more than double, of what is usual."""
        return not LEAST * self.usual <= self.rows <= MOST * self.usual


def volumes(rows_by_day: Mapping[dt.date, int], last: dt.date, first: dt.date | None = None) -> list[Volume]:
    """Return the volumes of the last dates, as far as two earlier weeks are known.

    Args:
        rows_by_day: rows of each date; missing dates between others had none.
        last: the last date to judge.
        first: the first date to judge; at most seven are.
    """
    if not rows_by_day:
        return []
    beginning = min(rows_by_day)
    start = max(first or beginning, last - (LAST_DATES - 1) * ONE_DAY)
    compared = []
    for day in (start + i * ONE_DAY for i in range((last - start).days + 1)):
        before = [day - week * 7 * ONE_DAY for week in range(1, WEEKS_BEFORE + 1)]
        weeks = [rows_by_day.get(earlier, 0) for earlier in before if earlier >= beginning]
        if len(weeks) >= FEWEST_WEEKS:
            compared.append(Volume(day, rows_by_day.get(day, 0), median(weeks)))
    return compared
