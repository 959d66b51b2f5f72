"""Event logs of which each event has a day on which it arrived, and what was known of users on any day.

Features are the platform's own (``transforms.running``), worked out in this process from what had arrived:
thousands of dates, each from another state of the log, would take the engine an hour.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import json as arrow_json

from bench.backfill import pipeline
from churn_assets.sample.simulator import simulate
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS
from churn_assets.transforms.running import known
from churn_assets.transforms.spans import NEVER, Ints, Spans

EPOCH = dt.date(1970, 1, 1)
MOST_DAYS_LATE = 10
# More than any day since 1970, so that a user and a day make one number.
CALENDAR = 1 << 20
# After all that ever arrives.
IN_THE_END = CALENDAR - 1

# A pandas DataFrame, whose own annotations lose it at the first filter.
Frame = Any
Together = Literal["events", "days"]


class Log(NamedTuple):
    """Events: whose, on which day (since 1970), what they brought, and ``line``, as which they land."""

    user: Ints
    day: Ints
    is_purchase: np.ndarray
    amount: np.ndarray
    line: pa.ChunkedArray | None = None


class Arrived(NamedTuple):
    """A log by user, day and day of arrival, sorted by user and day; ``cell`` numbers user and day."""

    user: Ints
    day: Ints
    arrival: Ints
    cell: Ints
    events: Ints
    purchases: Ints
    cents: np.ndarray
    with_amount: Ints


def number(day: dt.date) -> int:
    """Days since 1970."""
    return (day - EPOCH).days


def simulated_log(folder: Path, users: int, days: int, start: dt.date, seed: int) -> Log:
    """What the simulator lands of users among whom nothing is late, doubled or broken."""
    landing = folder / "at-once"
    simulate(
        str(landing),
        folder / "truth.csv",
        users=users,
        days=days,
        start=start,
        seed=seed,
        late_share=0,
        duplicate_share=0,
        corrupt_share=0,
    )
    return log_of(sorted(landing.glob("*.json")))


def log_of(files: Sequence[Path]) -> Log:
    """Landed files of well-formed events."""
    fields = [("user_id", pa.int64()), ("event_ts", pa.timestamp("ms")), ("event_type", pa.string())]
    as_said = arrow_json.ParseOptions(
        explicit_schema=pa.schema([*fields, ("amount", pa.float64())]), unexpected_field_behavior="ignore"
    )
    content = b"".join(file.read_bytes() for file in files)
    table = arrow_json.read_json(pa.BufferReader(content), parse_options=as_said)
    return Log(
        user=table["user_id"].to_numpy(),
        day=table["event_ts"].to_numpy().astype("datetime64[D]").astype("int64"),
        is_purchase=table["event_type"].to_numpy() == "purchase",
        amount=table["amount"].to_numpy(),
        line=pa.chunked_array([pa.array(content.splitlines(keepends=True), pa.binary())]),
    )


def arrival_days(log: Log, share: float, together: Together, rng: np.random.Generator) -> Ints:
    """The day on which each event arrives: this share 1 to 10 days late, the others on their own.

    Args:
        log: the events.
        share: which is late.
        together: ``events``, each for itself; or ``days``: all of a user and day or none, as from a device
            that was offline, or a shop that sends its day as one file.
        rng: who is late, and how much.
    """
    unit = np.arange(len(log.user))
    if together == "days":
        unit = np.unique(log.user * CALENDAR + log.day, return_inverse=True)[1]
    late = rng.random(len(unit)) < share
    delay = np.where(late, rng.integers(1, MOST_DAYS_LATE + 1, len(unit)), 0)
    return log.day + delay[unit]


def arrived(log: Log, arrival: Ints) -> Arrived:
    """The log as it is asked about, again and again."""
    order = np.lexsort((arrival, log.day, log.user))
    user, day, arrival = log.user[order], log.day[order], arrival[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(user) != 0) | (np.diff(day) != 0) | (np.diff(arrival) != 0)
    start = np.flatnonzero(is_first)
    cents = np.round(np.nan_to_num(log.amount[order]) * 100)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, start)

    key = user[start] * CALENDAR + day[start]
    return Arrived(
        user=user[start],
        day=day[start],
        arrival=arrival[start],
        cell=np.unique(key, return_inverse=True)[1],
        events=summed(np.ones(len(order), dtype="int64")),
        purchases=summed(log.is_purchase[order].astype("int64")),
        cents=summed(cents),
        with_amount=summed((~np.isnan(log.amount[order])).astype("int64")),
    )


def features(log: Arrived, at: int, first: int, last: int) -> Frame:
    """``gold.user_features`` of the dates ``first`` to ``last``, from what had arrived by the day ``at``."""
    seen = np.flatnonzero((log.arrival <= at) & (log.day <= last))
    cell = log.cell[seen]
    is_first = np.ones(len(seen), dtype=bool)
    is_first[1:] = np.diff(cell) != 0
    start = np.flatnonzero(is_first)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values[seen], start)

    user, day, purchases = log.user[seen][start], log.day[seen][start], summed(log.purchases)
    _, first_row, whose = np.unique(user, return_index=True, return_inverse=True)
    found = known(
        Spans(
            user=user,
            first_day=day,
            day=day,
            active_days=np.ones_like(day),
            gap_squares=np.zeros_like(day),
            longest_gap=np.zeros_like(day),
            events=summed(log.events),
            purchases=purchases,
            cents=summed(log.cents),
            with_amount=(summed(log.with_amount) > 0).astype("int64"),
            last_purchase=np.where(purchases > 0, day, NEVER),
            first_seen=day[first_row][whose].astype("float64"),
        ),
        first,
        last,
    )
    return pd.DataFrame({"user_id": found.user, "feature_date": found.date, **found.columns})


def as_known(log: Arrived, dates: Iterable[int]) -> Frame:
    """The features of each date from what had arrived by its end."""
    return pd.concat([features(log, date, date, date) for date in dates], ignore_index=True)


def labels(log: Arrived, at: int, rows: Frame, horizon_days: int) -> np.ndarray:
    """``gold.churn_labels`` of rows of features: 1 where what had arrived by ``at`` shows no event ahead."""
    seen = log.arrival <= at
    days = np.unique(log.user[seen] * CALENDAR + log.day[seen])
    asked = rows["user_id"].to_numpy() * CALENDAR + rows["feature_date"].to_numpy()
    ahead = days[np.minimum(np.searchsorted(days, asked, side="right"), len(days) - 1)]
    return np.where((ahead > asked) & (ahead <= asked + horizon_days), 0, 1)


def ingested_log(settings: Settings) -> Log:
    """What a lake's landing zone holds, as the platform's own cleaning leaves it."""
    from churn_assets.resources import lakehouse

    pipeline(settings, lambda made: made.run_stage("ingest", dt.datetime.now(dt.UTC)))
    columns = ("user_id", "event_date", "event_type", "amount")
    table = lakehouse(settings).read(EVENTS).select(*columns).toArrow()
    return Log(
        user=table["user_id"].to_numpy(),
        day=table["event_date"].cast(pa.int32()).to_numpy().astype("int64"),
        is_purchase=table["event_type"].to_numpy() == "purchase",
        amount=table["amount"].cast(pa.float64()).to_numpy(),
    )
