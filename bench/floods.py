"""The scoring server under floods: what its workers hold before, during and after, and what it answers.

Each flood comes from this process, over sockets, at a server that was started for it. ``ulimit -n`` of this
shell must allow 10,000 connections. Run: ``python -m bench.floods``; ``--only NAME`` sends the floods with
this in their names.
"""

import argparse
import collections
import contextlib
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import psutil
import requests
from rich.console import Console

from bench import peers
from bench.peers import Peer

PORT = 18183
MEGABYTE = 1024 * 1024
BODY_BYTES = 16 * MEGABYTE
SENDERS = 4
# Of one connection; nobody has a head of so much.
HEAD_BYTES = 70 * MEGABYTE
CONNECTIONS = 5_000
SLOW_CONNECTIONS = 10_000
WAIT_SECONDS = 60

console = Console(width=150)

Outcome = collections.Counter[str]


class Memory:
    """The resident bytes of a server's processes, looked at while something happens."""

    def __init__(self, pid: int) -> None:
        self._server = psutil.Process(pid)
        self._stop = threading.Event()
        self.highest = self.largest_worker = 0
        self.workers = self._pids()

    def now(self) -> int:
        """Return what its children hold together."""
        return sum(self._each().values())

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note the highest values while the block runs."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def ended(self) -> int:
        """Return how many of the processes that were there at first are gone."""
        return len(self.workers - self._pids())

    def _watch(self) -> None:
        while True:
            each = self._each().values()
            self.highest = max(self.highest, sum(each))
            self.largest_worker = max(self.largest_worker, *each, 0)
            if self._stop.wait(0.02):
                return

    def _each(self) -> dict[int, int]:
        held = {}
        for process in self._server.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                held[process.pid] = process.memory_info().rss
        return held

    def _pids(self) -> set[int]:
        return set(self._each())


def main(arguments: Sequence[str] = ()) -> None:
    """Flood and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.floods")
    parser.add_argument("--only", default="", help="part of the names of the floods to send")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = peers.settings_for(Path(folder), PORT, workers=2)
        peers.train(settings)
        for name, flood in FLOODS.items():
            if options.only in name:
                with peers.churn_serve(settings) as peer:
                    console.print(f"[bold]{name}[/]: {flooded(peer, flood)}")


class Flooded(NamedTuple):
    """The bytes of a server before, during and after a flood, its processes that ended, what it answered."""

    before: int
    highest: int
    largest_worker: int
    after: int
    ended: int
    outcome: Outcome

    def __str__(self) -> str:
        return (
            f"all processes {self.before / 1e6:.0f} MB before, {self.highest / 1e6:.0f} at most "
            f"(one {self.largest_worker / 1e6:.0f}), {self.after / 1e6:.0f} after; {self.ended} ended; "
            + ", ".join(f"{count} times {what}" for what, count in sorted(self.outcome.items()))
        )


def flooded(peer: Peer, flood: Callable[[Peer], Outcome]) -> Flooded:
    """Send a flood at a server."""
    memory = Memory(peer.pid)
    before = memory.now()
    with memory.watched():
        outcome = flood(peer)
    time.sleep(2)
    return Flooded(before, memory.highest, memory.largest_worker, memory.now(), memory.ended(), outcome)


def _bodies(peer: Peer, body: bytes, headers: dict[str, str]) -> Outcome:
    outcome: Outcome = collections.Counter()

    def send() -> None:
        try:
            status = str(
                requests.post(peer.url, data=body, headers=headers, timeout=WAIT_SECONDS).status_code
            )
        except requests.RequestException as error:
            status = type(error).__name__
        outcome[status] += 1

    senders = [threading.Thread(target=send) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    slowest = 0.0
    while any(sender.is_alive() for sender in senders):
        slowest = max(slowest, _ping(peer))
        time.sleep(0.05)
    outcome[f"a ping within {slowest:.2f} s"] += 1
    return outcome


def _empty_objects(peer: Peer) -> Outcome:
    rows = b"{}," * ((BODY_BYTES - 40) // 3)
    body = b'{"dataframe_records":[' + rows + b"{}]}"
    return _bodies(peer, body, {**peer.headers, "Content-Type": "application/json"})


def _many_values(peer: Peer) -> Outcome:
    count = (BODY_BYTES - 200) // 12
    lines = b",".join(b"[1,1,1,1,1,1]" for _ in range(count // 2 - 10))
    columns = json.dumps(list(peers.WINDOW_FEATURES)).encode()
    body = b'{"dataframe_split":{"columns":' + columns + b',"data":[' + lines[: BODY_BYTES - 300]
    body = body[: body.rindex(b"]") + 1] + b"]}}"
    return _bodies(peer, body, {**peer.headers, "Content-Type": "application/json"})


def _just_allowed(peer: Peer) -> Outcome:
    row = json.dumps(peers.rows(1).to_dict("records")[0]).encode()
    body = b'{"dataframe_records":[' + b",".join([row] * 90_000) + b"]}"
    return _bodies(peer, body[:BODY_BYTES], {**peer.headers, "Content-Type": "application/json"})


def _without_token(peer: Peer) -> Outcome:
    return _bodies(peer, b"{}," * (BODY_BYTES // 3), {"Content-Type": "application/json"})


def _endless_head(peer: Peer) -> Outcome:
    outcome: Outcome = collections.Counter()
    with _connected(peer) as sock:
        sent, line = 0, b"x-filler: " + b"a" * 65_000 + b"\r\n"
        try:
            sock.sendall(b"GET /ping HTTP/1.1\r\nhost: here\r\n")
            while sent < HEAD_BYTES:
                sock.sendall(line)
                sent += len(line)
        except OSError as error:
            outcome[f"{type(error).__name__} after {sent / 1e6:.1f} MB"] += 1
        outcome[_first_line(sock)] += 1
    return outcome


def _slow_heads(peer: Peer) -> Outcome:
    return _standing(peer, SLOW_CONNECTIONS, b"GET /ping HTTP/1.1\r\nhost: here\r\nx-slow: ")


def _silent(peer: Peer) -> Outcome:
    return _standing(peer, CONNECTIONS, b"")


def _standing(peer: Peer, count: int, sent: bytes) -> Outcome:
    outcome: Outcome = collections.Counter()
    slowest = 0.0
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(_connected(peer)) for _ in range(count)]
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.sendall(sent)
        slowest = max(_ping(peer) for _ in range(20))
        deadline = time.monotonic() + 20
        left = socks
        while left and time.monotonic() < deadline:
            time.sleep(1)
            left = [sock for sock in left if _trickles(sock, sent)]
        outcome[f"a ping within {slowest:.2f} s while they stood"] += 1
        outcome["connection closed by the server within 20 s"] = count - len(left)
    return outcome


def _trickles(sock: socket.socket, sent: bytes) -> bool:
    """Send a byte more of the head, and return whether the connection still stands."""
    try:
        if sent:
            sock.sendall(b"a")
        sock.settimeout(0)
        return bool(sock.recv(4096)) and False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _ping(peer: Peer) -> float:
    started = time.monotonic()
    parsed = urlparse(peer.url)
    try:
        requests.get(f"{parsed.scheme}://{parsed.netloc}/ping", timeout=30).raise_for_status()
    except requests.RequestException:
        return 99.0
    return time.monotonic() - started


def _connected(peer: Peer) -> socket.socket:
    parsed = urlparse(peer.url)
    return socket.create_connection((parsed.hostname, parsed.port), timeout=10)


def _first_line(sock: socket.socket) -> str:
    try:
        return sock.makefile("rb").readline().decode().strip() or "closed without an answer"
    except OSError as error:
        return type(error).__name__


FLOODS: dict[str, Callable[[Peer], Outcome]] = {
    "16 MB of empty objects": _empty_objects,
    "16 MB of numbers": _many_values,
    "90,000 rows": _just_allowed,
    "16 MB without a token": _without_token,
    "a head of 70 MB": _endless_head,
    "10,000 heads that never end": _slow_heads,
    "5,000 silent connections": _silent,
}


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
