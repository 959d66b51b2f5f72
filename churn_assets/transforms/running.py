"""What is known of each user at the end of each date, from a user's days by running sums: numpy, no engine.

A sum over the last so many days is a difference of two running sums, so that a user and date costs one
look-up a window, however many days lie in it.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import cloudpickle

from churn_assets.tables import FEATURE_WINDOW_DAYS
from churn_assets.transforms.spans import CALENDAR, NEVER, WINDOWS, Bools, Floats, Ints, Spans, spans_of

# Workers lack this package: what is in here travels to them by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Known(NamedTuple):
    """One row a user and date, by date and user; of the columns, NaN is where there is no answer."""

    user: Ints
    date: Ints
    columns: dict[str, npt.NDArray[Any]]


def known_of(parts: pa.Table, first: int, last: int, types: dict[str, pa.DataType]) -> pa.Table:
    """The same as ``known``, from and to Arrow.

    Args:
        parts: user_id, first_day, active_day_bits (bit 0: active on ``first_day``, and so on), and what all
            these days together brought: events, purchases, cents, with_amount, last_purchase as in ``Days``;
            first_seen.
        first: the first date, in days since 1970-01-01.
        last: the last date.
        types: of the columns to return.
    """
    columns = {name: parts[name].to_numpy() for name in parts.column_names}
    found = known(spans_of(columns, first, last), first, last)
    named = {"user_id": found.user, "feature_date": found.date.astype("int32"), **found.columns}
    return pa.table({name: _as_arrow(named[name], type_) for name, type_ in types.items()})


def _as_arrow(values: npt.NDArray[Any], type_: pa.DataType) -> pa.Array:
    if values.dtype.kind != "f":
        return pa.array(values).cast(type_)
    missing = np.isnan(values)
    return pa.array(np.where(missing, 0, values), mask=missing).cast(type_)


def known(spans: Spans, first: int, last: int) -> Known:
    """What was known of each user at the end of each date from ``first`` to ``last``.

    Args:
        spans: of each user with a day in the 30 before ``first`` or later all days up to ``last``. A span of
            several days lies as a whole before or after the end of each of the ``WINDOWS`` before each date.
            What several days brought may stand on one of them where all of them lie before those 30.
        first: the first date, in days since 1970-01-01.
        last: the last date.

    Returns:
        A row for each date at which a user has a day among the last 30, with the columns of
        ``tables.USER_FEATURES``. None before the user's first_seen: what lies before the data's first day
        is nobody's history.
    """
    history = _History.of(spans)
    row, date = history.dates_seen(first, last)
    is_known = ~(date < history.spans.first_seen[row])
    row, date = row[is_known], date[is_known]
    earlier = [history.before(row, date, window) for window in WINDOWS]
    # Partitions of the table are dates: written one after the other they take a fifth less.
    by_date = np.argsort((date - first).astype("uint16"), kind="stable")
    row, date = row[by_date], date[by_date]
    return Known(
        history.spans.user[row], date, _columns(history, row, date, [one.at(by_date) for one in earlier])
    )


def _columns(
    history: "_History", row: Ints, date: Ints, earlier: Sequence["_Before"]
) -> dict[str, npt.NDArray[Any]]:
    """Of each date, the row of the user's last active day up to it, and what lay before the ``WINDOWS``."""
    week, seen, quarter, year = earlier
    total = history.active_days[row]
    gaps = total - 1
    silent = date - history.spans.day[row]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_gap = np.where(gaps > 0, history.lifetime[row] / gaps, np.nan)
        # In whole numbers up to the last division: no digit depends on what is added first.
        spread = gaps * history.gap_squares[row] - history.lifetime[row] ** 2
        gap_std = np.where(gaps > 1, np.sqrt(spread / (gaps * (gaps - 1))), np.nan)
        return {
            "event_count_30d": history.events[row] - seen.of(history.events),
            "active_days_30d": total - seen.of(history.active_days),
            "days_since_last_event": silent,
            "purchase_count_30d": history.purchases[row] - seen.of(history.purchases),
            "account_age_days": date - history.spans.first_seen[row],
            "rolling_7d_events": history.events[row] - week.of(history.events),
            "active_days_90d": total - quarter.of(history.active_days),
            "active_days_365d": total - year.of(history.active_days),
            "active_days_total": total,
            "event_count_total": history.events[row],
            "purchase_count_total": history.purchases[row],
            "mean_gap_days": mean_gap,
            "gap_std_days": gap_std,
            "longest_gap_days": np.where(gaps > 0, history.longest_gap[row].astype("float64"), np.nan),
            "overdue_ratio": silent / mean_gap,
            "days_since_last_purchase": np.where(
                history.last_purchase[row] == NEVER, np.nan, date - history.last_purchase[row]
            ),
            "amount_30d": _amount(
                history.cents[row] - seen.of(history.cents),
                history.with_amount[row] - seen.of(history.with_amount),
            ),
            "amount_total": _amount(history.cents[row], history.with_amount[row]),
        }


def _amount(cents: Floats, days_with_amount: Ints) -> Floats:
    return np.where(days_with_amount > 0, cents / 100, np.nan)


class _Before(NamedTuple):
    """For each row asked about, the last of its user's rows before a window, where one ``exists``."""

    row: Ints
    exists: Bools

    def at(self, places: Ints) -> "_Before":
        return _Before(self.row[places], self.exists[places])

    def of(self, running: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.where(self.exists, running[self.row], 0)


class _History(NamedTuple):
    """Spans by user and day, and what each user had come to at the end of each: running sums and maxima."""

    spans: Spans
    number: Ints  # of the user, from 0 on
    start: Ints  # the user's first row
    active_days: Ints
    events: Ints
    purchases: Ints
    cents: Floats
    with_amount: Ints
    lifetime: Ints
    gap_squares: Ints
    longest_gap: Ints
    last_purchase: Ints

    @classmethod
    def of(cls, unordered: Spans) -> "_History":
        order = np.lexsort((unordered.day, unordered.user))
        spans = Spans._make(column[order] for column in unordered)
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = spans.user[1:] != spans.user[:-1]
        number = np.cumsum(is_first) - 1
        start = np.flatnonzero(is_first)[number] if len(order) else number
        gap = np.zeros_like(spans.day)
        gap[1:] = np.where(is_first[1:], 0, spans.first_day[1:] - spans.day[:-1])

        def running(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            sums = np.cumsum(values)
            return sums - sums[start] + values[start]

        def highest(values: Ints) -> Ints:
            # Each user on a floor of their own, above all that the users before can reach.
            floor = number * CALENDAR
            return np.maximum.accumulate(floor + values) - floor

        return cls(
            spans,
            number,
            start,
            active_days=running(spans.active_days),
            events=running(spans.events),
            purchases=running(spans.purchases),
            cents=running(spans.cents),
            with_amount=running(spans.with_amount),
            lifetime=spans.day - spans.first_day[start],
            gap_squares=running(gap**2 + spans.gap_squares),
            longest_gap=highest(np.maximum(gap, spans.longest_gap)),
            last_purchase=highest(spans.last_purchase - NEVER) + NEVER,
        )

    def dates_seen(self, first: int, last: int) -> tuple[Ints, Ints]:
        """Each date at which a user's last active day is one of the last 30: that day's row, the date."""
        day = self.spans.day
        until = np.minimum(day + FEATURE_WINDOW_DAYS - 1, last)
        until[:-1] = np.where(
            self.number[1:] == self.number[:-1], np.minimum(until[:-1], day[1:] - 1), until[:-1]
        )
        since = np.maximum(day, first)
        dates = np.maximum(until - since + 1, 0)
        row = np.repeat(np.arange(len(day)), dates)
        return row, since[row] + np.arange(len(row)) - np.repeat(np.cumsum(dates) - dates, dates)

    def before(self, row: Ints, date: Ints, window: int) -> _Before:
        """The last row of the same user before the ``window`` days up to each date; by user and date."""
        place = self.number * CALENDAR + self.spans.day
        asked = self.number[row] * CALENDAR + date - window
        # Both are sorted, and there are fewer days than dates: each day is looked up among the dates.
        passed = np.bincount(np.searchsorted(asked, place), minlength=len(asked) + 1)[:-1]
        found = np.cumsum(passed) - 1
        return _Before(found, found >= self.start[row])
