"""A load generator for one fixed request, over one connection or many.

It uses sockets, because a client library takes longer for a request than the measured server.
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
    """The result: the seconds of each answer, the number of statuses other than 200, and the total seconds.

    ``answers`` counts the answers by the key of ``at_once``; ``lost`` connections were closed too early.
    """

    seconds: list[float]
    failures: int
    elapsed: float
    answers: Counter[bytes] = field(default_factory=Counter)
    lost: int = 0

    @property
    def rate(self) -> float:
        """The number of answers per second."""
        return len(self.seconds) / self.elapsed

    def quantile(self, q: float) -> float:
        """Return the seconds within which this share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def post(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a complete HTTP/1.1 request."""
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
    """Send the request repeatedly over one connection, each after the answer to the one before."""
    seconds, failures = [], 0
    with socket.create_connection(_address(url)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        for _ in range(count):
            start = time.perf_counter()
            connection.sendall(request)
            answer = b""
            while not _is_complete(answer):
                answer += connection.recv(1 << 20)
            seconds.append(time.perf_counter() - start)
            failures += not answer.startswith(b"HTTP/1.1 200")
        return Load(seconds, failures, time.perf_counter() - began)


def at_once(
    url: str, request: bytes, connections: int, seconds: float, key: Callable[[bytes], bytes] | None = None
) -> Load:
    """Send as many requests as the server answers, over many connections that each wait for their answer.

    Args:
        url: the server's address.
        request: a request from ``post``.
        connections: the number of connections.
        seconds: the length of the measurement.
        key: returns the part of an answer to count it by; without it answers are not counted.
    """
    return uvloop.run(_at_once(url, request, connections, seconds, key))


async def _at_once(
    url: str, request: bytes, connections: int, seconds: float, key: Callable[[bytes], bytes] | None
) -> Load:
    loop, address = asyncio.get_running_loop(), _address(url)
    load = Load([], 0, 0.0)
    began = time.perf_counter()
    protocols = [_Connection(request, began + seconds, load, key) for _ in range(connections)]
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
        self, request: bytes, until: float, load: Load, key: Callable[[bytes], bytes] | None
    ) -> None:
        self._request = request
        self._until = until
        self._load = load
        self._key = key
        self._answer = b""
        self.failures = 0
        self.lost = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP has no other
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_complete(self._answer):
            return
        now = time.perf_counter()
        self._load.seconds.append(now - self._sent_at)
        self.failures += not self._answer.startswith(b"HTTP/1.1 200")
        if self._key:
            self._load.answers[self._key(self._answer)] += 1
        self._answer = b""
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        # Before the end, an answer was lost.
        self.lost += time.perf_counter() < self._until
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def _is_complete(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length)
