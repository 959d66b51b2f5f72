"""The scoring server's application: which page is where, and what a worker does between requests."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from churn_assets.serving.features.online_store import OnlineStore
from churn_assets.serving.published.state import StateFolder
from churn_assets.serving.scoring.replies import ReplyError, reply
from churn_assets.serving.server import openapi
from churn_assets.serving.server.access import Access
from churn_assets.serving.server.host import ModelHost
from churn_assets.serving.server.invocations import Invocations
from churn_assets.serving.server.management import Management
from churn_assets.serving.server.metrics import Metrics
from churn_assets.serving.server.options import Options

TICK_SECONDS = 1.0


def make_app(options: Options) -> Starlette:
    """One worker's application."""
    return _Worker(options).app()


class _Worker:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._metrics = Metrics(options.metrics_folder)
        self._state = StateFolder(options.state)
        self._host = ModelHost(self._state, self._metrics, owns_process=options.has_a_parent)

    def app(self) -> Starlette:
        access = Access(self._options)
        score = Invocations(access, self._host, OnlineStore(self._options.online), self._metrics).answer
        management = Management(self._state, access, lambda: self._host.is_loaded)
        routes = [
            # The first that fits is taken, so what is asked most comes first.
            Route("/serving-endpoints/{name}/invocations", score, methods=["POST"]),
            Route("/invocations", score, methods=["POST"]),
            *management.routes(),
            Route("/ping", _ping),
            Route("/health", self._health),
            Route("/version", _version),
            Route("/metrics", self._metrics_page),
            Route("/openapi.json", _openapi),
        ]
        handlers = {HTTPException: _http_error, Exception: _broken}
        return Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=handlers)

    async def _health(self, _request: Request) -> Response:
        ready = self._state.read().config is not None
        return PlainTextResponse("\n" if ready else "no model is served yet\n", 200 if ready else 503)

    async def _metrics_page(self, _request: Request) -> Response:
        fails = bool(self._state.read().registry_error)
        return Response(self._metrics.page(registry_fails=fails), media_type="text/plain; version=0.0.4")

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        ticking = asyncio.create_task(self._tick())
        yield
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking

    async def _tick(self) -> None:
        """Load while the endpoint is in use, and give the memory back once it is not."""
        parent = os.getppid()
        while True:
            self._host.note_activity()
            self._metrics.measure_memory()
            idle = self._is_idle()
            if idle and self._host.is_loaded:
                # What scikit-learn has taken comes back only with the process; the server starts a new, small
                # one, and until then the port keeps what connects.
                self._metrics.scaled_down()
                return _end_this_process()
            if self._options.has_a_parent and os.getppid() != parent:
                # The server was killed; a port that nobody watches over must not stay taken.
                return _end_this_process()
            if not idle and self._state.read().config is not None:
                # Before anybody waits for it: after a start, a promotion, or a request to another worker.
                with contextlib.suppress(ReplyError):
                    await self._host.published(in_use=False)
            await asyncio.sleep(TICK_SECONDS)

    def _is_idle(self) -> bool:
        config = self._state.read().config
        may_unload = self._options.idle_seconds > 0 and config and config.serving.scale_to_zero_enabled
        return bool(may_unload) and self._host.idle_seconds() >= self._options.idle_seconds


def _end_this_process() -> None:
    """As on a signal from outside: what is being answered is answered first."""
    os.kill(os.getpid(), signal.SIGTERM)


async def _ping(_request: Request) -> Response:
    return PlainTextResponse("\n")


async def _version(_request: Request) -> Response:
    return PlainTextResponse(version("mlflow"))


async def _openapi(_request: Request) -> Response:
    return reply(openapi.document())


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(status, "BAD_REQUEST")
    message = "There is no such page; see /openapi.json." if status == 404 else "See /openapi.json."
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    return reply({"error_code": code, "message": message}, status, headers)


async def _broken(_request: Request, _error: Exception) -> Response:
    # The trace is in the server's log, not in the answer.
    return reply({"error_code": "INTERNAL_ERROR", "message": "The server failed; its log says why."}, 500)
