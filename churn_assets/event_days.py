"""The days that a log of events covers, and which of them are silent, from its events by day alone.

No clock, no table and no engine; docs/adr/0021 has the rules and their reasons. Single events decide nothing
here: a day's volume is compared with that of the same weekday around it.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from statistics import median_low

from churn_assets.dates import ONE_DAY, DateRange, contiguous_ranges

# Events of wrong clocks do not move the first or last day while they are less than one in a thousand.
STRAY = 1000

# A day is silent with less than one in twenty of its usual events.
SILENT = 20

# By chance alone a weekday that usually has ten events has none once in 22,000 weeks; with five, in 150.
LEAST_USUAL = 10

# How many of the same weekday are compared, on either side where both exist.
WEEKS = 4
# After a longer gap, the following days must together be large enough to belong to the log.
LONGEST_GAP = 14
# After so many days, a lower volume is taken as lasting.
DAYS_OF_COMPANY = 3

Counts = Mapping[int, int]


@dataclass(frozen=True)
class StrayEvents:
    """Events apart from all others: their days and their number."""

    dates: DateRange
    events: int


@dataclass(frozen=True)
class EventDays:
    """The days of a log, judged.

    Attributes:
        first: the first day with a plausible volume; None for a log without events.
        last: the last complete day with a plausible volume; None for a log without events.
        silent: days between them with hardly any of their weekday's usual events.
        closed: days between them without events, on weekdays that usually have none.
        before: stray events before the first day.
        after: stray events after the last day.
    """

    first: dt.date | None = None
    last: dt.date | None = None
    silent: frozenset[dt.date] = frozenset()
    closed: frozenset[dt.date] = field(default=frozenset(), repr=False)
    before: StrayEvents | None = None
    after: StrayEvents | None = None

    @cached_property
    def silences(self) -> list[tuple[DateRange, int]]:
        """Runs of silent days, each with its number of silent days; closed days do not break a run."""
        runs: list[tuple[DateRange, int]] = []
        for day in sorted(self.silent):
            if runs and self._only_closed_days_between(runs[-1][0].end, day):
                run, days = runs[-1]
                runs[-1] = (DateRange(run.start, day), days + 1)
            else:
                runs.append((DateRange(day, day), 1))
        return runs

    def outages(self, horizon_days: int) -> list[DateRange]:
        """Return the runs whose silent days are more than half of a horizon."""
        return [run for run, days in self.silences if 2 * days > horizon_days]

    def unlabelled(self, dates: DateRange, horizon_days: int, min_active_share: float) -> list[dt.date]:
        """Return the feature_dates whose horizon cannot show which users stayed away.

        Either too few of its days have events, or it overlaps an outage.

        Args:
            dates: feature_dates whose horizons are over.
            horizon_days: days after a feature_date that its label covers.
            min_active_share: the least share of these days that must not be silent.
        """
        outages = self.outages(horizon_days)
        unlabelled = []
        for day in dates.days() if self.silent else ():
            ahead = DateRange(day + ONE_DAY, day + horizon_days * ONE_DAY)
            active = horizon_days - sum(silent in self.silent for silent in ahead.days())
            overlaps = any(run.start <= ahead.end and ahead.start <= run.end for run in outages)
            if overlaps or active < min_active_share * horizon_days:
                unlabelled.append(day)
        return unlabelled

    def _only_closed_days_between(self, first: dt.date, second: dt.date) -> bool:
        return all(first + i * ONE_DAY in self.closed for i in range(1, (second - first).days))


def event_days(events: Mapping[dt.date, int], last_over: dt.date) -> EventDays:
    """Judge the days of a log.

    Args:
        events: events by UTC day; days without any may be left out.
        last_over: the last day that is over. Events of the next day only show that closed days before it are
            complete.
    """
    counts = {day.toordinal(): n for day, n in events.items() if n > 0 and day <= last_over}
    if not counts:
        return EventDays()
    first, last = _ends(counts)
    if events.get(last_over + ONE_DAY):
        last = _over_closed_days(counts, first, last, last_over.toordinal())
    silent, closed = _silent_and_closed(counts, first, last)
    return EventDays(
        first=dt.date.fromordinal(first),
        last=dt.date.fromordinal(last),
        silent=frozenset(map(dt.date.fromordinal, silent)),
        closed=frozenset(map(dt.date.fromordinal, closed)),
        before=_stray_events({day: n for day, n in counts.items() if day < first}),
        after=_stray_events({day: n for day, n in counts.items() if day > last}),
    )


def ranges(days: Iterable[dt.date]) -> str:
    """Return days in a few words: their first runs, and how many more there are."""
    runs = contiguous_ranges(days)
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return ", ".join(str(run) for run in runs[:3]) + more


def _stray_events(counts: Counts) -> StrayEvents | None:
    if not counts:
        return None
    first, last = map(dt.date.fromordinal, (min(counts), max(counts)))
    return StrayEvents(DateRange(first, last), sum(counts.values()))


def _ends(counts: Counts) -> tuple[int, int]:
    """Return the first and last day that belong to the log, searching outwards from its middle event."""
    middle = _middle(counts)
    last = _Walk(counts, middle).end()
    # Backwards in time, the same weekdays are still together.
    mirrored = {-day: n for day, n in counts.items()}
    return -_Walk(mirrored, -middle, is_start=True).end(), last


def _over_closed_days(counts: Counts, first: int, last: int, over: int) -> int:
    """Extend the end over following days without events whose weekday never has many."""
    known = range(first, last + 1)
    every = [counts[day] for day in known[-7 * 2 * WEEKS :] if day in counts]
    while last < over and last + 1 not in counts:
        weeks = range(last + 1 - 7, last + 1 - 7 * 2 * WEEKS, -7)
        same = [counts.get(day, 0) for day in weeks if day in known]
        if median_low(same or every) >= LEAST_USUAL:
            break
        last += 1
    return last


def _middle(counts: Counts) -> int:
    """Return the day of the middle event, which a thousandth of the events cannot move far."""
    days = sorted(counts)
    sums = accumulate(counts[day] for day in days)
    half = sum(counts.values()) / 2
    return next(day for day, so_far in zip(days, sums, strict=True) if so_far >= half)


class _Walk:
    """A walk from the middle of a log towards its last day, as far as days are plausible.

    Days are ordinals; with ``is_start`` they are negated, and the walk ends at the first day.
    """

    def __init__(self, counts: Counts, middle: int, *, is_start: bool = False) -> None:
        self._counts = counts
        self._days = sorted(counts)
        self._total = sum(counts.values())
        self._is_start = is_start
        self._end = middle
        smallest = self._smallest_days()
        self._solid = {day: n for day, n in counts.items() if day not in smallest}
        # Several days together must have more events than wrong clocks, and than half of an average day.
        self._company = max(self._total / STRAY, self._total / (2 * len(self._solid)))
        self._following_events = self._stretches()

    def end(self) -> int:
        """Return the last plausible day."""
        # Solid days since the end, and the events of all days since then: perhaps a new level.
        solid = events = 0
        for day in [day for day in self._days if day > self._end]:
            solid, events = solid + (day in self._solid), events + self._counts[day]
            is_level = day in self._solid and solid >= DAYS_OF_COMPANY and events > self._company
            if is_level or self._is_plausible(day):
                self._end, solid, events = day, 0, 0
        return self._end

    def _smallest_days(self) -> set[int]:
        """Return the smallest days, a thousandth of all events together, which no measure uses."""
        by_size = sorted(self._days, key=lambda day: self._counts[day])
        sums = accumulate(self._counts[day] for day in by_size)
        return {day for day, so_far in zip(by_size, sums, strict=True) if so_far * STRAY <= self._total}

    def _stretches(self) -> Counts:
        """Return, by day, its events and those of all days that follow it without a long gap."""
        events_onwards: dict[int, int] = {}
        following, events = self._days[-1], 0
        for day in reversed(self._days):
            is_near = following - day <= LONGEST_GAP
            following, events = day, self._counts[day] + (events if is_near else 0)
            events_onwards[day] = events
        return events_onwards

    def _is_plausible(self, day: int) -> bool:
        n, usual = self._counts[day], self._usual(day)
        is_more_than_strays = n * STRAY > self._total
        if day - self._end > LONGEST_GAP and self._following_events[day] <= self._company:
            return False
        if self._is_start and is_more_than_strays and n * SILENT >= usual:
            # A log may begin at any hour of its first day.
            return True
        return (4 * n >= usual and (2 * n >= usual or is_more_than_strays)) or self._continues(day)

    def _usual(self, day: int) -> int:
        """Return this weekday's median in the eight weeks up to the end; of a new weekday, all days'."""
        window = range(self._end, self._end - 7 * 2 * WEEKS, -1)
        around = [self._solid[earlier] for earlier in window if earlier in self._solid]
        same = [
            self._solid[earlier] for earlier in window if (day - earlier) % 7 == 0 and earlier in self._solid
        ]
        return median_low(same if len(same) >= 3 else around) if around else 0

    def _continues(self, day: int) -> bool:
        """Whether the day continues its neighbour and the week before it, as in steep growth."""
        n, week = self._counts[day], self._counts.get(day - 7, 0) if day - 7 <= self._end else 0
        return day - self._end <= 3 and 2 * n >= self._counts[self._end] and 5 * n >= week > 0


def _silent_and_closed(counts: Counts, first: int, last: int) -> tuple[set[int], set[int]]:
    silent, closed = set(), set()
    outage_days = _outage_days(counts, first, last)
    for day in range(first, last + 1):
        around = list(_around(counts, day, first, last, outage_days))
        usual = median_low(around) if around else 0
        if len(around) > 1 and usual >= LEAST_USUAL and counts.get(day, 0) * SILENT < usual:
            silent.add(day)
        elif day not in counts and not usual:
            closed.add(day)
    return silent, closed


def _around(counts: Counts, day: int, first: int, last: int, outage_days: set[int]) -> Iterator[int]:
    """Yield the events of the nearest days of the same weekday before and after, skipping long outages."""
    for days in (range(day - 7, first - 1, -7), range(day + 7, last + 1, 7)):
        compared = 0
        for other in days:
            if compared == WEEKS:
                break
            if other not in outage_days:
                compared += 1
                yield counts.get(other, 0)


def _outage_days(counts: Counts, first: int, last: int) -> set[int]:
    """Return the days of whole weeks with hardly any of the events both before and after them.

    Without them a long outage would count as usual. A slow start is none: there was nothing more before it.
    """
    sums = [sum(counts.get(first + i + j, 0) for j in range(7)) for i in range(last - first - 5)]
    # Two weeks must show what came before: the first batch of a monthly log is no level.
    before = list(accumulate((_level(sums, i, -7, 2) for i in range(len(sums))), max))
    after = list(accumulate((_level(sums, i, 7, 1) for i in reversed(range(len(sums)))), max))[::-1]
    days: set[int] = set()
    for i, events in enumerate(sums[7:-1], start=7):
        if events * SILENT < min(before[i - 7], after[i + 1]):
            days.update(range(first + i, first + i + 7))
    return days


def _level(sums: list[int], start: int, step: int, least: int) -> int:
    """Return the lower median of four weeks' events, fewer at an end of the log: one big day is no level."""
    weeks = [sums[i] for i in range(start, start + WEEKS * step, step) if 0 <= i < len(sums)]
    return median_low(weeks) if len(weeks) >= least else 0
