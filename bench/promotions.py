"""32 connections while Production moves every four seconds, and while a worker is killed.

Prints failures, lost connections, and whether each answer's probability is that of the version in its header.
Run: ``python -m bench.promotions``
"""

import itertools
import tempfile
import threading
import time
from pathlib import Path

import orjson
import psutil
from rich.console import Console

from bench import http_load, peers
from churn_assets.model.registry import registry
from churn_assets.serving.endpoint import VERSION_HEADER
from churn_assets.settings import Settings

CONNECTIONS = 32
SECONDS = 20.0
PROMOTE_EVERY = 4.0
KILL_AFTER = 5.0
WORKERS = 2
PORT = 18184

console = Console(width=110)


def main() -> None:
    """Measure and print."""
    row = peers.rows(1)
    body = orjson.dumps({"dataframe_records": row.to_dict("records")})
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = peers.settings_for(Path(folder), PORT, WORKERS)
        models = {str(seed): peers.train(settings, seed) for seed in (1, 2)}
        right = {(version, float(model.predict_proba(row)[0, 1])) for version, model in models.items()}
        with peers.churn_serve(settings) as server:
            request = http_load.post(server.url, body, server.headers)
            load = _while_doing(lambda stop: _promote(settings, stop), server.url, request)
            _print("Production moved every 4 s", load, right)
            back: list[float] = []
            load = _while_doing(lambda stop: back.extend(_kill_a_worker(stop)), server.url, request)
            _print("a worker killed with SIGKILL", load, right)
            console.print(f"  its successor was there after {back[0]:.1f} s" if back else "  none came back")


def _while_doing(disturb, url: str, request: bytes) -> http_load.Load:  # a function of an event that ends it
    stop = threading.Event()
    thread = threading.Thread(target=disturb, args=(stop,))
    thread.start()
    load = http_load.at_once(url, request, CONNECTIONS, SECONDS, _version_and_probability)
    stop.set()
    thread.join()
    return load


def _promote(settings: Settings, stop: threading.Event) -> None:
    for version in itertools.cycle("12"):
        registry.promote(settings, version)
        if stop.wait(PROMOTE_EVERY):
            return


def _kill_a_worker(stop: threading.Event) -> list[float]:
    """Kill one in the middle; how long it took until there were as many as before."""
    stop.wait(KILL_AFTER)
    before = _workers()
    before[0].kill()
    killed = time.monotonic()
    while len([worker for worker in _workers() if worker.pid != before[0].pid]) < len(before):
        if stop.wait(0.1):
            return []
    return [time.monotonic() - killed]


def _workers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            # The server holds the port too; its workers are the ones it has spawned.
            if listening and "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _version_and_probability(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    version = head.partition(f"{VERSION_HEADER}: ".encode())[2].partition(b"\r\n")[0]
    return version + b" " + body


def _print(what: str, load: http_load.Load, right: set[tuple[str, float]]) -> None:
    console.print(
        f"{what}: {len(load.seconds):,} answers in {load.elapsed:.0f} s over {CONNECTIONS} connections, "
        f"{load.failures} failures, {load.lost} connections lost, p99 {load.quantile(0.99) * 1e3:.1f} ms, "
        f"slowest {load.quantile(1) * 1e3:.0f} ms"
    )
    for answer, count in sorted(load.answers.items()):
        version, _, body = answer.partition(b" ")
        said = (version.decode(), orjson.loads(body)["predictions"][0])
        verdict = "of exactly that version" if said in right else "OF NO VERSION"
        console.print(f"  version {said[0]}: {count:,} times {said[1]!r}, {verdict}")


if __name__ == "__main__":
    main()
