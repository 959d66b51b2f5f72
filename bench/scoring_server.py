"""The scoring server beside ``mlflow models serve``: the same model, machine and minute, in turns.

Prints latency of one row over one connection, throughput of 32 connections with two processes each, and the
time of 1,000 rows in one request against scikit-learn alone. Run: ``python -m bench.scoring_server``
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from bench import http_load, peers
from bench.http_load import Load
from bench.peers import Peer

WORKERS = 2
CONNECTIONS = 32
ROUNDS = 3
PORTS = (18181, 18182)

Measure = Callable[[str, bytes], Load]

console = Console(width=110)


def _joined(parts: list[Load]) -> Load:
    return Load(
        [second for part in parts for second in part.seconds],
        sum(part.failures + part.lost for part in parts),
        sum(part.elapsed for part in parts),
    )


def _in_turns(servers: list[Peer], body: bytes, measure: Measure) -> dict[str, Load]:
    """Measure the servers in turn, several times, so that a busy minute affects all of them."""
    loads: dict[str, list[Load]] = {peer.name: [] for peer in servers}
    for _ in range(ROUNDS):
        for peer in servers:
            request = http_load.post(peer.url, body, peer.headers)
            loads[peer.name].append(measure(peer.url, request))
    return {name: _joined(parts) for name, parts in loads.items()}


def main() -> None:
    """Measure and print."""
    one_row = orjson.dumps({"dataframe_records": peers.rows(1).to_dict("records")})
    thousand_rows = peers.rows(1000)
    thousand = orjson.dumps({"dataframe_records": thousand_rows.to_dict("records")})
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = peers.settings_for(Path(folder), PORTS[0], WORKERS)
        estimator = peers.train(settings)
        with (
            peers.churn_serve(settings) as ours,
            peers.mlflow_serve(settings, PORTS[1], WORKERS) as theirs,
        ):
            servers = [ours, theirs]
            _in_turns(servers, one_row, lambda url, request: http_load.one_by_one(url, request, 300))  # warm
            latency = _in_turns(
                servers, one_row, lambda url, request: http_load.one_by_one(url, request, 1500)
            )
            load = _in_turns(
                servers, one_row, lambda url, request: http_load.at_once(url, request, CONNECTIONS, 5.0)
            )
            request = http_load.post(ours.url, thousand, ours.headers)
            http_load.one_by_one(ours.url, request, 20)
            http_seconds: list[float] = []
            model_seconds: list[float] = []
            for _ in range(100):
                http_seconds += http_load.one_by_one(ours.url, request, 1).seconds
                start = time.perf_counter()
                estimator.predict_proba(thousand_rows)
                model_seconds.append(time.perf_counter() - start)
    _print(latency, load, http_seconds, model_seconds)


def _print(
    latency: dict[str, Load], load: dict[str, Load], http_seconds: list[float], model_seconds: list[float]
) -> None:
    (ours, theirs), (our_load, their_load) = latency.values(), load.values()
    table = Table("measured", *latency, "ratio", "at least", title="One model, two servers", box=None)

    def line(what: str, a: float, b: float, unit: str, wanted: str = "") -> None:
        ratio = a / b if unit == "/s" else b / a
        table.add_row(what, f"{a:,.2f} {unit}", f"{b:,.2f} {unit}", f"{ratio:.1f}", wanted)

    for name, q in (("p50", 0.5), ("p99", 0.99)):
        a, b = ours.quantile(q) * 1e3, theirs.quantile(q) * 1e3
        line(f"one row, one connection, {name}", a, b, "ms", "4")
    what = f"{CONNECTIONS} connections, {WORKERS} processes"
    line(what, our_load.rate, their_load.rate, "/s", "5")
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        a, b = our_load.quantile(q) * 1e3, their_load.quantile(q) * 1e3
        line(f"{what}, {name}", a, b, "ms")
    console.print(table)
    http, model = statistics.median(http_seconds) * 1e3, statistics.median(model_seconds) * 1e3
    console.print(
        f"1,000 rows in one request: {http:.2f} ms; scikit-learn alone: {model:.2f} ms; "
        f"{http / model:.1f} times (at most 4)"
    )
    failures = sum(part.failures for part in (*latency.values(), *load.values()))
    console.print(
        f"failures: {failures} of {sum(len(x.seconds) for x in (*latency.values(), *load.values())):,}"
    )


if __name__ == "__main__":
    main()
