"""What a user did in stretches of time, as few as it takes to answer for some dates: numpy, no engine.

A day of three years ago matters by what it adds to sums and by its gaps to the days beside it. So all months
between the ends of two windows become one span: a date then costs its users, hardly the length of their past.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pyspark import cloudpickle

from churn_assets.partitions import ROLLING_WINDOW_DAYS
from churn_assets.tables import FEATURE_WINDOW_DAYS

# Workers lack this package: what is in here travels to them by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# More days than a calendar of four-digit years has.
CALENDAR = 1 << 22

# Before every day.
NEVER = -1

LONGEST_MONTH = 31
# Three times as many are no fewer than a month has.
SOME_DAYS = 11

WINDOWS = (ROLLING_WINDOW_DAYS, FEATURE_WINDOW_DAYS, 90, 365)


class Spans(NamedTuple):
    """What users did, a row a user and span of time, in any order. Days count from 1970-01-01.

    A span is an active day, or goes from one active day to a later one: no two of a user overlap.

    ``active_days`` counts those of the span, from ``first_day`` to ``day``, both included. ``gap_squares`` is
    the sum of the squares of the gaps between them, in days, and ``longest_gap`` the longest of them: both 0
    for a single day.
    ``cents`` are hundredths, 0 where no event brought an amount; ``with_amount`` is 1 where one did.
    ``last_purchase`` is the last day with a purchase that the row knows of, ``NEVER`` without one.
    ``first_seen`` is the user's first day in ``clean.users``, NaN where it knows no such user.
    """

    user: Ints
    first_day: Ints
    day: Ints
    active_days: Ints
    gap_squares: Ints
    longest_gap: Ints
    events: Ints
    purchases: Ints
    cents: Floats
    with_amount: Ints
    last_purchase: Ints
    first_seen: Floats


def spans_of(parts: Mapping[str, npt.NDArray[Any]], first: int, last: int) -> Spans:
    """Days as they are, and of each user's months as few spans as the windows of the dates allow.

    What a month brought stands in the first span that has days of it.

    Args:
        parts: columns as in ``running.known_of``; months lie before all of the days.
        first: the first date, in days since 1970-01-01.
        last: the last date.
    """
    bits, start = parts["active_day_bits"], parts["first_day"]
    # Most parts are a day, of which there is nothing to sum up.
    day, month = np.flatnonzero(bits == 1), np.flatnonzero(bits != 1)
    pieces, between = _split(bits[month], start[month], first, last)
    row, place = np.nonzero((between.bits[:, None] >> np.arange(LONGEST_MONTH)) & 1)
    single = _Pieces(between.month[row], np.left_shift(1, place))
    summary = _summarized(np.concatenate([pieces.bits, single.bits]))
    part = np.concatenate([day, month[pieces.month], month[single.month]])
    span_bits = np.concatenate([bits[day], pieces.bits, single.bits])
    has_first_day = (span_bits & bits[part] & -bits[part]) != 0

    def after_days(of_day: int, of_piece: Ints) -> Ints:
        return np.concatenate([np.full(len(day), of_day), of_piece])

    def brought(name: str, otherwise: int = 0) -> npt.NDArray[Any]:
        return np.where(has_first_day, parts[name][part], otherwise)

    spans = Spans(
        user=parts["user_id"][part],
        first_day=start[part] + after_days(0, summary.first),
        day=start[part] + after_days(0, summary.last),
        active_days=after_days(1, summary.days),
        gap_squares=after_days(0, summary.gap_squares),
        longest_gap=after_days(0, summary.longest_gap),
        events=brought("events"),
        purchases=brought("purchases"),
        cents=brought("cents"),
        with_amount=brought("with_amount"),
        last_purchase=brought("last_purchase", NEVER),
        first_seen=parts["first_seen"][part].astype("float64"),
    )
    may_join = np.zeros(len(part), dtype=bool)
    may_join[len(day) : len(day) + len(pieces.bits)] = True
    return _joined(spans, may_join, last)


class _Pieces(NamedTuple):
    """Days of months: which month (a row of those given), and which of its days, a bit each."""

    month: Ints
    bits: Ints


def _split(bits: Ints, start: Ints, first: int, last: int) -> tuple[_Pieces, _Pieces]:
    """Cut months where windows end.

    Args:
        bits: the active days of each month.
        start: the first day of each month.
        first: the first date.
        last: the last date.

    Returns:
        Pieces that lie as a whole before or after the end of each window at any of the dates; and the days
        that lie between a window's ends at the first and at the last date.
    """
    pieces, between = _Pieces(np.arange(len(bits)), bits), []
    for window in WINDOWS:
        begin = start[pieces.month]
        is_cut = (begin <= last - window) & (first - window < begin + LONGEST_MONTH - 1)
        whole, cut = (_Pieces(*(column[chosen] for column in pieces)) for chosen in (~is_cut, is_cut))
        before, until = (_up_to(end - window - begin[is_cut]) for end in (first, last))
        between.append(_Pieces(cut.month, cut.bits & until & ~before))
        early, late = _Pieces(cut.month, cut.bits & before), _Pieces(cut.month, cut.bits & ~until)
        pieces = _together([whole, early, late])
    return pieces, _together(between)


def _together(pieces: Sequence[_Pieces]) -> _Pieces:
    """All that have a day."""
    month, bits = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
    return _Pieces(month[bits != 0], bits[bits != 0])


def _up_to(place: Ints) -> Ints:
    """The days of a month up to this place, a bit a day."""
    return np.left_shift(1, np.clip(place + 1, 0, LONGEST_MONTH)) - 1


def _joined(spans: Spans, may_join: Bools, last: int) -> Spans:
    """One span for all of a user's that may join and lie between the same two windows' ends."""
    parts = Spans._make(column[may_join] for column in spans)
    begun = sum(((parts.day > last - window).astype("int64") for window in WINDOWS), np.zeros_like(parts.day))
    number = np.searchsorted(np.unique(parts.user), parts.user) * (len(WINDOWS) + 1) + begun
    order = np.argsort(number * CALENDAR + parts.day)
    parts, number = Spans._make(column[order] for column in parts), number[order]
    is_start = np.ones(len(number), dtype=bool)
    is_start[1:] = number[1:] != number[:-1]
    start = np.flatnonzero(is_start)
    gap = np.zeros_like(parts.day)
    gap[1:] = np.where(is_start[1:], 0, parts.first_day[1:] - parts.day[:-1])

    def of_all(function: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return function.reduceat(values, start) if len(start) else values

    joined = Spans(
        user=parts.user[start],
        first_day=parts.first_day[start],
        day=of_all(np.maximum, parts.day),
        active_days=of_all(np.add, parts.active_days),
        gap_squares=of_all(np.add, parts.gap_squares + gap**2),
        longest_gap=of_all(np.maximum, np.maximum(parts.longest_gap, gap)),
        events=of_all(np.add, parts.events),
        purchases=of_all(np.add, parts.purchases),
        cents=of_all(np.add, parts.cents),
        with_amount=of_all(np.add, parts.with_amount),
        last_purchase=of_all(np.maximum, parts.last_purchase),
        first_seen=parts.first_seen[start],
    )
    return Spans._make(
        np.concatenate([column[~may_join], of_joined])
        for column, of_joined in zip(spans, joined, strict=True)
    )


class _Summary(NamedTuple):
    """Of sets of days, a bit a day: how many, the places of the first and the last, the gaps between them."""

    days: Ints
    first: Ints
    last: Ints
    gap_squares: Ints
    longest_gap: Ints


def _summarized(bits: Ints) -> _Summary:
    """Three look-ups a month, of which there are many, in a table of all sets of eleven days."""
    table = _summary_of_all_sets(SOME_DAYS)
    summary = _Summary._make(column[bits & (1 << SOME_DAYS) - 1] for column in table)
    for place in range(SOME_DAYS, LONGEST_MONTH, SOME_DAYS):
        later = _Summary._make(column[bits >> place & (1 << SOME_DAYS) - 1] for column in table)
        has_both = (summary.days > 0) & (later.days > 0)
        between = np.where(has_both, place + later.first - summary.last, 0)
        summary = _Summary(
            days=summary.days + later.days,
            first=np.where(summary.days > 0, summary.first, place + later.first),
            last=np.where(later.days > 0, place + later.last, summary.last),
            gap_squares=summary.gap_squares + later.gap_squares + between**2,
            longest_gap=np.maximum(np.maximum(summary.longest_gap, later.longest_gap), between),
        )
    return summary


def _summary_of_all_sets(most: int) -> _Summary:
    """Summaries of all sets of so many days, in the order of their bits."""
    bits = np.arange(1 << most)
    last = np.full_like(bits, NEVER)
    days, first, gap_squares, longest_gap = (np.zeros_like(bits) for _ in range(4))
    for place in range(most):
        is_active = (bits >> place & 1).astype(bool)
        is_first = is_active & (last == NEVER)
        gap = np.where(is_active & ~is_first, place - last, 0)
        days += is_active
        first[is_first] = place
        gap_squares += gap**2
        longest_gap = np.maximum(longest_gap, gap)
        last[is_active] = place
    return _Summary(days, first, last, gap_squares, longest_gap)
