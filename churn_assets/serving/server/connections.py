"""What a worker allows a connection before it reads a request: bytes and seconds for a head, and its place.

uvicorn limits neither: a head without an end would fill the memory, and one that never ends would hold its
place for ever. None of it needs a token.
"""

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# The first line and the headers; browsers and proxies send less than 16 kB.
MAX_HEAD_BYTES = 32 * 1024

# From the connection, or the answer before, to the end of the next head.
HEAD_SECONDS = 10.0

# The lifespan's state holds the waiting connections of a server under this name.
WAITING = "waiting"


class Waiting:
    """The connections of one worker that have no request in progress, the longest waiting first."""

    def __init__(self, max_connections: int) -> None:
        self.max_connections = max_connections
        self._since: dict[BoundedProtocol, float] = {}

    def add(self, connection: "BoundedProtocol") -> None:
        """Start or restart a connection's wait for a head."""
        self._since.pop(connection, None)
        self._since[connection] = connection.loop.time()

    def remove(self, connection: "BoundedProtocol") -> None:
        """End a connection's wait."""
        self._since.pop(connection, None)

    def close_late(self) -> None:
        """Close the connections that have waited too long."""
        oldest = asyncio.get_running_loop().time() - HEAD_SECONDS
        for connection, since in list(self._since.items()):
            if since > oldest:
                return
            connection.close_late()

    def make_room(self) -> bool:
        """Close the connection that has waited longest; return whether there was one."""
        for connection in self._since:
            connection.give_way()
            return True
        return False


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds for heads and connections."""

    _waiting: Waiting
    # Of the head that is still to end, and of the part of it that has just come.
    _head_bytes = 0
    _part_bytes = 0
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Take a connection, in place of the one that has waited longest if there are too many."""
        super().connection_made(transport)
        self._waiting = self.app_state[WAITING]
        if len(self.connections) > self._waiting.max_connections and not self._waiting.make_room():
            self.refuse(503, "TEMPORARILY_UNAVAILABLE", "There are too many connections; try again.")
            return
        self._waiting.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._waiting.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request, if its head is within its bounds."""
        self._part_bytes = len(data)
        # Not a body that ends in this part, before the head of a next request.
        is_head = self._in_head or self.cycle is None or not self.cycle.more_body
        super().data_received(data)
        if self._in_head and is_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin a request, whose connection is now safe from giving way to others."""
        if self._head_bytes + self._part_bytes > MAX_HEAD_BYTES and self._is_head_too_large():
            # The parser turns it into an error of its own, for which uvicorn calls ``send_400_response``.
            self._refuse_head()
            raise ValueError("the head is too large")
        self._in_head, self._head_bytes = False, 0
        self._waiting.remove(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next head, or go on with a request that came meanwhile."""
        has_next = bool(self.pipeline)
        super().on_response_complete()
        if not has_next and not self.transport.is_closing():
            self._waiting.add(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the shape of all other refusals."""
        self.refuse(400, "BAD_REQUEST", msg)

    def refuse(self, status: int, error_code: str, message: str) -> None:
        """Answer with an error and close the connection; a second refusal does nothing."""
        self._waiting.remove(self)
        if self.transport.is_closing():
            return
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering:
            self.transport.write(_error(status, error_code, message))
        self.transport.close()

    def close_late(self) -> None:
        """Close, with an answer to who has begun a head."""
        if self._in_head:
            self.refuse(408, "REQUEST_TIMEOUT", f"The head did not arrive within {HEAD_SECONDS:.0f} s.")
        else:
            self._waiting.remove(self)
            self.transport.close()

    def give_way(self) -> None:
        """Close at once, without an answer."""
        self._waiting.remove(self)
        self.transport.abort()

    def _is_head_too_large(self) -> bool:
        headers: list[tuple[bytes, bytes]] = self.headers
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES

    def _refuse_head(self) -> None:
        message = f"The head has more than {MAX_HEAD_BYTES} bytes; send fewer or shorter headers."
        self.refuse(431, "REQUEST_HEADER_FIELDS_TOO_LARGE", message)


def _error(status: int, error_code: str, message: str) -> bytes:
    content: dict[str, Any] = {"error_code": error_code, "message": message}
    body = orjson.dumps(content)
    head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    return STATUS_LINE[status] + head + body
