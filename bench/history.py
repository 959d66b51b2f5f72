"""One date of ``user_features`` with a month behind it and with three years: seconds, and their ratio.

Users are as dense as they get in practice: each is active on every third day, so that every month of
every user has a row. ``work`` is the table computed and written; ``step`` is that as a step of the platform,
with its checks.
"""

import argparse
import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from dateutil.relativedelta import relativedelta

from bench.backfill import pipeline
from bench.lakes import settings_of
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.staleness.plan import Plan, Step
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import USER_DAILY_ACTIVITY, USER_FEATURES, USER_MONTHLY_ACTIVITY, USERS, Table
from churn_assets.transforms import features
from churn_assets.transforms.features import first_whole_day

DATE = dt.date(2026, 6, 15)
SHARE_ACTIVE = 1 / 3


def months_before(day: dt.date, count: int) -> Iterator[dt.date]:
    """The first days of the months before the one that begins on ``day``, the latest first."""
    for back in range(1, count + 1):
        yield day - relativedelta(months=back)


def fill(lake: Lakehouse, users: int, months: int) -> None:
    """Days from the first that is read as a day, and ``months`` months before it."""
    random = np.random.default_rng(1)
    ids, first = np.arange(users), first_whole_day(DATE)
    start = first - relativedelta(months=months)

    def write(table: Table, columns: dict[str, pa.Array], dates: DateRange | None) -> None:
        lake.write(table, lake.spark.createDataFrame(pa.table(columns)), dates)

    seen = pa.array(np.full(users, np.datetime64(start)))
    nothing = pa.nulls(users, pa.string())
    columns = {"user_id": pa.array(ids), "first_seen_date": seen, "last_seen_date": seen, "country": nothing}
    write(USERS, columns | {"source_user_id": nothing}, None)

    for day in DateRange(first, DATE).days():
        active = ids[random.random(users) < SHARE_ACTIVE]
        table = activity(random, active)
        table["event_date"] = pa.array(np.full(len(active), np.datetime64(day)))
        write(USER_DAILY_ACTIVITY, table, DateRange(day, day))
    for month in months_before(first, months):
        end = month + relativedelta(months=1) - ONE_DAY
        is_active = random.random((users, end.day)) < SHARE_ACTIVE
        active = is_active.any(axis=1)
        table = activity(random, ids[active])
        table["month_end_date"] = pa.array(np.full(active.sum(), np.datetime64(end)))
        table["active_day_bits"] = pa.array((is_active @ (1 << np.arange(end.day)))[active])
        bought = table["purchases"].to_numpy() > 0
        table["last_purchase_date"] = pa.array(np.full(len(bought), np.datetime64(end)), mask=~bought)
        table["events"] = pa.array(table["events"].to_numpy() + 31)
        write(USER_MONTHLY_ACTIVITY, table, DateRange(end, end))


def activity(random: np.random.Generator, users: np.ndarray) -> dict[str, pa.Array]:
    """What these users did, of days and months alike."""
    purchases = random.integers(0, 2, len(users))
    amounts = pa.array(random.integers(1, 99_999, len(users)))
    return {
        "user_id": pa.array(users),
        "events": pa.array(purchases + random.integers(1, 9, len(users))),
        "purchases": pa.array(purchases),
        "amount": amounts.cast(pa.decimal128(26, 0)).cast(pa.decimal128(28, 2)),
    }


def seconds(settings: Settings, runs: int) -> tuple[float, float]:
    """Medians of the work alone and of the step, both after one that is not counted."""
    dates = DateRange(DATE, DATE)
    lake = lakehouse(settings)

    def work() -> None:
        days, months, users = map(lake.read, (USER_DAILY_ACTIVITY, USER_MONTHLY_ACTIVITY, USERS))
        lake.write(USER_FEATURES, features.user_features(days, months, users, dates), dates)

    plan = Plan(dates, {USER_FEATURES: {DATE: "asked for"}})

    def timed(made: Pipeline) -> tuple[float, float]:
        def step() -> None:
            made.runner.run_step(plan, Step((USER_FEATURES,), dates))

        medians = []
        for one in (work, step):
            taken = []
            for _ in range(runs + 1):
                started = time.perf_counter()
                one()
                taken.append(time.perf_counter() - started)
            medians.append(statistics.median(taken[1:]))
        return medians[0], medians[1]

    return pipeline(settings, timed)


def main() -> None:
    """Prints both, and how many times longer three years take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=40_000)
    parser.add_argument("--months", type=int, default=35, help="of the long history")
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    taken = {}
    for months in (0, asked.months):
        with tempfile.TemporaryDirectory() as folder:
            start = first_whole_day(DATE) - relativedelta(months=months)
            settings = settings_of(Path(folder), start=start)
            fill(lakehouse(settings), asked.users, months)
            taken[months] = seconds(settings, asked.runs)
        work, step = taken[months]
        print(f"{months} months before: work {work:.2f} s, step {step:.2f} s", flush=True)
    work, step = (long / short for long, short in zip(taken[asked.months], taken[0], strict=True))
    print(f"ratio: work {work:.2f}, step {step:.2f}")


if __name__ == "__main__":
    main()
