"""A day's ``churn run`` with a month of events behind it and with three years: seconds, and their ratio.

The same simulated users, the same last day. All up to the day before is computed beforehand; then the last
day's file lands, and ``churn run`` takes it in, computes what it changes and scores.
"""

import argparse
import datetime as dt
import subprocess
import tempfile
import time
from pathlib import Path

from bench.kills import CHURN, environment
from churn_assets.dates import ONE_DAY
from churn_assets.sample.simulator import simulate

LAST = dt.date(2026, 6, 15)


def churn_run(folder: Path, start: dt.date) -> float:
    """Seconds of the command as a process."""
    settings = {
        "CHURN_LAKE_ROOT": str(folder / "lake"),
        "CHURN_LANDING_ROOT": str(folder / "landing"),
        "CHURN_START_DATE": str(start),
        "CHURN_DEPLOYMENT": "local",
    }
    started = time.perf_counter()
    subprocess.run(  # noqa: S603 - ourselves
        [CHURN, "run"], check=True, cwd=folder, env=environment(settings), stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def day(users: int, days: int) -> tuple[int, float]:
    """Events behind the last day, and the seconds that it takes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = LAST - (days - 1) * ONE_DAY
        about = simulate(
            str(folder / "landing"),
            folder / "truth.csv",
            users=users,
            days=days,
            start=start,
            seed=1,
            late_share=0.0,
            duplicate_share=0.0,
            corrupt_share=0.0,
        )
        (last,) = (folder / "landing").glob(f"*{LAST}*")
        aside = folder / last.name
        last.rename(aside)
        churn_run(folder, start)
        aside.rename(last)
        return about.events, churn_run(folder, start)


def main() -> None:
    """Prints both, and how many times longer the longer history takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument(
        "--days", type=int, nargs=2, default=(91, 1096), help="of the short and the long history"
    )
    asked = parser.parse_args()
    taken = []
    for days in asked.days:
        events, seconds = day(asked.users, days)
        print(f"{days} days, {events:,} events: {seconds:.1f} s", flush=True)
        taken.append(seconds)
    print(f"ratio: {taken[1] / taken[0]:.2f}")


if __name__ == "__main__":
    main()
