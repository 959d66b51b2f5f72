"""How the daily job grows: with the days behind a day, the dates in one run, users, and files.

    .venv/bin/python -m bench.growth --only behind,dates,users,files

``behind``: all is up to date to the day before, and was taken in long ago; then one day's file lands, and all
five tasks of the daily job run. ``dates``: events are in Silver; then so many dates of activity and features
are computed in one run. ``users`` and ``files``: a new lake, from the landing zone to ``user_features``. Each
measurement is of one process from start to exit, without Dagster's daemon.
"""

import argparse
import datetime as dt
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.kills import environment
from bench.pipeline.measure import Measured, measured
from bench.pipeline.programs import EMBEDDED, SCRIPT
from churn_assets.dates import ONE_DAY
from churn_assets.sample.simulator import simulate

LAST = dt.date(2026, 6, 30)
USERS = 10_000
DAYS_BEHIND = (30, 365, 1_095)
DATES = (1, 10, 100, 365)
MANY_USERS = (1_000, 10_000, 100_000)
DAYS_OF_USERS = 60
FILES = (60, 20_000)

TASKS = ("ingest", "featurize", "train", "score", "deploy")
# Parts of Dagster's step names, in the order of the table's columns; checks are what fits none.
PARTS = {
    "Bronze": ("landing__events",),
    "Silver": ("clean_events",),
    "users": ("clean__users",),
    "Gold": ("activity", "user_features", "daily_summary"),
    "labels": ("labels", "outcomes"),
    "model": ("model", "promotions"),
    "scores": ("predictions", "reasons", "drift"),
    "endpoint": ("online", "endpoint"),
}
CHECKS = "checks"


class Grown(NamedTuple):
    """One row: what was measured, of how many events, and how it went."""

    what: str
    lines: int
    found: Measured


class Lake:
    """A lake and its landing zone below a folder, and runs of the platform on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def landing(self) -> Path:
        """Where files land."""
        return self.folder / "landing"

    def simulate(self, users: int, days: int) -> int:
        """Land a file a day up to ``LAST``; return the number of lines."""
        return simulate(
            str(self.landing),
            self.folder / "truth.csv",
            users=users,
            days=days,
            start=LAST - (days - 1) * ONE_DAY,
            seed=1,
            late_share=0.02,
            duplicate_share=0.015,
            corrupt_share=0.002,
        ).lines

    def run(self, start: dt.date, *tasks: str, **variables: str) -> Measured:
        """Run tasks in a process of their own.

        Args:
            start: the first feature_date.
            tasks: what ``run_platform`` takes.
            variables: of its environment.

        Raises:
            ProgramError: the process fails.
        """
        settings = {
            **EMBEDDED,
            **variables,
            "CHURN_LAKE_ROOT": str(self.folder / "lake"),
            "CHURN_LANDING_ROOT": str(self.landing),
            "CHURN_START_DATE": str(start),
        }
        command = [sys.executable, "-P", str(SCRIPT), *tasks]
        return measured(command, self.folder, environment(settings), self.folder / "lake", _of_parts)


def _of_parts(steps: dict[str, float]) -> dict[str, float]:
    found = dict.fromkeys((*PARTS, CHECKS), 0.0)
    for step, seconds in steps.items():
        # A check's step has the name of its table as well.
        is_check = step.startswith("check")
        part = next((part for part, names in PARTS.items() if any(name in step for name in names)), CHECKS)
        found[CHECKS if is_check else part] += seconds
    return found


def behind(folder: Path) -> Iterator[Grown]:
    """One day's batch with a month, a year and three years behind it."""
    for days in DAYS_BEHIND:
        lake = Lake(folder / f"behind-{days}")
        lake.simulate(USERS, days + 1)
        start = LAST - days * ONE_DAY
        (last,) = lake.landing.glob(f"*{LAST}*")
        lines = len(last.read_bytes().splitlines())
        aside = last.rename(lake.folder / last.name)
        # The account of every line goes back a week, which the history must not be in.
        lake.run(start, *TASKS, BENCH_DAYS_AGO="10")
        aside.rename(last)
        yield Grown(f"a day with {days:,} days behind it", lines, lake.run(start, *TASKS))
        shutil.rmtree(lake.folder)


def dates(folder: Path) -> Iterator[Grown]:
    """So many dates in one run, of the same events."""
    whole = Lake(folder / "dates")
    start, lines = _first(max(DATES)), whole.simulate(USERS, max(DATES))
    whole.run(start, "ingest")
    for count in DATES:
        copied = Lake(folder / f"dates-{count}")
        shutil.copytree(whole.folder, copied.folder)
        # No horizon is over, so there is nothing to train on.
        found = copied.run(start, f"{_first(count)}:{LAST}", CHURN_HORIZON_DAYS="365")
        yield Grown(f"{count:,} dates in one run", lines, found)
        shutil.rmtree(copied.folder)
    shutil.rmtree(whole.folder)


def users(folder: Path) -> Iterator[Grown]:
    """Ten and a hundred times the users."""
    for count in MANY_USERS:
        lake = Lake(folder / f"users-{count}")
        lines = lake.simulate(count, DAYS_OF_USERS)
        yield Grown(f"{count:,} users", lines, lake.run(_first(DAYS_OF_USERS), "ingest", "featurize"))
        shutil.rmtree(lake.folder)


def files(folder: Path) -> Iterator[Grown]:
    """The same lines in many small files."""
    for count in FILES:
        lake = Lake(folder / f"files-{count}")
        lines = lake.simulate(USERS, DAYS_OF_USERS)
        _split(lake.landing, count)
        yield Grown(f"{count:,} files", lines, lake.run(_first(DAYS_OF_USERS), "ingest", "featurize"))
        shutil.rmtree(lake.folder)


def _first(count: int) -> dt.date:
    """Return the first of so many dates up to ``LAST``."""
    return LAST - (count - 1) * ONE_DAY


def _split(landing: Path, count: int) -> None:
    """Cut each day's file into parts of equally many lines, so that there are about ``count`` in all."""
    landed = sorted(landing.glob("*.json"))
    parts = count // len(landed)
    if parts < 2:
        return
    for file in landed:
        lines = file.read_bytes().splitlines(keepends=True)
        size = -(-len(lines) // parts)
        for number, place in enumerate(range(0, len(lines), size)):
            part = landing / f"{file.stem}-{number:04}.json"
            part.write_bytes(b"".join(lines[place : place + size]))
        file.unlink()


AXES: dict[str, Callable[[Path], Iterator[Grown]]] = {
    "behind": behind,
    "dates": dates,
    "users": users,
    "files": files,
}


def table(rows: Sequence[Grown]) -> str:
    """Return a row a measurement, with how many times longer it took than the first."""
    headings = ["", "lines", "wall s", "of the first", "CPU s", "peak GB", *PARTS, CHECKS]
    text = [f"| {' | '.join(headings)} |", f"|---|{'--:|' * (len(headings) - 1)}"]
    for row in rows:
        found = row.found
        cells = [
            row.what,
            f"{row.lines:,}",
            f"{found.wall:.1f}",
            f"{found.wall / rows[0].found.wall:.2f}",
            f"{found.cpu:.1f}",
            f"{found.peak / 1e9:.2f}",
            *(f"{found.parts[part]:.1f}" for part in (*PARTS, CHECKS)),
        ]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def main() -> None:
    """Prints a table for each axis."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default=",".join(AXES), help="some of these, separated by commas")
    asked = parser.parse_args().only.split(",")
    if unknown := set(asked) - set(AXES):
        parser.error(f"no such axes: {', '.join(sorted(unknown))}")
    for name in asked:
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            for row in AXES[name](Path(folder)):
                rows.append(row)
                print(f"{row.what}: {row.found.wall:.1f} s", file=sys.stderr, flush=True)
        print(f"{table(rows)}\n", flush=True)


if __name__ == "__main__":
    main()
