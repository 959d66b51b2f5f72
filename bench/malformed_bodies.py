"""Sends 10,000 malformed bodies to ``churn serve``, and prints the statuses and its workers' memory.

Run: ``python -m bench.malformed_bodies``
"""

import collections
import os
import tempfile
import time
from pathlib import Path

import psutil
import requests
from rich.console import Console

from bench import peers
from churn_assets_tests.serving.malformed import malformed_bodies

BODIES = 10_000
WARM = 500
WORKERS = 2
PORT = 18183


def _resident_bytes() -> int:
    """Return the memory of all child processes, which include the server's workers."""
    return sum(child.memory_info().rss for child in psutil.Process(os.getpid()).children(recursive=True))


def _statuses(server: peers.Peer, count: int, seed: int) -> collections.Counter[int]:
    headers = {**server.headers, "content-type": "application/json"}
    with requests.Session() as session:
        return collections.Counter(
            session.post(server.url, data=body, headers=headers, timeout=30).status_code
            for body in malformed_bodies(count, seed)
        )


def main() -> None:
    """Send the bodies and print the result."""
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = peers.settings_for(Path(folder), PORT, WORKERS)
        peers.train(settings)
        with peers.churn_serve(settings) as server:
            _statuses(server, WARM, seed=1)
            before, started = _resident_bytes(), time.perf_counter()
            statuses = _statuses(server, BODIES, seed=2)
            seconds, after = time.perf_counter() - started, _resident_bytes()
    answers = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
    console.print(f"{BODIES:,} malformed bodies in {seconds:.1f} s: {answers} (no 5xx wanted)")
    console.print(
        f"resident memory of the server's processes: {before / 1e6:.1f} MB before, "
        f"{after / 1e6:.1f} MB after ({(after - before) / 1e6:+.1f} MB)"
    )


if __name__ == "__main__":
    main()
