"""Kills ``churn run`` while it makes a lake for the first time, and runs it again: each lake must run on.

    .venv/bin/python -m bench.kills --kills 40

A kill comes some milliseconds after a moment at which something is being made (Dagster's databases, a table,
MLflow's database, a model and its first version), or at a random second. Exit 1 if any lake does not run on.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

CHURN = Path(sys.executable).with_name("churn")
# Small, so that a run takes seconds; the databases are made all the same. A model takes 10,000 labelled rows,
# which 1,500 users have after 17 mature dates.
USERS = {"small": "60", "with a model": "1500"}
SAMPLE = ("simulate", "--days", "20", "--start", "2026-01-01", "--users")
SETTINGS = {"CHURN_HORIZON_DAYS": "3", "CHURN_START_DATE": "2026-01-01", "CHURN_END_DATE": "2026-01-20"}
PATIENCE_SECONDS = 3600

MOMENTS: dict[str, tuple[str, str | None, float]] = {
    # In which sample, what to wait for, below the folder, and up to how many seconds later to kill.
    "at any time": ("small", None, 12.0),
    "Dagster's databases are being made": ("small", "lake/dagster/.new", 1.5),
    "a table is being made": ("small", "lake/main_catalog/clean/events", 0.5),
    "MLflow's database is being made": ("small", "lake/mlflow/.mlflow.db-new", 4.0),
    "a model is being trained": ("with a model", "lake/mlflow/mlflow.db", 4.0),
    "a version is being registered and promoted": ("with a model", "lake/mlflow/artifacts", 4.0),
    "scores are being written": ("with a model", "lake/main_catalog/gold/churn_predictions", 5.0),
}


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with these settings, and without any of the caller's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CHURN_", "MLFLOW_"))}
    kept.pop("DAGSTER_HOME", None)
    return {**kept, **settings}


def killed_run(folder: Path, moment: str, random_: random.Random) -> str:
    """Start a run and kill it; what became of it."""
    _, path, most = MOMENTS[moment]
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [CHURN, "run"],
        cwd=folder,
        env=environment(SETTINGS),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _wait_for(process, (folder / path).exists if path else lambda: True)
    delay = random_.uniform(0, most)
    time.sleep(delay)
    was_at_work = process.poll() is None
    if was_at_work:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return f"killed {delay:.3f} s after" if was_at_work else "was over before"


def _wait_for(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    while not reached() and process.poll() is None:
        time.sleep(0.001)


def runs_on(folder: Path) -> str:
    """Run once more; empty if that succeeds."""
    done = subprocess.run(  # noqa: S603 - ourselves
        [CHURN, "run"],
        cwd=folder,
        env=environment(SETTINGS),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def main() -> None:
    """Kill and run, and say of each lake how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random_ = random.Random(arguments.seed)  # noqa: S311 - moments, not secrets
    failed = 0
    with tempfile.TemporaryDirectory() as root:
        for sample, users in USERS.items():
            landed = Path(root) / sample
            landed.mkdir()
            subprocess.run([CHURN, *SAMPLE, users], cwd=landed, env=environment(SETTINGS), check=True)  # noqa: S603 - ourselves
        for number in range(arguments.kills):
            folder = Path(root) / f"{number}"
            moment = list(MOMENTS)[number % len(MOMENTS)]
            shutil.copytree(Path(root) / MOMENTS[moment][0], folder)
            ended = killed_run(folder, moment, random_)
            wrong = runs_on(folder)
            failed += bool(wrong)
            print(f"{number + 1:3} {moment}: {ended}; {wrong or 'runs on'}", flush=True)
            shutil.rmtree(folder)
    print(f"{arguments.kills - failed} of {arguments.kills} lakes run on")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
