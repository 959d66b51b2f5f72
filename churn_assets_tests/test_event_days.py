"""Which days of a log are its own, which are silent, and which horizons can be labelled.

The properties are those of docs/adr/0021: events with wrong times, up to a thousandth of all, move nothing.
"""

import datetime as dt
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.event_days import EventDays, StrayEvents, event_days, ranges

# A Thursday.
START = dt.date(2026, 1, 1)
MUCH_LATER = dt.date(2100, 1, 1)

Log = dict[dt.date, int]


def on(day: int) -> dt.date:
    return START + day * ONE_DAY


def log(days: int, volume: Callable[[int], float] | int) -> Log:
    """A log of so many days, by the volume of each."""
    counts = {on(i): int(volume(i)) if callable(volume) else volume for i in range(days)}
    return {day: n for day, n in counts.items() if n}


def judged(counts: Mapping[dt.date, int]) -> EventDays:
    return event_days(counts, MUCH_LATER)


def span(found: EventDays) -> tuple[dt.date | None, dt.date | None]:
    return found.first, found.last


def test_todays_events_say_that_closed_days_before_are_complete_and_nothing_of_open_ones() -> None:
    # Open from Thursday to Monday; day 68 is a Tuesday.
    counts = {day: n for day, n in log(68, lambda i: 0 if i % 7 in (5, 6) else 300).items() if day < on(68)}

    assert event_days(counts, on(69)).last == on(67)
    assert event_days({**counts, on(70): 5}, on(69)).last == on(69)
    assert event_days({**counts, on(71): 5}, on(70)).last == on(69)


def test_no_events_cover_no_day() -> None:
    assert judged({}) == EventDays()
    assert event_days({on(0): 5}, on(-1)) == EventDays()


def test_the_day_that_is_not_over_is_no_complete_one() -> None:
    assert event_days(log(10, 100), on(8)).last == on(8)


@pytest.mark.parametrize(
    "counts",
    [
        log(1, 1),
        log(1, 5_000),
        log(3, 100),
        {on(0): 1, on(6): 1},
        log(91, lambda i: 5 * 1000 ** (i / 90)),
        log(46, lambda i: 5 * 1000 ** (i / 45)),
        log(61, lambda i: 500 if i else 100_000),
        log(100, lambda i: 500 if i % 7 == 0 else 0),
        log(211, lambda i: 500 if i % 30 == 0 else 0),
        log(103, lambda i: 300 if i % 7 < 5 else 0),
        log(103, lambda i: 300 if i % 7 < 5 else 20),
        log(900, lambda i: 1000 if i % 365 < 120 else 150),
        log(60, lambda i: (7 * i * i) % 23 + 1),
    ],
    ids=[
        "one event",
        "one day",
        "three days",
        "two events",
        "from 5 to 5,000 a day in 90 days",
        "from 5 to 5,000 a day in 45 days",
        "an import of history on the first day",
        "weekly batches",
        "monthly batches",
        "closed at weekends",
        "quiet at weekends",
        "a season",
        "a small shop with good and bad days",
    ],
)
def test_a_log_without_a_fault_is_covered_whole_and_never_silent(counts: Log) -> None:
    found = judged(counts)

    assert span(found) == (min(counts), max(counts))
    assert (found.silent, found.before, found.after) == (frozenset(), None, None)


@pytest.mark.parametrize("mean", [1, 2, 5])
def test_days_without_events_are_no_silence_where_events_are_few(mean: int) -> None:
    draw = random.Random(7)
    counts = log(400, lambda _: sum(draw.random() < mean / 50 for _ in range(50)))

    assert len(counts) < 400
    assert not judged(counts).silent


def test_nine_days_without_events_of_30_a_day_are_silent() -> None:
    found = judged({day: n for day, n in log(90, 30).items() if not on(40) <= day <= on(48)})

    assert found.silences == [(DateRange(on(40), on(48)), 9)]
    assert found.unlabelled(DateRange(on(0), on(82)), 7, 0.5) == [on(i) for i in range(33, 48)]


def test_next_to_nothing_is_silent_and_a_bad_day_is_not() -> None:
    counts = {**log(90, 1000), on(40): 49, on(50): 50}

    assert judged(counts).silent == {on(40)}


@pytest.mark.parametrize("began", [15, 60, 300])
@pytest.mark.parametrize("days", [30, 75, 200])
def test_a_long_outage_does_not_become_usual(began: int, days: int) -> None:
    counts = log(began + days + 5, lambda i: 0 if began <= i < began + days else 1000)

    found = judged({day: n for day, n in counts.items() if n})

    assert found.silences == [(DateRange(on(began), on(began + days - 1)), days)]


def test_a_weekday_that_closes_for_good_is_closed_and_not_silent() -> None:
    found = judged(log(200, lambda i: 0 if i > 100 and i % 7 == 2 else 300))

    assert not found.silent
    assert on(107) in found.closed


def test_closed_days_neither_break_nor_lengthen_a_silence() -> None:
    counts = log(140, lambda i: 0 if i % 7 == 2 or 70 <= i <= 75 else 300)

    assert judged(counts).silences == [(DateRange(on(70), on(75)), 5)]


def test_a_short_silence_costs_no_label_and_one_of_more_than_half_of_the_horizon_does() -> None:
    found = judged(log(200, lambda i: 0 if 100 <= i < 111 else 300))

    assert found.unlabelled(DateRange(on(0), on(169)), 30, 0.5) == []
    assert found.unlabelled(DateRange(on(0), on(169)), 22, 0.5) == []
    assert found.unlabelled(DateRange(on(0), on(169)), 21, 0.5) == [on(i) for i in range(79, 110)]


def test_scattered_silent_days_cost_a_label_by_their_share() -> None:
    # 100, 101, 103, 104, 106, 107 and 109: no run is more than half of a horizon of 9 days.
    found = judged(log(200, lambda i: 0 if 100 <= i < 110 and i % 3 else 300))

    assert found.unlabelled(DateRange(on(0), on(190)), 9, 0.5) == [on(i) for i in range(97, 103)]
    assert found.unlabelled(DateRange(on(0), on(190)), 9, 0.3) == []


def test_a_true_last_day_may_have_less_than_usual_and_not_next_to_nothing() -> None:
    week = log(70, 1000)

    assert judged({**week, on(70): 300}).last == on(70)
    assert judged({**week, on(70): 60}).last == on(69)


def test_a_lasting_fall_is_believed_on_its_third_day() -> None:
    counts = [judged(log(days, lambda i: 1000 if i < 60 else 200)).last for days in range(60, 70)]

    assert counts == [on(59), on(59), on(59), *(on(i) for i in range(62, 69))]


def test_after_a_long_gap_a_few_events_are_not_the_next_day_and_the_old_volume_is() -> None:
    counts = log(60, 100)

    assert judged({**counts, on(100): 40}).last == on(59)
    assert judged({**counts, on(100): 100}).last == on(100)


def test_a_clock_45_days_ahead_moves_nothing_and_is_said() -> None:
    found = judged({**log(70, 30), on(114): 1})

    assert found.last == on(69)
    assert found.after == StrayEvents(DateRange(on(114), on(114)), 1)


def test_one_stray_a_day_for_two_months_is_not_what_a_day_usually_has() -> None:
    found = judged({**log(10, 10_000), **{on(-i): 1 for i in range(1, 61)}, on(10): 1})

    assert span(found) == (on(0), on(9))


def test_a_first_day_that_stands_alone_is_not_the_start_and_is_said() -> None:
    found = judged({**log(70, 30), on(-400): 1, on(-100): 1})

    assert found.first == on(0)
    assert found.before == StrayEvents(DateRange(on(-400), on(-100)), 2)


def test_runs_of_days_are_named_in_a_few_words() -> None:
    assert ranges([on(1), on(2), on(9)]) == "2026-01-02 to 2026-01-03, 2026-01-10"
    assert ranges(on(i) for i in range(0, 10, 2)) == "2026-01-01, 2026-01-03, 2026-01-05 and 2 more"


@dataclass(frozen=True)
class Shop:
    """A log by its kind, so that a failure names the kind and not each day."""

    days: int
    base: int
    growth: float
    weekend: float
    outage: tuple[int, int]
    seed: int

    @cached_property
    def counts(self) -> Log:
        noise, counts = random.Random(self.seed), {}
        for i in range(self.days):
            weekly = self.weekend if i % 7 in (2, 3) else 1.0
            volume = self.base * self.growth ** (i / self.days) * weekly * noise.uniform(0.85, 1.15)
            if round(volume) and not self.outage[0] <= i < sum(self.outage):
                counts[on(i)] = round(volume)
        return counts


# Of 20 days to 15 months: growing, shrinking, closed at weekends, with up to 12 days of outage inside.
SHOPS = st.builds(
    lambda before, after, gap, **kind: Shop(days=before + gap + after, outage=(before, gap), **kind),
    before=st.integers(10, 220),
    after=st.integers(10, 220),
    gap=st.integers(0, 12),
    base=st.sampled_from([30, 200, 1_000, 20_000]),
    growth=st.sampled_from([1.0, 0.5, 4.0]),
    weekend=st.sampled_from([1.0, 0.0, 0.8]),
    seed=st.integers(0, 9),
)


FAR = st.integers(-9_000, 9_000).filter(bool)
NEAR = st.integers(-20, 20).filter(bool)
SIXTY = settings(max_examples=60)


@st.composite
def wrong_times(draw: st.DrawFn, counts: Log) -> Log:
    """Up to a thousandth of a log's events before or after it, one by one or piled on few days.

    Within two weeks of the log a pile has less than half of its quietest day there: as many events as a day
    has, where a day could be, are a day.
    """
    days = sorted(counts)
    left = sum(counts.values()) // 1000
    added: Log = {}
    for offset in draw(st.lists(st.one_of(NEAR, FAR), min_size=1, max_size=30, unique=True)):
        day = days[0 if offset < 0 else -1] + offset * ONE_DAY
        at_the_end = days[:14] if offset < 0 else days[-14:]
        most = left if abs(offset) > 14 else min(left, (min(counts[one] for one in at_the_end) - 1) // 2)
        added[day] = most if draw(st.booleans()) else draw(st.integers(0, most))
        left -= added[day]
    return added


def with_added(counts: Log, added: Log) -> Log:
    return {day: counts.get(day, 0) + added.get(day, 0) for day in {*counts, *added}}


def of_labels(found: EventDays) -> tuple:
    whole = DateRange(found.first or START, found.last or START)
    return (*span(found), found.silent, found.unlabelled(whole, 7, 0.5), found.unlabelled(whole, 30, 0.5))


@SIXTY
@given(st.data(), SHOPS)
def test_a_thousandth_of_wrong_times_outside_a_log_moves_nothing(data: st.DataObject, shop: Shop) -> None:
    counts = shop.counts
    added = data.draw(wrong_times(counts))

    assert of_labels(judged(with_added(counts, added))) == of_labels(judged(counts))


@SIXTY
@given(st.data(), SHOPS)
def test_a_thousandth_of_wrong_times_anywhere_moves_no_first_and_no_last_day(
    data: st.DataObject, shop: Shop
) -> None:
    counts, added = shop.counts, {}
    left = sum(counts.values()) // 1000
    for day in data.draw(st.lists(st.integers(-500, 900), max_size=30, unique=True)):
        n = data.draw(st.integers(0, left))
        left, added[on(day)] = left - n, n

    assert span(judged(with_added(counts, added))) == span(judged(counts))


@pytest.mark.parametrize("distance", [15, 45, 700])
def test_a_whole_day_of_events_far_outside_a_log_of_five_years_moves_nothing(distance: int) -> None:
    counts = log(1800, 100)

    found = judged({**counts, on(-distance): 90, on(1799 + distance): 89})

    assert span(found) == (on(0), on(1799))


@SIXTY
@given(SHOPS, st.integers(0, 500))
def test_what_is_silent_lies_inside_and_the_ends_do_not_depend_on_days_to_come(shop: Shop, days: int) -> None:
    counts = shop.counts
    found = event_days(counts, on(days))

    assert found == event_days({day: n for day, n in counts.items() if day <= on(days + 1)}, on(days))
    assert all(found.first and found.last and found.first < day < found.last for day in found.silent)
