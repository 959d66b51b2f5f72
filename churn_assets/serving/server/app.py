"""The scoring server's application: its routes, and what a worker does between requests."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cached_property
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from churn_assets.serving.features.online_store import OnlineStore
from churn_assets.serving.published.state import StateFolder
from churn_assets.serving.scoring.replies import ReplyError, UnavailableError, refusal, reply
from churn_assets.serving.server import openapi
from churn_assets.serving.server.access import Access
from churn_assets.serving.server.connections import WAITING, Waiting
from churn_assets.serving.server.host import ModelHost
from churn_assets.serving.server.invocations import Invocations, ScoringFirst
from churn_assets.serving.server.management import Management
from churn_assets.serving.server.metrics import Metrics
from churn_assets.serving.server.openapi import DescribedRoute, Operation
from churn_assets.serving.server.options import Options
from churn_assets.serving.server.pages.pages import Pages
from churn_assets.serving.server.sessions import Sessions

log = logging.getLogger("churn.serve")

TICK_SECONDS = 1.0

Page = Callable[[Request], Awaitable[Response]]


def make_app(options: Options) -> Starlette:
    """Return the application of one worker."""
    return _Worker(options).app()


class _Worker:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._metrics = Metrics(options.metrics_folder)
        self._state = StateFolder(options.state)
        self._waiting = Waiting(options.max_connections)
        self._host = ModelHost(self._state, self._metrics, owns_process=options.has_a_parent)

    def app(self) -> Starlette:
        handlers = {HTTPException: _http_error, Exception: _internal_error}
        app = Starlette(
            routes=[*self._routes, *self._pages.routes()],
            lifespan=self._lifespan,
            exception_handlers=handlers,
            middleware=[Middleware(ScoringFirst, self._invocations)],
        )
        # A redirect would be made from the client's Host header, which may lead anywhere.
        app.router.redirect_slashes = False
        return app

    @cached_property
    def _access(self) -> Access:
        return Access(self._options)

    @cached_property
    def _invocations(self) -> Invocations:
        return Invocations(self._access, self._host, OnlineStore(self._options.online), self._metrics)

    @cached_property
    def _pages(self) -> Pages:
        sessions = Sessions(self._options.token, self._options.admin_token)
        return Pages(self._options.page, self._access, sessions)

    @cached_property
    def _routes(self) -> list[DescribedRoute]:
        management = Management(self._state, self._access, lambda: self._host.is_loaded)
        return [
            *self._invocations.routes(),
            *management.routes(),
            DescribedRoute("/ping", _ping, Operation(summary="The worker is alive", is_public=True)),
            DescribedRoute(
                "/health",
                self._health,
                Operation(summary="A model is published", errors=(UnavailableError,), is_public=True),
            ),
            self._inside("/version", _version, "MLflow's version"),
            self._inside("/metrics", self._metrics_page, "Metrics for Prometheus"),
            self._inside("/openapi.json", self._openapi, "This document", dict[str, Any]),
        ]

    def _inside(self, path: str, page: Page, summary: str, reply_type: type | None = None) -> DescribedRoute:
        """Return the route of a page that shows the inside of the server, to who has a token or to all."""
        is_public = self._options.public_metrics

        async def with_token(request: Request) -> Response:
            try:
                self._access.require_token(request)
            except ReplyError as error:
                return refusal(error)
            return await page(request)

        operation = Operation(summary=summary, reply=reply_type, is_public=is_public)
        return DescribedRoute(path, page if is_public else with_token, operation)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return openapi.document(self._routes)

    async def _openapi(self, _request: Request) -> Response:
        return reply(self._document)

    async def _health(self, _request: Request) -> Response:
        ready = self._state.read().config is not None
        return PlainTextResponse("\n" if ready else "no model is served yet\n", 200 if ready else 503)

    async def _metrics_page(self, _request: Request) -> Response:
        fails = bool(self._state.read().registry_error)
        return Response(self._metrics.page(registry_fails=fails), media_type="text/plain; version=0.0.4")

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[dict[str, Any]]:
        ticking = asyncio.create_task(self._tick())
        yield {WAITING: self._waiting}
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking

    async def _tick(self) -> None:
        """Keep the model loaded while the endpoint is in use, and free its memory once it is idle."""
        parent = os.getppid()
        while True:
            self._waiting.close_late()
            self._note_activity()
            self._metrics.measure_memory()
            idle = self._is_idle()
            if idle and self._host.is_loaded:
                # scikit-learn's memory is freed only with the process. The server starts a new, small one,
                # and until then the socket queues new connections.
                self._metrics.count_scale_down()
                return _end_this_process()
            if self._options.has_a_parent and os.getppid() != parent:
                # The server was killed, and its workers must not keep the port.
                return _end_this_process()
            if not idle and self._state.read().config is not None:
                # Before a request waits for it: after a start, a promotion, or a request to another worker.
                with contextlib.suppress(ReplyError):
                    await self._host.load_published(in_use=False)
            await asyncio.sleep(TICK_SECONDS)

    def _note_activity(self) -> None:
        try:
            self._host.note_activity()
        except OSError as error:
            # Of a full disk, which may take the worker's metrics and idleness, and not its answers.
            log.warning("%s cannot be written: %s", self._state.activity, error.strerror)

    def _is_idle(self) -> bool:
        config = self._state.read().config
        may_unload = self._options.idle_seconds > 0 and config and config.serving.scale_to_zero_enabled
        return bool(may_unload) and self._host.idle_seconds() >= self._options.idle_seconds


def _end_this_process() -> None:
    """End as on a signal from outside: after the requests in progress are answered."""
    os.kill(os.getpid(), signal.SIGTERM)


async def _ping(_request: Request) -> Response:
    return PlainTextResponse("\n")


async def _version(_request: Request) -> Response:
    return PlainTextResponse(version("mlflow"))


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(status, "BAD_REQUEST")
    message = "There is no such page; see /openapi.json." if status == 404 else "See /openapi.json."
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    return reply({"error_code": code, "message": message}, status, headers)


async def _internal_error(_request: Request, _error: Exception) -> Response:
    # The traceback goes to the server's log, not to the client.
    return reply({"error_code": "INTERNAL_ERROR", "message": "The server failed; its log says why."}, 500)
