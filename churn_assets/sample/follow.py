"""Live events of a sample's simulated users, landed in small files as they happen."""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.landing import list_files
from churn_assets.sample.behaviour import MS_PER_DAY, DayOfEvents, RateChange, events_of_day
from churn_assets.sample.delivery import MOST_DAYS_LATE, Shares, deliver
from churn_assets.sample.landing_writer import LandingWriter
from churn_assets.sample.population import Ints, Population, draw_population, random_stream
from churn_assets.sample.text_columns import end_to_end

# Two thousand users make two events a minute. So that there is something to see, time passes faster for them:
# a file has this many of the events of their day.
EVENTS_PER_FILE = 20

DAILY_FILE = re.compile(r"events-(\d{4}-\d{2}-\d{2})\.json(\.gz)?$")

# Streams of random numbers below this belong to whole days.
FIRST_LIVE_STREAM = 1_000_000


@dataclass(frozen=True)
class LandedFile:
    """One file: its name, its lines, and how many of its events are of an earlier day."""

    name: str
    lines: int
    late: int


def simulated_days(landing: str) -> DateRange | None:
    """The days of which ``churn simulate`` has landed a file; None if there is none.

    Raises:
        LandingError: the landing zone is missing or cannot be read.
    """
    matches = [DAILY_FILE.search(name) for name in list_files(landing).files]
    days = [dt.date.fromisoformat(match[1]) for match in matches if match]
    return DateRange(min(days), max(days)) if days else None


def follow(  # noqa: PLR0913 - one option of the command line each
    landing: str,
    sample: DateRange,
    *,
    users: int,
    seed: int,
    late_share: float,
    duplicate_share: float,
    corrupt_share: float,
    clock: Callable[[], dt.datetime],
    rates: RateChange | None = None,
) -> Iterator[LandedFile]:
    """Land the days that are missing up to yesterday, then one file each time it is asked, for ever.

    The users are those of ``simulate`` with the same ``users`` and ``seed``; those who have left stay away.

    Args:
        landing: folder or URI of the landing zone.
        sample: the days that were simulated.
        users: user_ids 1 to ``users``.
        seed: that of the sample.
        late_share: share of events that happened 1 to 5 days ago and arrive now.
        duplicate_share: share of events that arrive twice.
        corrupt_share: share of events that arrive as a broken line.
        clock: the time, UTC.
        rates: as in ``simulate``.

    Raises:
        LandingError: a file cannot be written.
    """
    writer = LandingWriter(landing)
    days = (sample.end - sample.start).days + 1
    population = draw_population(users, days, seed)
    shares = Shares(0.0, duplicate_share, corrupt_share)
    since = clock()
    for date in DateRange(sample.end + ONE_DAY, since.date() - ONE_DAY).days():
        day = (date - sample.start).days
        rng = random_stream(seed, day + 1)
        events = events_of_day(population, day, date, rng, rates)
        lines = deliver(events, population, day, shares, rng).lines
        name = f"events-{date}.json"
        writer.put(name, end_to_end(lines))
        yield LandedFile(name, len(lines), late=0)
    while True:
        now = clock()
        rng = random_stream(seed, FIRST_LIVE_STREAM + int(now.timestamp() * 1000))
        day = (now.date() - sample.start).days
        lately = _between(events_of_day(population, day, now.date(), rng, rates), since, now, rng)
        parts = _some_late(lately, population, late_share, rng)
        lines = pa.concat_arrays([deliver(part, population, day, shares, rng).lines for part in parts])
        name = f"live-{now:%Y%m%dT%H%M%S.%f}.json"
        with writer.create(name) as file:
            file.write(end_to_end(lines))
        since = now
        yield LandedFile(name, len(lines), late=sum(len(part.ms) for part in parts[1:]))


def _between(
    events: DayOfEvents, since: dt.datetime, now: dt.datetime, rng: np.random.Generator
) -> DayOfEvents:
    """A few events of the day, as if they had all happened since the last file."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    last = max(int((now - midnight).total_seconds() * 1000), 1)
    first = min(max(int((since - midnight).total_seconds() * 1000), 0), last - 1)
    chosen = rng.permutation(len(events.ms))[: max(1, rng.poisson(EVENTS_PER_FILE))]
    ms = np.sort(rng.integers(first, last, len(chosen)))
    return DayOfEvents(events.day, events.date, events.user[chosen], events.event_type[chosen], ms)


def _some_late(
    events: DayOfEvents, population: Population, share: float, rng: np.random.Generator
) -> list[DayOfEvents]:
    """The events of today, and after them those of each earlier day."""
    count = len(events.ms)
    lag = np.where(rng.random(count) < share, rng.integers(1, MOST_DAYS_LATE + 1, count), 0)
    # Nobody did anything before signing up.
    lag[population.signup_day[events.user] > events.day - lag] = 0
    return [
        _moved(events, np.flatnonzero(lag == back), back, rng)
        for back in [0, *np.unique(lag[lag > 0]).tolist()]
    ]


def _moved(events: DayOfEvents, chosen: Ints, back: int, rng: np.random.Generator) -> DayOfEvents:
    ms = events.ms[chosen] if not back else np.sort(rng.integers(0, MS_PER_DAY, len(chosen)))
    return DayOfEvents(
        events.day - back, events.date - back * ONE_DAY, events.user[chosen], events.event_type[chosen], ms
    )
