"""uvicorn in a thread, on a free port, that can also break a connection instead of answering."""

import asyncio
import socket
import threading
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol


class BreakableProtocol(H11Protocol):
    """Gives each request a way to break its own connection: ``scope["extensions"]["break"]``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - uvicorn's own hint
        """Remember the connection for the requests that come over it."""
        super().connection_made(transport)
        app = self.app

        async def with_break(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})["break"] = transport.abort
            await app(scope, receive, send)

        self.app = with_break


class QuickServer(uvicorn.Server):
    """uvicorn, but it ends when it is told to instead of looking ten times a second; many tests start one."""

    async def main_loop(self) -> None:
        """Wait for ``end``."""
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        if not self.should_exit:
            await self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's own
        """Close the listening socket and every connection."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0.001)  # for the transports to close

    def end(self) -> None:
        """Stop from another thread."""
        self.should_exit = True
        if hasattr(self, "_ended"):
            self._loop.call_soon_threadsafe(self._ended.set)


class Server:
    """An ASGI application behind a port of 127.0.0.1, from ``start`` to ``stop``."""

    def __init__(self, app: Any) -> None:
        self._socket = socket.socket(proto=socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=BreakableProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=300,
        )
        self._server = QuickServer(config)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._socket]},
            name="emulated workspace",
            daemon=True,
        )

    def start(self) -> None:
        """Listen; requests that come before the thread is up wait in the socket's queue."""
        self._socket.listen()
        self._thread.start()

    def stop(self) -> None:
        """Close; nobody waits for an answer any more."""
        self._server.end()
        self._thread.join(timeout=10)
        self._socket.close()
