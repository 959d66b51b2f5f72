"""Runs one peer in this process; the last line that it prints is JSON: the seconds of each stage."""

import datetime as dt
import importlib
import json
import sys
import time
from pathlib import Path

from bench.pipeline.job import Job
from churn_assets.dates import DateRange


def run(peer: str, job: Job) -> dict[str, float]:
    """Seconds of each stage of ``bench.pipeline.peers.<peer>``."""
    seconds = {}
    for stage, work in importlib.import_module(f"bench.pipeline.peers.{peer}").stages(job).items():
        started = time.perf_counter()
        work()
        seconds[stage] = time.perf_counter() - started
    return seconds


def main() -> None:
    """Runs the peer that the arguments name: its name, landing zone, lake, first and last date."""
    peer, landing, lake, *dates = sys.argv[1:]
    job = Job(Path(landing), Path(lake), DateRange(*map(dt.date.fromisoformat, dates)))
    print(json.dumps(run(peer, job)))


if __name__ == "__main__":
    main()
