"""A load generator for one fixed request: one connection in turn, or many at once.

Written on sockets, because a client library takes longer for a request than the server that is measured.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlparse

import uvloop


@dataclass(frozen=True)
class Load:
    """What came of it: seconds each answer took, how many were no 200, and how long all took.

    ``answers`` counts what ``at_once`` was told to tell apart; ``lost`` connections were closed too early.
    """

    seconds: list[float]
    failures: int
    elapsed: float
    answers: Counter[bytes] = field(default_factory=Counter)
    lost: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.elapsed

    def quantile(self, q: float) -> float:
        """The seconds within which this share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def post(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole HTTP/1.1 request."""
    parsed = urlparse(url)
    lines = [
        f"POST {parsed.path} HTTP/1.1",
        f"Host: {parsed.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def one_by_one(url: str, request: bytes, count: int) -> Load:
    """The same request again and again over one connection."""
    seconds, failures = [], 0
    with socket.create_connection(_address(url)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        for _ in range(count):
            start = time.perf_counter()
            connection.sendall(request)
            answer = b""
            while not _is_whole(answer):
                answer += connection.recv(1 << 20)
            seconds.append(time.perf_counter() - start)
            failures += not answer.startswith(b"HTTP/1.1 200")
        return Load(seconds, failures, time.perf_counter() - began)


def at_once(
    url: str, request: bytes, connections: int, seconds: float, tell: Callable[[bytes], bytes] | None = None
) -> Load:
    """As many requests as the server answers, over many connections, each of which waits for its answer.

    Args:
        url: of the server.
        request: what ``post`` returns.
        connections: how many at once.
        seconds: for how long.
        tell: what of each whole answer is counted; nothing without it.
    """
    return uvloop.run(_at_once(url, request, connections, seconds, tell))


async def _at_once(
    url: str, request: bytes, connections: int, seconds: float, tell: Callable[[bytes], bytes] | None
) -> Load:
    loop, address = asyncio.get_running_loop(), _address(url)
    load = Load([], 0, 0.0)
    began = time.perf_counter()
    protocols = [_Connection(request, began + seconds, load, tell) for _ in range(connections)]
    for protocol in protocols:
        await loop.create_connection(lambda made=protocol: made, *address)
    await asyncio.gather(*(protocol.done for protocol in protocols))
    return replace(
        load,
        failures=sum(protocol.failures for protocol in protocols),
        lost=sum(protocol.lost for protocol in protocols),
        elapsed=time.perf_counter() - began,
    )


def _address(url: str) -> tuple[str, int]:
    parsed = urlparse(url)
    return parsed.hostname or "127.0.0.1", parsed.port or 80


class _Connection(asyncio.Protocol):
    def __init__(
        self, request: bytes, until: float, load: Load, tell: Callable[[bytes], bytes] | None
    ) -> None:
        self._request = request
        self._until = until
        self._load = load
        self._tell = tell
        self._answer = b""
        self.failures = 0
        self.lost = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP has no other
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_whole(self._answer):
            return
        now = time.perf_counter()
        self._load.seconds.append(now - self._asked)
        self.failures += not self._answer.startswith(b"HTTP/1.1 200")
        if self._tell:
            self._load.answers[self._tell(self._answer)] += 1
        self._answer = b""
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        # Before its time, an answer was lost.
        self.lost += time.perf_counter() < self._until
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length)
