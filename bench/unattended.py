"""A platform that nobody looks after: live events, late ones, a server under load, and a kill a minute.

    .venv/bin/python -m bench.unattended --minutes 30

Events land all the time, some of them late. Each minute one process of the platform is killed (SIGKILL): of
Dagster its daemon, its code server, its web server or a run; of the scoring server a worker, its follower or
all of it. A supervisor, as systemd would, starts again what ended. In the end landing stops, one
``churn run`` takes in the rest, and it is counted: each line in Bronze once, failed runs that no later run
made good, memory in the second and the last third, the server's answers. Exit 1 if a line is lost or doubled.
"""

import argparse
import collections
import gzip
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil
import requests
from deltalake import DeltaTable

from bench import peers
from bench.kills import CHURN, environment
from churn_assets.serving.endpoint import ENDPOINT_NAME

PORT, UI_PORT = 18190, 18191
TOKEN = "unattended"  # noqa: S105 - of a server that runs for half an hour
# What a command line says of each process of ``dagster dev``; a run is one of the code server's children.
DAGSTER = {
    "Dagster's daemon": "dagster._daemon",
    "Dagster's code server": "api grpc",
    "Dagster's web server": "dagster_webserver",
    "a run": "execute_run",
}
SERVING = ("a scoring worker", "the scoring server")


@dataclass
class Supervised:
    """A command that is started again whenever it ends, as a service is."""

    arguments: tuple[str, ...]
    folder: Path
    environment: dict[str, str]
    starts: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None

    def keep_running(self) -> None:
        """Start it, wait for its end, start it again; in a thread of its own."""
        log = (self.folder / f"{self.arguments[0]}.log").open("ab")
        while not self.over.is_set():
            self.starts += 1
            self.process = subprocess.Popen(  # noqa: S603 - ourselves
                [CHURN, *self.arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self.process.wait()
            self.over.wait(1)

    def family(self) -> list[psutil.Process]:
        """The process and all that it has started."""
        try:
            own = psutil.Process(self.process.pid) if self.process else None
            return [own, *own.children(recursive=True)] if own else []
        except psutil.Error:
            return []

    def end(self) -> None:
        """Ask it to end, and its children with it."""
        self.over.set()
        family = self.family()
        for process in family:
            _signal(process, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            _signal(process, signal.SIGKILL)


@contextmanager
def supervised(folder: Path, settings: dict[str, str], *arguments: str) -> Iterator[Supervised]:
    """A command that runs for the time of the block."""
    service = Supervised(arguments, folder, environment(settings))
    thread = threading.Thread(target=service.keep_running, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.end()
        thread.join(30)


class Load(threading.Thread):
    """Somebody who asks the endpoint ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.answers, self.over = collections.Counter[str](), threading.Event()
        self._body = {"dataframe_records": peers.rows(1).to_dict("records")}

    def run(self) -> None:
        """Ask until it is over; an answer is its status, or why there is none."""
        url = f"http://127.0.0.1:{PORT}/serving-endpoints/{ENDPOINT_NAME}/invocations"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        while not self.over.wait(0.1):
            try:
                status = str(requests.post(url, json=self._body, headers=headers, timeout=30).status_code)
            except requests.RequestException as error:
                status = type(error).__name__
            self.answers[status] += 1


def main() -> None:
    """Run it, kill, count and say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="churn-unattended-") as root:
        sys.exit(0 if _unattended(Path(root), options) else 1)


def _unattended(folder: Path, options: argparse.Namespace) -> bool:
    settings = {
        "CHURN_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
        "CHURN_ENDPOINT_TOKEN": TOKEN,
        "CHURN_DAGSTER_URL": f"http://127.0.0.1:{UI_PORT}",
    }
    users = ("--users", str(options.users))
    _churn(folder, settings, "simulate", "--sample", *users)
    _churn(folder, settings, "run")
    random_, load, killed = random.Random(options.seed), Load(), collections.Counter[str]()  # noqa: S311
    memory: list[dict[str, int]] = []
    with (
        supervised(folder, settings, "serve") as serve,
        supervised(folder, settings, "dev", "--port", str(UI_PORT)) as dev,
        supervised(folder, settings, "simulate", "--follow", "--every", "5", "--late-share", "0.2", *users),
    ):
        load.start()
        until = time.monotonic() + options.minutes * 60
        next_kill = time.monotonic() + 90
        while time.monotonic() < until:
            time.sleep(5)
            memory.append({"dev": _resident(dev), "serve": _resident(serve)})
            if time.monotonic() > next_kill:
                next_kill += 60
                killed[_kill_one(random_, dev, serve)] += 1
        load.over.set()
        load.join()
        starts = {"dev": dev.starts, "serve": serve.starts}
    _churn(folder, settings, "run")
    verified = _churn(folder, settings, "verify", "--deep", check=False)
    print("killed:", ", ".join(f"{count} times {what}" for what, count in sorted(killed.items())))
    print("started:", ", ".join(f"{name} {count} times" for name, count in starts.items()))
    print("answers:", ", ".join(f"{count:,} times {what}" for what, count in sorted(load.answers.items())))
    for name in ("dev", "serve"):
        print(f"memory of {name}: {_thirds([one[name] for one in memory])}")
    print("runs:", _churn(folder, settings, "runs", check=False).stdout)
    print(_churn(folder, settings, "status", check=False).stdout)
    print("verify --deep:", "clean" if verified.returncode == 0 else verified.stdout)
    return not _lost_or_doubled(folder) and verified.returncode == 0


def _kill_one(random_: random.Random, dev: Supervised, serve: Supervised) -> str:
    what = random_.choice((*DAGSTER, *SERVING))
    if what in DAGSTER:
        found = [one for one in dev.family() if DAGSTER[what] in _command_of(one)]
    else:
        found = serve.family()[1:] if what == SERVING[0] else serve.family()[:1]
    if not found:
        return f"{what} (there was none)"
    _signal(random_.choice(found), signal.SIGKILL)
    return what


def _thirds(resident: list[int]) -> str:
    # The first has the start in it.
    third = max(len(resident) // 3, 1)
    middle, last = median(resident[third : 2 * third] or resident), median(resident[-third:])
    return f"{middle / 1e6:.0f} MB in the second third, {last / 1e6:.0f} in the last"


def _lost_or_doubled(folder: Path) -> int:
    landing = folder / "lake" / "landing" / "events"
    landed = {path.name: _lines(path) for path in landing.iterdir() if path.is_file()}
    bronze = DeltaTable(folder / "lake" / "raw_catalog" / "landing" / "events")
    taken_in = collections.Counter(
        bronze.to_pyarrow_table(columns=["_source_file"])["_source_file"].to_pylist()
    )
    wrong = sum(abs(taken_in[name] - lines) for name, lines in landed.items())
    print(f"landed {sum(landed.values()):,} lines in {len(landed):,} files; {wrong} lost or doubled")
    return wrong


def _lines(path: Path) -> int:
    body = path.read_bytes()
    return len((gzip.decompress(body) if path.suffix == ".gz" else body).splitlines())


def _churn(
    folder: Path, settings: dict[str, str], *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(  # noqa: S603 - ourselves
        [CHURN, *arguments],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        sys.exit(f"churn {' '.join(arguments)} failed: {done.stderr}")
    return done


def _resident(service: Supervised) -> int:
    total = 0
    for process in service.family():
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


if __name__ == "__main__":
    main()
