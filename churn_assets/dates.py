"""Ranges of UTC days: what assets, transforms and the lakehouse pass to one another."""

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
        """The range that starts ``before`` days earlier and ends ``after`` days later."""
        return DateRange(self.start - before * ONE_DAY, self.end + after * ONE_DAY)

    def days(self) -> Iterator[dt.date]:
        """Each day of the range, in order."""
        return (self.start + i * ONE_DAY for i in range((self.end - self.start).days + 1))


def last_of_month(day: dt.date) -> dt.date:
    """The last day of the month that this day is in."""
    return (day.replace(day=1) + 31 * ONE_DAY).replace(day=1) - ONE_DAY


def contiguous_ranges(days: Iterable[dt.date]) -> list[DateRange]:
    """The fewest ranges that hold exactly these days."""
    ranges: list[DateRange] = []
    for day in sorted(set(days)):
        if ranges and day == ranges[-1].end + ONE_DAY:
            ranges[-1] = DateRange(ranges[-1].start, day)
        else:
            ranges.append(DateRange(day, day))
    return ranges
