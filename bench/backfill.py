"""120 dates as one backfill and as single-date runs: seconds, how many times faster, and equal tables."""

import datetime as dt
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deltalake import DeltaTable

from bench.lakes import HORIZON, START, settings_of, simulated
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, DAILY_SUMMARY, USER_DAILY_ACTIVITY, USER_FEATURES, Table

if TYPE_CHECKING:
    from churn_assets.automation.runs.pipeline import Pipeline

T = TypeVar("T")

DATES = 120
MEASURED = 10
USERS = 2_000
TABLES = (USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_FEATURES, CHURN_LABELS)


def prepare(folder: Path) -> None:
    """Simulate, and take everything in: what a backfill starts from."""
    settings = settings_of(folder)
    simulated(settings, USERS, DATES + HORIZON, seed=1)
    pipeline(settings, lambda made: made.run_stage("ingest", dt.datetime.now(dt.UTC)))


def pipeline(settings: Settings, work: Callable[["Pipeline"], T]) -> T:
    """Do something with this lake's pipeline, in its own Dagster instance."""
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.runs.pipeline import Pipeline
    from churn_assets.graph import build_defs
    from churn_assets.resources import lakehouse

    with dagster_instance(settings) as instance:
        return work(Pipeline(build_defs(settings), lakehouse(settings), instance, lambda _: None))


def worker(folder: Path, dates: DateRange, tables: str) -> None:
    """What one run's process does: these dates of the four tables, or of activity alone."""
    from churn_assets.automation.staleness.plan import Plan, Step

    all_of_them = [Step(TABLES[:3], dates), Step(TABLES[3:], dates)]
    steps = all_of_them if tables == "all" else [Step((USER_DAILY_ACTIVITY,), dates)]
    plan = Plan(dates, {table: dict.fromkeys(dates.days(), "asked for") for table in TABLES})

    def work(made: "Pipeline") -> None:
        # As a sensor's or a backfill's run does, with no plan to make.
        for step in steps:
            made.runner.run_step(plan, step)

    started = time.perf_counter()
    pipeline(settings_of(folder), work)
    print(f"{time.perf_counter() - started:.3f}")


def in_a_process(folder: Path, dates: DateRange, tables: str = "all") -> tuple[float, float]:
    """Seconds of one run with its process, as Dagster's launcher starts it, and of its work alone."""
    arguments = [str(folder), str(dates.start), str(dates.end), tables]
    command = [sys.executable, "-m", "bench.backfill", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    return time.perf_counter() - started, float(done.stdout.split()[-1])


def rows(folder: Path, table: Table, dates: DateRange) -> Any:
    """The table's rows of these dates, in one order."""
    settings = settings_of(folder)
    location = settings.lake_root / settings.main_catalog / table.schema / table.name
    inside = [(table.partition_column, ">=", dates.start), (table.partition_column, "<=", dates.end)]
    found = DeltaTable(location).to_pyarrow_table(columns=table.content_columns, filters=inside)
    return found.sort_by([(name, "ascending") for name in table.content_columns])


def main() -> None:
    """Prints both, the ratio, and whether the tables are equal."""
    with tempfile.TemporaryDirectory() as temporary:
        one, single = Path(temporary) / "one", Path(temporary) / "single"
        prepare(one)
        shutil.copytree(one, single)
        whole = DateRange(START, START + (DATES - 1) * ONE_DAY)
        # Days with a full window behind them, as most have.
        first = START + 40 * ONE_DAY
        some = DateRange(first, first + (MEASURED - 1) * ONE_DAY)

        seconds, work = in_a_process(one, whole)
        # The activity that labels look ahead to is there before: a label comes when its horizon is over.
        in_a_process(single, whole.widened(before=0, after=HORIZON), "activity")
        singles = [in_a_process(single, DateRange(day, day)) for day in some.days()]
        extrapolated = sum(total for total, _ in singles) * DATES / MEASURED
        extrapolated_work = sum(alone for _, alone in singles) * DATES / MEASURED

        print(f"{DATES} dates in one run: {seconds:.1f} s, of which work {work:.1f} s")
        print(
            f"{DATES} single-date runs: {extrapolated:.0f} s, of which work {extrapolated_work:.0f} s "
            f"(measured on {MEASURED}: {sum(total for total, _ in singles):.1f} s, times {DATES // MEASURED})"
        )
        print(
            f"one run is {extrapolated / seconds:.0f} times faster (target 20), "
            f"without the processes' start {extrapolated_work / work:.0f} times"
        )
        equal = all(rows(one, table, some).equals(rows(single, table, some)) for table in TABLES)
        print(f"tables of the {MEASURED} dates are equal: {equal}")


if __name__ == "__main__":
    if len(sys.argv) == 5:
        worker(Path(sys.argv[1]), DateRange(*map(dt.date.fromisoformat, sys.argv[2:4])), sys.argv[4])
    else:
        main()
