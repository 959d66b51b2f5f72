"""What the step launcher adds to each step: everything that is not the cluster's own process.

A tiny graph's steps, over the emulated workspace on this machine: ``python -m bench.launcher_overhead``. The
shipped launcher cannot be measured beside it: it stages through the DBFS root and needs a global ``sc``.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from churn_assets_tests.databricks import tiny
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.environment import runtime_python

STEPS = ("source", "derived", "probe")


def main() -> None:
    """Run the steps some times at each poll interval, and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="Dagster runs of four steps at each interval")
    runs = parser.parse_args().runs
    print(f"load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, {runs} runs of 4 steps each")
    for poll_seconds in (0.2, 1.0, 5.0):
        overheads = measure(poll_seconds, runs)
        print(
            f"poll every {poll_seconds:3.1f} s: {statistics.median(overheads):.2f} s a step "
            f"(median; {min(overheads):.2f} to {max(overheads):.2f})"
        )


def measure(poll_seconds: float, runs: int) -> list[float]:
    """Seconds of the launcher in each step: from Dagster's start of it to its end, less the process's own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Workspace(Path(folder) / "workspace", python=runtime_python()) as workspace,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        launcher = tiny.make_launcher(workspace, Path(folder), databricks_poll_seconds=poll_seconds)
        overheads = []
        for _ in range(runs):
            started = time.monotonic()
            result = tiny.materialize(launcher, instance, *STEPS)
            seconds = time.monotonic() - started
            if not result.success:
                raise SystemExit("A step failed; see the log above.")
            steps = list(workspace.jobs.runs.values())[-4:]
            tasks = [task for run in steps for task in run.tasks.values()]
            inside = sum((task.ended - task.executing) / 1000 for task in tasks)
            overheads.append((seconds - inside) / len(steps))
    return overheads


if __name__ == "__main__":
    main()
