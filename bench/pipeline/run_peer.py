"""Runs one peer in this process; its last line is JSON: when the work began, and each stage's seconds."""

import datetime as dt
import importlib
import json
import sys
import time
from pathlib import Path

from bench.pipeline.job import Job
from churn_assets.dates import DateRange


def run(peer: str, job: Job) -> tuple[float, dict[str, float]]:
    """When the first stage of ``bench.pipeline.peers.<peer>`` began, and the seconds of each."""
    stages = importlib.import_module(f"bench.pipeline.peers.{peer}").stages(job)
    began, seconds = time.time(), {}
    for stage, work in stages.items():
        started = time.perf_counter()
        work()
        seconds[stage] = time.perf_counter() - started
    return began, seconds


def main() -> None:
    """Runs the peer that the arguments name: its name, landing zone, lake, first and last date."""
    peer, landing, lake, *dates = sys.argv[1:]
    job = Job(Path(landing), Path(lake), DateRange(*map(dt.date.fromisoformat, dates)))
    began, seconds = run(peer, job)
    print(json.dumps({"began": began, "seconds": seconds}))


if __name__ == "__main__":
    main()
