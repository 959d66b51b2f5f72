"""How few spans a past comes down to, and that they say the same as its days: no engine."""

import datetime as dt
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.transforms.features import EPOCH
from churn_assets.transforms.spans import NEVER, Spans, spans_of
from churn_assets_tests.rows import D

DATE = (D - EPOCH).days
EVERY_OTHER_DAY = 0b1010101010101010101010101010  # of February as well
MONTHS = [dt.date(2024 + month // 12, month % 12 + 1, 1) for month in range(24)]


def spans(months: list[tuple[dt.date, int]], first: int = DATE, last: int = DATE) -> Spans:
    """Of one user, in the order of time; each month brought one event."""
    ones = np.ones(len(months), dtype="int64")
    parts = {
        "user_id": ones,
        "first_day": np.array([(month - EPOCH).days for month, _ in months], dtype="int64"),
        "active_day_bits": np.array([bits for _, bits in months], dtype="int64"),
        "events": ones,
        "purchases": ones * 0,
        "cents": ones * 0.0,
        "with_amount": ones * 0,
        "last_purchase": ones * NEVER,
        "first_seen": ones,
    }
    unordered = spans_of(parts, first, last)
    order = np.argsort(unordered.day)
    return Spans._make(column[order] for column in unordered)


def test_two_years_of_months_are_three_spans_for_one_date() -> None:
    found = spans([(month, EVERY_OTHER_DAY) for month in MONTHS])

    # D less 365, and less 90 days, are where the first and the second end at the latest.
    ends = [DATE - 365, DATE - 90]
    assert len(found.day) == 3
    assert [int(np.searchsorted(ends, day)) for day in found.first_day] == [0, 1, 2]
    assert [int(np.searchsorted(ends, day)) for day in found.day] == [0, 1, 2]
    assert found.active_days.sum() == 14 * len(MONTHS)
    assert found.events.sum() == len(MONTHS)


def test_days_between_the_ends_of_a_window_at_two_dates_stay_days() -> None:
    found = spans([(month, EVERY_OTHER_DAY) for month in MONTHS], first=DATE - 9, last=DATE)

    assert sorted(found.active_days)[:10] == [1] * 10
    assert len(found.day) == 3 + 10


@settings(max_examples=100, derandomize=True, database=None)
@given(bits=st.integers(2, 2**28 - 1))
def test_a_month_says_of_its_gaps_what_its_days_say(bits: int) -> None:
    # Ends long before all windows: nothing cuts it.
    found = spans([(dt.date(2020, 2, 1), bits)])
    days = [place for place in range(28) if bits >> place & 1]
    gaps = [later - earlier for earlier, later in pairwise(days)]

    start = (dt.date(2020, 2, 1) - EPOCH).days
    assert (found.first_day[0], found.day[0]) == (start + days[0], start + days[-1])
    assert found.active_days[0] == len(days)
    assert found.gap_squares[0] == sum(gap**2 for gap in gaps)
    assert found.longest_gap[0] == max(gaps, default=0)
