"""One training with default settings on a million labelled rows: seconds and peak memory.

Run: ``python -m bench.training``
"""

import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.lakes import HORIZON, START, settings_of
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, USER_DAILY_ACTIVITY, USER_FEATURES, USERS

# These give about 1,010,000 labelled rows.
POPULATION = 13_500
LABELLED_DATES = 150

TARGET_SECONDS, TARGET_GB = 60, 4


class Cost(NamedTuple):
    """The cost of a process from its start to its end."""

    seconds: float
    of_processor: float
    gigabytes: float


def prepare(folder: Path) -> None:
    """Write the Delta tables that the pipeline would compute from the simulated users' events."""
    from churn_assets.resources import lakehouse
    from churn_assets.transforms import activity as monthly
    from churn_assets.transforms import features, labels

    lake = lakehouse(settings_of(folder))
    dates = DateRange(START, START + (LABELLED_DATES - 1) * ONE_DAY)
    activity, users = (
        lake.spark.createDataFrame(rows, ", ".join(f"{c.name} {c.type}" for c in table.columns))
        for rows, table in zip(_simulated(), (USER_DAILY_ACTIVITY, USERS), strict=True)
    )
    months = monthly.user_monthly_activity(activity, dates)
    lake.write(USERS, users)
    lake.write(USER_FEATURES, features.user_features(activity, months, users, dates), dates)
    lake.write(CHURN_LABELS, labels.churn_labels(lake.read(USER_FEATURES), activity, dates, HORIZON), dates)


def train(settings: Settings) -> None:
    """Train as the asset does, without a Dagster run."""
    import dagster as dg

    from churn_assets.model import training
    from churn_assets.model.data import dataset
    from churn_assets.resources import resources

    definitions = resources(settings)
    lake = definitions["lakehouse"]
    run = dg.DagsterRun(job_name="training")
    with dg.build_resources({"mlflow": definitions["mlflow"]}, dagster_run=run) as opened:
        outcome = training.train_and_register(
            dataset.labelled_rows(lake.read(USER_FEATURES), lake.read(CHURN_LABELS)),
            mlflow=opened.mlflow,
            settings=settings,
            delta_versions={str(table): lake.version(table) for table in (USER_FEATURES, CHURN_LABELS)},
            users=lake.read(USERS),
        )
    print(f"Version {outcome.version}, {outcome.estimator}, is {outcome.status}. {outcome.reason}")
    print(f"{outcome.rows:,} labelled rows, {outcome.training_rows:,} of them trained on.")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        _in_a_process("prepare", folder)
        cost = _in_a_process("train", folder)
    print(
        f"{cost.seconds:.1f} s (target under {TARGET_SECONDS}), {cost.of_processor:.1f} s of processor time, "
        f"{cost.gigabytes:.2f} GB at most (target under {TARGET_GB}); imports and engine included"
    )


def _in_a_process(stage: str, folder: str) -> Cost:
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "bench.training", stage, folder])  # noqa: S603 - ourselves
    # Of this child only: for all children together, the operating system keeps the largest memory.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    in_kilobytes = 1024 if sys.platform == "darwin" else 1
    seconds = time.perf_counter() - started
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / in_kilobytes / 1024**2)


def _simulated() -> tuple[Any, Any]:
    """Simulate the rows of user_daily_activity and of users, each a pandas DataFrame."""
    import numpy as np
    import pandas as pd

    from churn_assets.sample.behaviour import PURCHASE, events_of_day
    from churn_assets.sample.population import draw_population, random_stream

    days = LABELLED_DATES + HORIZON
    population = draw_population(POPULATION, days, seed=1)

    def activity_of(day: int) -> Any:
        date: dt.date = START + day * ONE_DAY
        events = events_of_day(population, day, date, random_stream(1, day + 1))
        purchases = events.user[events.event_type == PURCHASE]
        counts = np.bincount(events.user, minlength=POPULATION)
        active = np.flatnonzero(counts)
        return pd.DataFrame(
            {
                "user_id": population.user_id[active],
                "event_date": date,
                "events": counts[active],
                "purchases": np.bincount(purchases, minlength=POPULATION)[active],
                "amount": None,
            }
        )

    activity: Any = pd.concat([activity_of(day) for day in range(days)])
    users = activity.groupby("user_id")["event_date"].agg(["min", "max"]).reset_index()
    users.columns = ["user_id", "first_seen_date", "last_seen_date"]
    return activity, users.assign(country="DE", source_user_id=None)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        stage, place = sys.argv[1], Path(sys.argv[2])
        prepare(place) if stage == "prepare" else train(settings_of(place))
    else:
        main()
