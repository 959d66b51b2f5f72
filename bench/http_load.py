"""A load generator for one fixed request: one connection in turn, or many at once.

Written on sockets, because a client library takes longer for a request than the server that is measured.
"""

import asyncio
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlparse

import uvloop


@dataclass(frozen=True)
class Load:
    """What came of it: seconds each answer took, how many were no 200, and how long all took."""

    seconds: list[float]
    failures: int
    elapsed: float

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


def at_once(url: str, request: bytes, connections: int, seconds: float) -> Load:
    """As many requests as the server answers, over many connections, each of which waits for its answer."""
    return uvloop.run(_at_once(url, request, connections, seconds))


async def _at_once(url: str, request: bytes, connections: int, seconds: float) -> Load:
    loop, address = asyncio.get_running_loop(), _address(url)
    taken: list[float] = []
    began = time.perf_counter()
    protocols = [_Connection(request, began + seconds, taken) for _ in range(connections)]
    for protocol in protocols:
        await loop.create_connection(lambda made=protocol: made, *address)
    await asyncio.gather(*(protocol.done for protocol in protocols))
    return Load(taken, sum(protocol.failures for protocol in protocols), time.perf_counter() - began)


def _address(url: str) -> tuple[str, int]:
    parsed = urlparse(url)
    return parsed.hostname or "127.0.0.1", parsed.port or 80


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, until: float, taken: list[float]) -> None:
        self._request = request
        self._until = until
        self._taken = taken
        self._answer = b""
        self.failures = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP has no other
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_whole(self._answer):
            return
        now = time.perf_counter()
        self._taken.append(now - self._asked)
        self.failures += not self._answer.startswith(b"HTTP/1.1 200")
        self._answer = b""
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        # Before its time, an answer was lost.
        self.failures += time.perf_counter() < self._until
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
