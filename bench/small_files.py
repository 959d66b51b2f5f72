"""A lake after many daily batches with late events: its files and reading it, before and after maintenance.

    .venv/bin/python -m bench.small_files --days 60

The same simulated log also lands at once in another lake, for what its tables take without daily batches.
"""

import argparse
import datetime as dt
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from deltalake import DeltaTable

from bench.backfill import pipeline
from bench.lakes import settings_of, simulated
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.maintenance import maintain
from churn_assets.lakehouse.opened import live_files
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, USER_DAILY_ACTIVITY, USER_FEATURES

TABLES = (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS, USER_DAILY_ACTIVITY, USER_FEATURES)
READS = 5


class Looked(NamedTuple):
    """A table: the files that it consists of, their bytes, those of all its files, and seconds to read it."""

    files: int
    megabytes: float
    on_disk: float
    seconds: float


def main() -> None:
    """Prints a table of each state of the lake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--days", type=int, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        daily, at_once = (settings_of(Path(temporary) / name) for name in ("daily", "at-once"))
        for settings in (daily, at_once):
            simulated(settings, asked.users, asked.days, seed=1)
        take_in(at_once)
        taken = day_by_day(daily)
        print(f"{asked.days} days of {asked.users:,} users; the last five batches: {taken}")
        states = {"at once": look(at_once), "day by day": look(daily)}
        started = time.perf_counter()
        tidy_up(daily)
        states[f"after maintenance ({time.perf_counter() - started:.1f} s)"] = look(daily)
        print(table(states))


def take_in(settings: Settings) -> None:
    """Do what ``churn run`` does up to the features."""
    now = dt.datetime.now(dt.UTC)
    pipeline(settings, lambda made: (made.run_stage("ingest", now), made.run_stage("featurize", now)))


def day_by_day(settings: Settings) -> str:
    """Release one file after the other; return the seconds of the last batches."""
    landing = Path(settings.landing_root)
    aside = landing.with_name("aside")
    landing.rename(aside)
    landing.mkdir()
    taken = []
    for file in sorted(aside.iterdir()):
        file.rename(landing / file.name)
        started = time.perf_counter()
        take_in(settings)
        taken.append(time.perf_counter() - started)
    return ", ".join(f"{seconds:.1f} s" for seconds in taken[-5:])


def tidy_up(settings: Settings) -> None:
    """Do what ``churn maintain --retention-hours 0`` does."""
    lake = lakehouse(settings)
    assert isinstance(lake, FolderLakehouse)  # noqa: S101 - of this deployment it is
    for one in TABLES:
        maintain(lake, one, (), 0)


def look(settings: Settings) -> dict[str, Looked]:
    """Return what each table is, by its name; the fastest of some readings."""
    lake = lakehouse(settings)
    assert isinstance(lake, FolderLakehouse)  # noqa: S101 - of this deployment it is
    found = {}
    for one in TABLES:
        location = lake.location(one)
        sizes = live_files(DeltaTable(location))["size_bytes"].to_pylist()
        on_disk = sum(file.stat().st_size for file in location.rglob("*.parquet"))
        seconds = []
        for _ in range(READS):
            started = time.perf_counter()
            lake.read(one).selectExpr(*(f"max({name})" for name in one.column_names)).collect()
            seconds.append(time.perf_counter() - started)
        found[f"{one.schema}.{one.name}"] = Looked(len(sizes), sum(sizes) / 1e6, on_disk / 1e6, min(seconds))
    return found


def table(states: dict[str, dict[str, Looked]]) -> str:
    """Return a row a table: files, MB, MB on disk with what is no longer used, and seconds to read."""
    headings = [f"{state}: {what}" for state in states for what in ("files", "MB", "MB on disk", "read s")]
    lines = [f"| | {' | '.join(headings)} |", f"|---|{'--:|' * len(headings)}"]
    for name in next(iter(states.values())):
        cells = []
        for state in states.values():
            found = state[name]
            cells += [
                f"{found.files:,}",
                f"{found.megabytes:.1f}",
                f"{found.on_disk:.1f}",
                f"{found.seconds:.2f}",
            ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
