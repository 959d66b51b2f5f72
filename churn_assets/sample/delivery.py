"""The delivery of events as JSON lines, some of them late, duplicated or corrupted."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import compute

from churn_assets.sample.behaviour import EVENT_TYPES, MS_PER_DAY, PURCHASE, DayOfEvents
from churn_assets.sample.population import COUNTRIES, Ints, Population
from churn_assets.sample.text_columns import iso_times, joined

MOST_DAYS_LATE = 5
MOST_DAYS_TO_DUPLICATE = 3

# What can be wrong with a line; the first two are no JSON at all.
CORRUPTIONS = ("truncated", "not_json", "missing_user_id", "missing_event_id", "bad_event_ts")
# What a purchase costs, in a currency of the simulation: lognormal.
MEDIAN_PRICE = 30.0
PRICE_SPREAD = 0.8
# In six digits, which is how many are written.
HIGHEST_PRICE = 9_999.99

NOT_JSON = "upstream request timeout\n"
BAD_TIMES = ("yesterday", "2026-13-45T25:61:00.000Z", "", "0000-00-00")


@dataclass(frozen=True)
class Shares:
    """The shares of events, 0 to 1, that are late, duplicated or corrupted."""

    late: float
    duplicate: float
    corrupt: float


@dataclass(frozen=True)
class Delivery:
    """The lines that one day's events become, each with its newline.

    ``arrival_day`` counts days from the first simulated one; ``arrival_ms`` orders the lines of a day.
    """

    lines: pa.StringArray
    arrival_day: Ints
    arrival_ms: Ints
    late: int
    duplicates: int
    corrupt: Counter[str]

    def arriving(self, day: int) -> tuple[pa.StringArray, Ints]:
        """The lines of one arrival day, and their order keys."""
        chosen = np.flatnonzero(self.arrival_day == day)
        return self.lines.take(pa.array(chosen)), self.arrival_ms[chosen]


def deliver(
    events: DayOfEvents,
    population: Population,
    last_day: int,
    shares: Shares,
    rng: np.random.Generator,
) -> Delivery:
    """Send the events of one day; none arrives after ``last_day``.

    A corrupt event arrives only as its broken line, and only intact lines are delivered twice, so that
    lines = intact events + corrupt lines + duplicates, exactly.
    """
    count = len(events.ms)
    late = rng.random(count) < shares.late
    arrival_day = np.minimum(events.day + late * rng.integers(1, MOST_DAYS_LATE + 1, count), last_day)
    arrival_ms = np.where(arrival_day > events.day, rng.integers(0, MS_PER_DAY, count), events.ms)

    corrupt = np.flatnonzero(rng.random(count) < shares.corrupt)
    lines = json_lines(events, population, rng)
    lines, kinds = _corrupted(lines, corrupt, rng)

    twice = rng.random(count) < shares.duplicate
    twice[corrupt] = False
    again = np.flatnonzero(twice)
    # Half of the second copies come in the same file.
    delay = rng.integers(0, MOST_DAYS_TO_DUPLICATE + 1, len(again)) * (rng.random(len(again)) < 0.5)
    return Delivery(
        lines=pa.concat_arrays([lines, lines.take(pa.array(again))]),
        arrival_day=np.concatenate([arrival_day, np.minimum(arrival_day[again] + delay, last_day)]),
        arrival_ms=np.concatenate([arrival_ms, rng.integers(0, MS_PER_DAY, len(again))]),
        late=int((arrival_day > events.day).sum()),
        duplicates=len(again),
        corrupt=kinds,
    )


def json_lines(events: DayOfEvents, population: Population, rng: np.random.Generator) -> pa.StringArray:
    """The events as JSON lines; purchases have an amount.

    Types and countries are plain ASCII without quotes: nothing is escaped.
    """
    midnight = np.datetime64(events.date, "ms")
    return joined(
        '{"event_id":"',
        uuids(len(events.ms), rng),
        '","user_id":',
        pa.array(population.user_id[events.user]).cast(pa.string()),
        ',"event_ts":"',
        iso_times(pa.array(midnight + events.ms)),
        '","event_type":"',
        pa.array(EVENT_TYPES).take(pa.array(events.event_type)),
        '","country":"',
        pa.array(COUNTRIES).take(pa.array(population.country[events.user])),
        '"',
        _amounts(events, rng),
        "}\n",
    )


def _amounts(events: DayOfEvents, rng: np.random.Generator) -> pa.StringArray:
    """What follows the country: the price of a purchase, and nothing of other events."""
    # From a stream of its own, so that all else is drawn as it was before there were amounts.
    (prices,) = rng.spawn(1)
    is_purchase = events.event_type == PURCHASE
    drawn = prices.lognormal(np.log(MEDIAN_PRICE), PRICE_SPREAD, int(is_purchase.sum()))
    text = np.full(len(events.ms), "", dtype=object)
    # As short as a number is: 12.5 and not 12.50.
    text[is_purchase] = [f',"amount":{round(price, 2):g}' for price in np.minimum(drawn, HIGHEST_PRICE)]
    return pa.array(text, pa.string())


def uuids(count: int, rng: np.random.Generator) -> pa.StringArray:
    """Random version 4 UUIDs, drawn from ``rng``."""
    # integers() is defined by value, so this gives the same bytes on a big-endian machine.
    octets = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.full((count, 36), ord("-"), np.uint8)
    columns = np.array([i for i in range(36) if i not in (8, 13, 18, 23)])
    text[:, columns[0::2]] = digits[octets >> 4]
    text[:, columns[1::2]] = digits[octets & 15]
    offsets = np.arange(0, 36 * count + 1, 36, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def _corrupted(
    lines: pa.StringArray, where: Ints, rng: np.random.Generator
) -> tuple[pa.StringArray, Counter[str]]:
    kinds = rng.integers(0, len(CORRUPTIONS), len(where)).tolist()
    draws = rng.random(len(where)).tolist()
    broken = [
        _broken(line, CORRUPTIONS[kind], draw)
        for line, kind, draw in zip(lines.take(pa.array(where)).to_pylist(), kinds, draws, strict=True)
    ]
    mask = np.zeros(len(lines), bool)
    mask[where] = True
    replaced = compute.call_function(
        "replace_with_mask", [lines, pa.array(mask), pa.array(broken, pa.string())]
    )
    return replaced, Counter(CORRUPTIONS[kind] for kind in kinds)


def _broken(line: str, kind: str, draw: float) -> str:
    if kind == "truncated":
        # At least one character stays and the closing brace goes, so the rest is never JSON.
        return line[: 1 + int(draw * (len(line) - 3))] + "\n"
    if kind == "not_json":
        return NOT_JSON
    event = orjson.loads(line)
    if kind == "bad_event_ts":
        event["event_ts"] = BAD_TIMES[int(draw * len(BAD_TIMES))]
    else:
        del event[kind.removeprefix("missing_")]
    return orjson.dumps(event).decode() + "\n"
