"""Ranges of days."""

import datetime as dt
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from churn_assets.dates import DateRange, contiguous_ranges


def day(number: int) -> dt.date:
    return dt.date(2026, 1, number)


def test_neighbouring_days_become_one_range() -> None:
    found = contiguous_ranges([day(5), day(1), day(2), day(3), day(7)])

    assert found == [DateRange(day(1), day(3)), DateRange(day(5), day(5)), DateRange(day(7), day(7))]


def test_a_widened_range_gains_days_on_both_sides() -> None:
    assert DateRange(day(10), day(12)).widened(before=2, after=1) == DateRange(day(8), day(13))


@given(st.sets(st.dates(dt.date(2025, 12, 20), dt.date(2026, 3, 10))))
def test_ranges_hold_exactly_the_days_that_they_were_made_of(days: set[dt.date]) -> None:
    ranges = contiguous_ranges(days)

    assert [held for found in ranges for held in found.days()] == sorted(days)
    assert all((b.start - a.end).days > 1 for a, b in pairwise(ranges))
