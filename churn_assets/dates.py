"""Ranges of UTC days, which assets, transforms and the lakehouse pass to one another."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import NamedTuple

ONE_DAY = dt.timedelta(days=1)


class DateRange(NamedTuple):
    """The days from ``start`` to ``end``, both inclusive."""

    start: dt.date
    end: dt.date

    def __str__(self) -> str:
        return f"{self.start}" if self.start == self.end else f"{self.start} to {self.end}"

    def widened(self, before: int, after: int) -> "DateRange":
        """Return the range that starts ``before`` days earlier and ends ``after`` days later."""
        return DateRange(self.start - before * ONE_DAY, self.end + after * ONE_DAY)

    def days(self) -> Iterator[dt.date]:
        """Yield each day of the range, in order."""
        return (self.start + i * ONE_DAY for i in range((self.end - self.start).days + 1))


def last_of_month(day: dt.date) -> dt.date:
    """Return the last day of the month that contains ``day``."""
    return (day.replace(day=1) + 31 * ONE_DAY).replace(day=1) - ONE_DAY


def contiguous_ranges(days: Iterable[dt.date]) -> list[DateRange]:
    """Return the fewest ranges that contain exactly these days."""
    ranges: list[DateRange] = []
    for day in sorted(set(days)):
        if ranges and day == ranges[-1].end + ONE_DAY:
            ranges[-1] = DateRange(ranges[-1].start, day)
        else:
            ranges.append(DateRange(day, day))
    return ranges
