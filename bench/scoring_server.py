"""The scoring server beside ``mlflow models serve``: the same versions, machine and minutes, in turns.

Measured are the version that ``make demo`` promotes and one of each kind of candidate: latency of one row
over one connection, throughput of 32 connections with two processes each, and the kernel beside scikit-learn,
without a server. Run: ``python -m bench.scoring_server``. With ``--lake FOLDER`` the demo is taken from this
lake and not made anew; ``--only NAME`` measures the versions with this in their names.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from bench import http_load, peers, served_models
from bench.http_load import Load
from bench.peers import Peer
from bench.served_models import ServedModel
from churn_assets.model.kernel.kernel import kernel_of

WORKERS = 2
CONNECTIONS = 32
ROUNDS = 3
PORTS = (18181, 18182)

Measure = Callable[[str, bytes], Load]

console = Console(width=170)


class Pair(NamedTuple):
    """What our server and MLflow's did with the same requests, and the seconds that they computed for it."""

    ours: Load
    theirs: Load
    our_cpu: float
    their_cpu: float

    def times(self, q: float) -> str:
        """Return the time within which this share of both's answers came, and their ratio, in words."""
        ours, theirs = self.ours.quantile(q) * 1e3, self.theirs.quantile(q) * 1e3
        return f"{ours:.2f} | {theirs:.2f} | {theirs / ours:.1f}"

    def rates(self) -> str:
        """Return both's answers a second, and their ratio, in words."""
        return f"{self.ours.rate:,.0f} | {self.theirs.rate:,.0f} | {self.ours.rate / self.theirs.rate:.1f}"

    def cpu(self) -> str:
        """Return the microseconds that both computed for a request, and their ratio, in words."""
        ours = self.our_cpu / len(self.ours.seconds) * 1e6
        theirs = self.their_cpu / len(self.theirs.seconds) * 1e6
        return f"{ours:,.0f} | {theirs:,.0f} | {theirs / ours:.1f}"


class InProcess(NamedTuple):
    """Milliseconds of one row and of 1,000 rows, by the kernel and by scikit-learn in one thread."""

    kernel_row: float
    row: float
    kernel_thousand: float
    thousand: float


class Measured(NamedTuple):
    """All figures of one version; ``request`` are the milliseconds of a request of 1,000 rows."""

    kind: str
    latency: Pair
    load: Pair
    request: float
    in_process: InProcess


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scoring_server")
    parser.add_argument(
        "--lake", type=Path, help="lake whose Production is measured; else the demo's is made"
    )
    parser.add_argument("--only", default="", help="part of the names of the versions to measure")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        measured = []
        for model in _models(Path(folder), options.lake, options.only):
            measured.append(_measured(model))
            console.print(f"{model.kind} is measured")
    _print(measured)


def _models(folder: Path, lake: Path | None, only: str) -> Iterator[ServedModel]:
    if only in served_models.PRODUCTION:
        settings = peers.settings_for(folder / "demo", PORTS[0], WORKERS, lake)
        yield served_models.of_the_demo(settings)
    yield from served_models.candidates(peers.settings_for(folder, PORTS[0], WORKERS), only)


def _measured(model: ServedModel) -> Measured:
    one_row, thousand = (
        orjson.dumps({"dataframe_records": served_models.rows(count).to_dict("records")})
        for count in (1, 1000)
    )
    with (
        peers.churn_serve(model.settings) as ours,
        peers.mlflow_serve(model.settings, PORTS[1], WORKERS) as theirs,
    ):
        servers = [ours, theirs]
        _in_turns(servers, one_row, lambda url, request: http_load.one_by_one(url, request, 200))  # warm
        latency = _in_turns(servers, one_row, lambda url, request: http_load.one_by_one(url, request, 1000))
        load = _in_turns(
            servers, one_row, lambda url, request: http_load.at_once(url, request, CONNECTIONS, 3.0)
        )
        request = http_load.post(ours.url, thousand, ours.headers)
        seconds = http_load.one_by_one(ours.url, request, 100).seconds
    return Measured(model.kind, latency, load, statistics.median(seconds) * 1e3, _in_process(model))


def _in_turns(servers: list[Peer], body: bytes, measure: Measure) -> Pair:
    """Measure the servers in turn, several times, so that a busy minute affects both of them."""
    loads: list[list[Load]] = [[] for _ in servers]
    cpu = [0.0 for _ in servers]
    for _ in range(ROUNDS):
        for number, peer in enumerate(servers):
            before = peer.cpu_seconds()
            loads[number].append(measure(peer.url, http_load.post(peer.url, body, peer.headers)))
            cpu[number] += peer.cpu_seconds() - before
    ours, theirs = map(_joined, loads)
    return Pair(ours, theirs, cpu[0], cpu[1])


def _joined(parts: list[Load]) -> Load:
    return Load(
        [second for part in parts for second in part.seconds],
        sum(part.failures + part.lost for part in parts),
        sum(part.elapsed for part in parts),
    )


def _in_process(model: ServedModel) -> InProcess:
    kernel, frame = kernel_of(model.estimator), served_models.rows(1000)
    if kernel is None:
        raise SystemExit(f"{model.kind} has no kernel")
    matrix, columns = frame.to_numpy(), list(model.estimator.feature_names_in_)
    frame = frame[columns]
    # scikit-learn as it would be served alone: in one thread, since two wait for each other.
    with threadpool_limits(1):
        return InProcess(
            _milliseconds(lambda: kernel.predict(matrix[:1]), 2000),
            _milliseconds(lambda: model.estimator.predict_proba(frame.head(1)), 100),
            _milliseconds(lambda: kernel.predict(matrix), 100),
            _milliseconds(lambda: model.estimator.predict_proba(frame), 50),
        )


def _milliseconds(call: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3


def _print(measured: list[Measured]) -> None:
    requests = Table(
        *(
            "version",
            "one row, p50, ms",
            "p99, ms",
            f"{CONNECTIONS} connections, a second",
            "p50, ms",
            "p99, ms",
        ),
        title="churn serve | mlflow models serve | ratio",
        box=None,
    )
    kernels = Table(
        *(
            "version",
            "one row, us",
            "scikit-learn",
            "1,000 rows, ms",
            "scikit-learn",
            "ratio",
            "in a request",
        ),
        title="The kernel beside scikit-learn, in one thread of one process",
        box=None,
    )
    for kind, latency, load, request, alone in measured:
        requests.add_row(
            *(kind, latency.times(0.5), latency.times(0.99)),
            *(load.rates(), load.times(0.5), load.times(0.99), load.cpu()),
        )
        kernels.add_row(
            *(kind, f"{alone.kernel_row * 1e3:.1f}", f"{alone.row * 1e3:,.0f}"),
            *(f"{alone.kernel_thousand:.2f}", f"{alone.thousand:.2f}"),
            *(f"{alone.kernel_thousand / alone.thousand:.2f}", f"{request:.2f}"),
        )
    console.print(requests)
    console.print(kernels)
    pairs = [pair for one in measured for pair in (one.latency, one.load)]
    answers = [load for pair in pairs for load in (pair.ours, pair.theirs)]
    console.print(
        f"failures: {sum(load.failures for load in answers)} of {sum(len(x.seconds) for x in answers):,}"
    )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
