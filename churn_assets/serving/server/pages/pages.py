"""The routes of the pages: login and logout, and what is shown to who is logged in.

All work of a page is done in one thread a worker, never in the event loop, which scores meanwhile; so many
requests wait for it, and more are told to try again. No script is on any page, and none would be run: the
policy that is sent along allows one stylesheet of this server, and forms to it.
"""

import asyncio
import functools
import hashlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from churn_assets.errors import EndpointError
from churn_assets.retention.formats import as_csv
from churn_assets.serving.page.store import HIGHEST_FIRST, PageStore, Snapshot, opened
from churn_assets.serving.scoring.replies import BusyError, ReplyError, refusal
from churn_assets.serving.server.access import Access
from churn_assets.serving.server.pages import rendering
from churn_assets.serving.server.pages.queries import ROWS, Query, read_query
from churn_assets.serving.server.sessions import COOKIE, SESSION_SECONDS, Sessions

T = TypeVar("T")

MOST_WAITING = 32
# A login form is some hundred bytes.
MOST_FORM_BYTES = 4096
FORM_SECONDS = 10.0
# Pages wait for one such part of a file at most.
CSV_ROWS_AT_ONCE = 500

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # To this server itself it is sent, or browsers would leave the origin of a form out.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

NO_LIST = (
    "A list of whom to contact is published after the scores, once there is a Production model. It is made "
    "by churn run. On Databricks the list is the table gold.retention_list."
)

Show = Callable[[Snapshot, Request], tuple[str, dict[str, Any]]]


class Pages:
    """The pages of one worker."""

    def __init__(self, folder: Path, access: Access, sessions: Sessions) -> None:
        self._folder = folder
        self._store = PageStore(folder)
        self._access = access
        self._sessions = sessions
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pages")
        self._waiting = 0

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/login", self._login_form),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/page.css", _stylesheet),
            Route("/", self._page(_list)),
            Route("/user", self._page(_user)),
            Route("/trend", self._page(_trend)),
            Route("/outcomes", self._page(_outcomes)),
            Route("/list.csv", self._csv),
        ]

    def _page(self, show: Show) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if refused := self._refused(request):
                return refused
            cookie = request.cookies.get(COOKIE, "")
            try:
                return await self._in_thread(self._shown, show, request, self._sessions.form_token(cookie))
            except BusyError as error:
                return _html("nothing.html.jinja", 503, heading="Busy", says=str(error))

        return answer

    def _shown(self, show: Show, request: Request, form_token: str) -> Response:
        values: dict[str, Any] = {"form_token": form_token, "here": request.url.path}
        try:
            snapshot = self._store.snapshot()
        except EndpointError as error:
            return _html("nothing.html.jinja", 503, heading="Not to be read", says=str(error), **values)
        if snapshot is None:
            return _html("nothing.html.jinja", heading="No list yet", says=NO_LIST, **values)
        template, shown = show(snapshot, request)
        status = 404 if template == "nothing.html.jinja" else 200
        return _html(template, status, **values, about=snapshot.about, **shown)

    def _refused(self, request: Request) -> Response | None:
        """Return the answer to who is neither logged in nor sends a token as programs do."""
        if self._sessions.is_valid(request.cookies.get(COOKIE)):
            return None
        if "authorization" not in request.headers:
            return _redirect("/login")
        try:
            self._access.require_token(request)
        except ReplyError as error:
            return refusal(error)
        return None

    async def _login_form(self, request: Request) -> Response:
        if self._sessions.is_valid(request.cookies.get(COOKIE)):
            return _redirect("/")
        return _html("login.html.jinja", error="")

    async def _login(self, request: Request) -> Response:
        if not _is_of_this_site(request):
            return _html("login.html.jinja", 403, error="This form came from another site.")
        cookie = self._sessions.begin((await _form(request)).get("token", ""))
        if cookie is None:
            says = "That is not the token of this endpoint."
            return _html("login.html.jinja", 403, error=says)
        answer = _redirect("/")
        # The browser's own word: to this server even a proxy with TLS speaks plain HTTP.
        is_secure = request.headers.get("origin", "").startswith("https://")
        answer.set_cookie(
            COOKIE, cookie, SESSION_SECONDS, path="/", secure=is_secure, httponly=True, samesite="strict"
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        cookie = request.cookies.get(COOKIE, "")
        given = (await _form(request)).get("form_token", "")
        if not self._sessions.is_valid(cookie) or not self._sessions.is_own_form(cookie, given):
            return _redirect("/login")
        answer = _redirect("/login")
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    async def _csv(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        query = read_query(request.query_params)
        try:
            first = await self._in_thread(self._first_rows, query)
        except EndpointError as error:
            return _html("nothing.html.jinja", 503, heading="Not to be read", says=str(error))
        except BusyError as error:
            return refusal(error)
        if first is None:
            return _redirect("/")
        snapshot, ranks, head = first
        date = snapshot.about.overview.feature_date
        headers = {**HEADERS, "content-disposition": f'attachment; filename="retention_list-{date}.csv"'}
        parts = self._csv_parts(snapshot, ranks, head)
        return StreamingResponse(parts, media_type="text/csv; charset=utf-8", headers=headers)

    def _first_rows(self, query: Query) -> tuple[Snapshot, NDArray[np.int64], bytes] | None:
        # Its own, as a list that is replaced meanwhile must not change in the middle of the file.
        snapshot = opened(self._folder)
        if snapshot is None:
            return None
        ranks = snapshot.find(query.filter).ranks
        return snapshot, ranks, as_csv(snapshot.rows(ranks[:CSV_ROWS_AT_ONCE]))

    async def _csv_parts(
        self, snapshot: Snapshot, ranks: NDArray[np.int64], head: bytes
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        try:
            yield head
            for start in range(CSV_ROWS_AT_ONCE, len(ranks), CSV_ROWS_AT_ONCE):
                part = ranks[start : start + CSV_ROWS_AT_ONCE]
                yield await loop.run_in_executor(self._thread, _csv_lines, snapshot, part)
        finally:
            # Where it was opened; nobody waits for it, as the client may have gone.
            self._thread.submit(snapshot.close)

    async def _in_thread(self, work: Callable[..., T], *given: Any) -> T:
        if self._waiting >= MOST_WAITING:
            raise BusyError("Too many pages are being made; try again.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, work, *given)
        finally:
            self._waiting -= 1


def _csv_lines(snapshot: Snapshot, ranks: NDArray[np.int64]) -> bytes:
    return as_csv(snapshot.rows(ranks), with_head=False)


def _list(snapshot: Snapshot, request: Request) -> tuple[str, dict[str, Any]]:
    query = read_query(request.query_params)
    found = snapshot.find(query.filter)
    pages = max(1, math.ceil(len(found.ranks) / ROWS))
    query = query._replace(page=min(query.page, pages))
    start = (query.page - 1) * ROWS
    rows = snapshot.rows(found.ranks[start : start + ROWS])
    return "list.html.jinja", {
        "query": query,
        "pages": pages,
        **rendering.list_values(snapshot.about, found, rows, start),
        "countries": snapshot.country_counts(),
        "bands": HIGHEST_FIRST,
    }


def _user(snapshot: Snapshot, request: Request) -> tuple[str, dict[str, Any]]:
    given = request.query_params.get("id", "").strip()[:200]
    user = snapshot.user(given)
    if user is None:
        date = snapshot.about.overview.feature_date
        return "nothing.html.jinja", {
            "heading": "No such user",
            "says": f"{given!r} is neither user_id nor source_user_id of who has a prediction of {date}. "
            "Only who had an event in the 30 days up to it has one.",
        }
    return "user.html.jinja", {
        "user": user,
        "probability": rendering.probability_chart(user.probabilities),
        "activity": rendering.activity_chart(user.events),
    }


def _trend(snapshot: Snapshot, _request: Request) -> tuple[str, dict[str, Any]]:
    return "trend.html.jinja", rendering.trend_values(snapshot.about.overview)


def _outcomes(snapshot: Snapshot, _request: Request) -> tuple[str, dict[str, Any]]:
    return "outcomes.html.jinja", rendering.outcome_values(snapshot.about.overview)


def _html(template: str, status: int = 200, *, form_token: str = "", **values: Any) -> Response:
    """Return a page; without ``form_token`` it is one of who is not logged in, without navigation."""
    return HTMLResponse(rendering.render(template, form_token=form_token, **values), status, HEADERS)


def _redirect(path: str) -> Response:
    # To a path alone: whatever the request says of host and scheme leads nowhere.
    return RedirectResponse(path, 303, HEADERS)


async def _stylesheet(request: Request) -> Response:
    content, tag = _styles()
    headers = {**HEADERS, "cache-control": "no-cache", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="text/css; charset=utf-8", headers=headers)


@functools.cache
def _styles() -> tuple[bytes, str]:
    content = rendering.stylesheet()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _is_of_this_site(request: Request) -> bool:
    """Return whether a form was sent by a page of this server, or by no browser at all."""
    fetched = request.headers.get("sec-fetch-site")
    if fetched is not None:
        return fetched in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form, each once; nothing of a body that is larger, slower or no text."""
    body = b""
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MOST_FORM_BYTES:
                    return {}
        return {name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=10).items()}
    except (TimeoutError, ClientDisconnect, ValueError):
        return {}
