"""How each peer, and the platform at any commit, is started on a landing zone."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.kills import environment
from bench.pipeline.events import Landed
from bench.pipeline.job import STAGES
from bench.pipeline.measure import CHECKS, Measured, measured

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("run_platform.py")

PLATFORM, ON_SPARK = "platform", "platform-spark"
PEERS = ("polars", "duckdb", "pandas", "pyspark")

# Dagster's steps.
STEPS = {
    "raw_catalog__landing__events": "bronze",
    "clean_events": "silver",
    "main_catalog__clean__users": "users",
    "main_catalog__gold__user_daily_activity": "activity",
    "main_catalog__gold__user_monthly_activity": "activity",
    "main_catalog__gold__user_features": "features",
}


EMBEDDED = {"CHURN_DEPLOYMENT": "local"}
# As many cores as the peer in plain PySpark.
SPARK = {"CHURN_DEPLOYMENT": "spark", "CHURN_SPARK_MASTER": "local[2]"}


class Program(NamedTuple):
    """A peer by its name, or the platform as it is in a checkout."""

    name: str
    checkout: Path | None = None
    engine: dict[str, str] = EMBEDDED

    def run(self, landed: Landed, folder: Path) -> Measured:
        """Run it into a new lake below the folder.

        Raises:
            ProgramError: it fails.
        """
        lake = lake_in(folder)
        if self.checkout:
            settings = {
                **self.engine,
                "CHURN_LAKE_ROOT": str(lake),
                "CHURN_LANDING_ROOT": str(landed.landing),
                "CHURN_START_DATE": str(landed.dates.start),
                # No label is due before the last date, so none is computed.
                "CHURN_HORIZON_DAYS": "365",
                "PYTHONPATH": str(self.checkout),
            }
            command = [sys.executable, "-P", str(SCRIPT)]
            return measured(command, folder, environment(settings), lake, _of_steps)
        command = [sys.executable, "-P", "-m", "bench.pipeline.run_peer", self.name]
        command += [str(landed.landing), str(lake), *map(str, landed.dates)]
        variables = environment({"PYTHONPATH": str(REPOSITORY)})
        return measured(command, folder, variables, lake, lambda seconds: {**seconds, CHECKS: 0})


def lake_in(folder: Path) -> Path:
    """Where a program that runs in this folder has its lake."""
    return folder / "lake"


def _of_steps(steps: dict[str, float]) -> dict[str, float]:
    found: dict[str, float] = dict.fromkeys((*STAGES, CHECKS), 0.0)
    for step, seconds in steps.items():
        found[STEPS.get(step, CHECKS)] += seconds
    return found


def program(name: str) -> Program:
    """The program of this name, in this checkout."""
    if name == ON_SPARK:
        return Program(name, REPOSITORY, SPARK)
    return Program(name, REPOSITORY if name == PLATFORM else None)


@contextlib.contextmanager
def platform_at(commit: str) -> Iterator[Program]:
    """The platform at another commit, checked out for as long as the block runs."""
    name = git("rev-parse", "--short", commit)
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / name
        git("worktree", "add", "--detach", str(checkout), commit)
        try:
            # As an installed package is.
            compile_all = [sys.executable, "-m", "compileall", "-q", str(checkout / "churn_assets")]
            subprocess.run(compile_all, check=True)  # noqa: S603 - ourselves
            yield Program(f"{PLATFORM} at {name}", checkout)
        finally:
            git("worktree", "remove", "--force", str(checkout))


def git(*arguments: str) -> str:
    """What git says of this checkout."""
    command = ["git", "-C", str(REPOSITORY), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    return done.stdout.strip()
