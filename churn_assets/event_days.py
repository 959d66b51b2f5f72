"""Which days a log of events covers, and which of them are silent, from its number of events a day alone.

No clock, no table and no engine: docs/adr/0021 has the rules and their reasons. A single event decides
nothing here: what is compared is a day's volume with that of the same weekday around it.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from statistics import median_low

from churn_assets.dates import ONE_DAY, DateRange, contiguous_ranges

# Wrong clocks may be so large a part of a log without moving its first or last day: one in a thousand.
STRAY = 1000

# Next to nothing: less than one in twenty of what is usual.
SILENT = 20

# By chance alone a weekday that usually has ten events has none once in 22,000 weeks; with five, in 150.
LEAST_USUAL = 10

# So many of the same weekday are looked at, on either side where both are there.
WEEKS = 4
# After a longer gap the days that follow must prove together that they are the log's own.
LONGEST_GAP = 14
# A lasting fall of the volume is believed after so many days.
DAYS_OF_COMPANY = 3

Counts = Mapping[int, int]


@dataclass(frozen=True)
class Piece:
    """Events that lie apart from all others: from which day to which, and how many."""

    dates: DateRange
    events: int


@dataclass(frozen=True)
class EventDays:
    """What the days of a log say.

    ``first`` and ``last``: the first day and the last complete one, both with a plausible volume; None of a
    log without events. ``silent``: days between them with next to nothing of what their weekday usually has.
    ``closed``: those without events on which that is usual. ``before``, ``after``: events outside them.
    """

    first: dt.date | None = None
    last: dt.date | None = None
    silent: frozenset[dt.date] = frozenset()
    closed: frozenset[dt.date] = field(default=frozenset(), repr=False)
    before: Piece | None = None
    after: Piece | None = None

    @cached_property
    def silences(self) -> list[tuple[DateRange, int]]:
        """Runs of silent days, each with their number. Closed days neither break nor lengthen a run."""
        found: list[tuple[DateRange, int]] = []
        for day in sorted(self.silent):
            if found and self._only_closed_days_between(found[-1][0].end, day):
                run, days = found[-1]
                found[-1] = (DateRange(run.start, day), days + 1)
            else:
                found.append((DateRange(day, day), 1))
        return found

    def outages(self, horizon_days: int) -> list[DateRange]:
        """Runs of silent days that are more than half of a horizon."""
        return [run for run, days in self.silences if 2 * days > horizon_days]

    def unlabelled(self, dates: DateRange, horizon_days: int, min_active_share: float) -> list[dt.date]:
        """Those feature_dates whose horizon says too little of who stayed away.

        Either too few of its days have events, or it overlaps an outage.

        Args:
            dates: feature_dates to judge. Of horizons that are not over nothing is said.
            horizon_days: days after a feature_date that its label looks at.
            min_active_share: the least share of these days that must not be silent.
        """
        outages = self.outages(horizon_days)
        found = []
        for day in dates.days() if self.silent else ():
            ahead = DateRange(day + ONE_DAY, day + horizon_days * ONE_DAY)
            active = horizon_days - sum(silent in self.silent for silent in ahead.days())
            overlaps = any(run.start <= ahead.end and ahead.start <= run.end for run in outages)
            if overlaps or active < min_active_share * horizon_days:
                found.append(day)
        return found

    def _only_closed_days_between(self, one: dt.date, other: dt.date) -> bool:
        return all(one + i * ONE_DAY in self.closed for i in range(1, (other - one).days))


def event_days(events: Mapping[dt.date, int], last_over: dt.date) -> EventDays:
    """Judge the days of a log.

    Args:
        events: events by UTC day; days without any may be left out.
        last_over: the last day that is over. Events of the day after it say only that closed days
            before it are complete.
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
        before=_piece({day: n for day, n in counts.items() if day < first}),
        after=_piece({day: n for day, n in counts.items() if day > last}),
    )


def ranges(days: Iterable[dt.date]) -> str:
    """Days in a few words: the first runs of them, and how many more there are."""
    found = contiguous_ranges(days)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(str(run) for run in found[:3]) + more


def _piece(counts: Counts) -> Piece | None:
    if not counts:
        return None
    first, last = map(dt.date.fromordinal, (min(counts), max(counts)))
    return Piece(DateRange(first, last), sum(counts.values()))


def _ends(counts: Counts) -> tuple[int, int]:
    """The first and the last day that belong to the log, sought from its middle event outwards."""
    middle = _middle(counts)
    last = _Walk(counts, middle).end()
    # Time backwards, and the same weekdays are together still.
    mirrored = {-day: n for day, n in counts.items()}
    return -_Walk(mirrored, -middle, is_start=True).end(), last


def _over_closed_days(counts: Counts, first: int, last: int, over: int) -> int:
    """The last of the days after the end that have no events because they never have many."""
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
    """The day of the middle event, which no thousandth of them can move far."""
    days = sorted(counts)
    sums = accumulate(counts[day] for day in days)
    half = sum(counts.values()) / 2
    return next(day for day, so_far in zip(days, sums, strict=True) if so_far >= half)


class _Walk:
    """From the middle of a log towards one end of it, as far as the days are plausible."""

    def __init__(self, counts: Counts, middle: int, *, is_start: bool = False) -> None:
        self._counts = counts
        self._days = sorted(counts)
        self._total = sum(counts.values())
        self._is_start = is_start
        self._end = middle
        dust = self._dust()
        self._solid = {day: n for day, n in counts.items() if day not in dust}
        # What several days must have together: more than wrong clocks have, and than half a day.
        self._company = max(self._total / STRAY, self._total / (2 * len(self._solid)))
        self._onwards = self._stretches()

    def end(self) -> int:
        """The last plausible day."""
        # Solid days since the end, and the events of all days since then: a level of their own, perhaps.
        solid = events = 0
        for day in [day for day in self._days if day > self._end]:
            solid, events = solid + (day in self._solid), events + self._counts[day]
            is_level = day in self._solid and solid >= DAYS_OF_COMPANY and events > self._company
            if is_level or self._is_plausible(day):
                self._end, solid, events = day, 0, 0
        return self._end

    def _dust(self) -> set[int]:
        """The smallest days, a thousandth of all events together: nothing is measured by them."""
        by_size = sorted(self._days, key=lambda day: self._counts[day])
        sums = accumulate(self._counts[day] for day in by_size)
        return {day for day, so_far in zip(by_size, sums, strict=True) if so_far * STRAY <= self._total}

    def _stretches(self) -> Counts:
        """By day, the events of it and of all that follow it without a long gap."""
        found: dict[int, int] = {}
        following, events = self._days[-1], 0
        for day in reversed(self._days):
            is_near = following - day <= LONGEST_GAP
            following, events = day, self._counts[day] + (events if is_near else 0)
            found[day] = events
        return found

    def _is_plausible(self, day: int) -> bool:
        n, usual = self._counts[day], self._usual(day)
        is_more_than_strays = n * STRAY > self._total
        if day - self._end > LONGEST_GAP and self._onwards[day] <= self._company:
            return False
        if self._is_start and is_more_than_strays and n * SILENT >= usual:
            # A log may begin at any hour of its first day.
            return True
        return (4 * n >= usual and (2 * n >= usual or is_more_than_strays)) or self._continues(day)

    def _usual(self, day: int) -> int:
        """What this weekday had in the eight weeks up to the end; of a new weekday what all days had."""
        window = range(self._end, self._end - 7 * 2 * WEEKS, -1)
        around = [self._solid[one] for one in window if one in self._solid]
        same = [self._solid[one] for one in window if (day - one) % 7 == 0 and one in self._solid]
        return median_low(same if len(same) >= 3 else around) if around else 0

    def _continues(self, day: int) -> bool:
        """Whether the day goes on from its neighbour and the week before it, as in a steep growth."""
        n, week = self._counts[day], self._counts.get(day - 7, 0) if day - 7 <= self._end else 0
        return day - self._end <= 3 and 2 * n >= self._counts[self._end] and 5 * n >= week > 0


def _silent_and_closed(counts: Counts, first: int, last: int) -> tuple[set[int], set[int]]:
    silent, closed = set(), set()
    dead = _dead(counts, first, last)
    for day in range(first, last + 1):
        around = list(_around(counts, day, first, last, dead))
        usual = median_low(around) if around else 0
        if len(around) > 1 and usual >= LEAST_USUAL and counts.get(day, 0) * SILENT < usual:
            silent.add(day)
        elif day not in counts and not usual:
            closed.add(day)
    return silent, closed


def _around(counts: Counts, day: int, first: int, last: int, dead: set[int]) -> Iterator[int]:
    """The nearest of the same weekday before and after, long outages passed over."""
    for side in (range(day - 7, first - 1, -7), range(day + 7, last + 1, 7)):
        taken = 0
        for one in side:
            if taken == WEEKS:
                break
            if one not in dead:
                taken += 1
                yield counts.get(one, 0)


def _dead(counts: Counts, first: int, last: int) -> set[int]:
    """Days of whole weeks with next to nothing of what there was both before and after them.

    A long outage would be its own usual without this. Not a slow start: there was nothing more before it.
    """
    sums = [sum(counts.get(first + i + j, 0) for j in range(7)) for i in range(last - first - 5)]
    # What came before must be known from two weeks: the first batch of a monthly log is no level.
    before = list(accumulate((_level(sums, i, -7, 2) for i in range(len(sums))), max))
    after = list(accumulate((_level(sums, i, 7, 1) for i in reversed(range(len(sums)))), max))[::-1]
    found: set[int] = set()
    for i, events in enumerate(sums[7:-1], start=7):
        if events * SILENT < min(before[i - 7], after[i + 1]):
            found.update(range(first + i, first + i + 7))
    return found


def _level(sums: list[int], start: int, step: int, least: int) -> int:
    """The lower median of four weeks' events, fewer at an end of the log: one big day is no level."""
    weeks = [sums[i] for i in range(start, start + WEEKS * step, step) if 0 <= i < len(sums)]
    return median_low(weeks) if len(weeks) >= least else 0
