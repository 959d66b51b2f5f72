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


class Server:
    """An ASGI application behind a port of 127.0.0.1, from ``start`` to ``stop``."""

    def __init__(self, app: Any) -> None:
        self._socket = socket.socket()
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
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
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
        """Answer what is under way, then close."""
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
