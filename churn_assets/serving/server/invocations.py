"""The scoring route: rows in, probabilities out."""

import asyncio
import datetime as dt
import time

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from churn_assets.errors import EndpointError
from churn_assets.serving.endpoint import (
    ENDPOINT_NAME,
    FEATURE_DATE_HEADER,
    SERVED_NAME_HEADER,
    VERSION_HEADER,
    WITHOUT_HISTORY_HEADER,
)
from churn_assets.serving.features.online_store import OnlineStore, Snapshot
from churn_assets.serving.scoring import bounds
from churn_assets.serving.scoring.batching import ROWS_FOR_A_THREAD, Batcher, in_slices
from churn_assets.serving.scoring.payload import Rows
from churn_assets.serving.scoring.replies import NotFoundError, ReplyError, UnavailableError, refusal, reply
from churn_assets.serving.scoring.scorer import ServedModel
from churn_assets.serving.server.access import Access
from churn_assets.serving.server.host import ModelHost
from churn_assets.serving.server.messages import SCORING_BODIES, Prediction, Predictions, RowError
from churn_assets.serving.server.metrics import Metrics
from churn_assets.serving.server.openapi import DescribedRoute, Operation
from churn_assets.serving.server.shadow import Shadow

# Larger bodies are read in a thread: anything but a plain table of numbers takes several times as long.
BYTES_FOR_A_THREAD = 256 * 1024

# Databricks' path and MLflow's.
SCORING_PATHS = (f"/serving-endpoints/{ENDPOINT_NAME}/invocations", "/invocations")

HEADERS = {
    VERSION_HEADER: {"schema": {"type": "string"}, "description": "The version that answered"},
    SERVED_NAME_HEADER: {"schema": {"type": "string"}, "description": "Databricks' name for that version"},
    FEATURE_DATE_HEADER: {
        "schema": {"type": "string", "format": "date"},
        "description": "The date of the features that were looked up; not sent where none were",
    },
    WITHOUT_HISTORY_HEADER: {
        "schema": {"type": "integer", "minimum": 1},
        "description": "The number of rows without a history, which the model of the last 30 days scored; "
        "not sent where there were none",
    },
}


class Invocations:
    """Scores requests with the published model and features, and records metrics."""

    def __init__(self, access: Access, host: ModelHost, store: OnlineStore, metrics: Metrics) -> None:
        self._access = access
        self._host = host
        self._store = store
        self._metrics = metrics
        self._batcher = Batcher()
        self._shadow = Shadow(metrics)
        self._building = asyncio.Lock()

    def routes(self) -> list[DescribedRoute]:
        """Return the routes: Databricks' path and MLflow's."""

        def scoring(summary: str) -> Operation:
            errors = (NotFoundError, UnavailableError)
            return Operation(
                summary=summary, bodies=SCORING_BODIES, reply=Predictions, headers=HEADERS, errors=errors
            )

        return [
            DescribedRoute(
                "/serving-endpoints/{name}/invocations", self.answer, scoring("Score rows"), "POST"
            ),
            DescribedRoute("/invocations", self.answer, scoring("Score rows, at MLflow's own path"), "POST"),
        ]

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        started = time.perf_counter()
        scored_rows = 0
        try:
            self._access.require_token(request)
            _require_this_endpoint(request)
            body = await self._access.body(request)
            response, scored_rows = await self._score(body)
        except ReplyError as error:
            response = refusal(error)
        except Exception:
            self._metrics.record_request(ReplyError.status, 0, time.perf_counter() - started)
            raise
        finally:
            self._access.end(request)
        self._metrics.record_request(response.status_code, scored_rows, time.perf_counter() - started)
        return response

    async def _score(self, body: bytes) -> tuple[Response, int]:
        # Model and features are each read once, so that a reply never mixes two versions or dates.
        model = self._host.loaded_model() or await self._host.load_published()
        if len(body) < BYTES_FOR_A_THREAD:
            rows = model.parser.rows(body, self._features)
        else:
            # One at a time: what is built from a body takes several times its bytes.
            async with self._building:
                rows = await asyncio.to_thread(self._rows_of_many, model, body)
        headers = {VERSION_HEADER: model.version, SERVED_NAME_HEADER: self._host.served_name}
        if rows.looked_up:
            headers[FEATURE_DATE_HEADER] = str(rows.looked_up.feature_date)
        if rows.without_history:
            headers[WITHOUT_HISTORY_HEADER] = str(rows.without_history)
        if rows.unknown:
            return await self._score_known(model, rows, rows.looked_up, headers)
        predictions = await self._predict(model, rows.matrix, explain=rows.explain)
        return reply({"predictions": predictions}, 200, headers), len(rows.matrix)

    def _rows_of_many(self, model: ServedModel, body: bytes) -> Rows:
        bounds.require_bounds(body)
        return model.parser.rows(body, self._features)

    def _features(self) -> Snapshot | None:
        try:
            return self._store.snapshot()
        except EndpointError as error:
            raise UnavailableError(str(error)) from error

    async def _predict(self, model: ServedModel, matrix: np.ndarray, *, explain: bool = False) -> np.ndarray:
        if explain:
            return await asyncio.to_thread(in_slices, model.contributions, matrix)
        predictions = await self._batcher.predict(model, matrix)
        if shadow := self._host.shadow:
            self._shadow.score(shadow, model.parser.columns, matrix, predictions)
        return predictions

    async def _score_known(
        self, model: ServedModel, rows: Rows, snapshot: Snapshot | None, headers: dict[str, str]
    ) -> tuple[Response, int]:
        """Answer with null and an error for each unknown user, and with 404 if there is no other row."""
        is_known = np.ones(len(rows.matrix), dtype=np.bool_)
        is_known[list(rows.unknown)] = False
        scores = None
        if is_known.any():
            scores = await self._predict(model, rows.matrix[is_known], explain=rows.explain)
        date = snapshot.feature_date if snapshot else None
        if len(rows.matrix) < ROWS_FOR_A_THREAD:
            return _with_errors(rows.unknown, is_known, scores, date, headers)
        return await asyncio.to_thread(_with_errors, rows.unknown, is_known, scores, date, headers)


def _with_errors(
    unknown: dict[int, int],
    is_known: np.ndarray,
    scores: np.ndarray | None,
    date: dt.date | None,
    headers: dict[str, str],
) -> tuple[Response, int]:
    """Return the answer and the number of its scores: null and an error for each unknown user."""
    predictions: list[Prediction] = [None] * len(is_known)
    if scores is not None:
        for row, score in zip(np.flatnonzero(is_known).tolist(), scores.tolist(), strict=True):
            predictions[row] = score
    errors: list[RowError] = [
        {
            "row": row,
            "user_id": user_id,
            "status": NotFoundError.status,
            "error_code": NotFoundError.error_code,
            "message": f"user_id {user_id} has no features of {date}: no event in the 30 days up to it.",
        }
        for row, user_id in unknown.items()
    ]
    content: Predictions = {"predictions": predictions, "errors": errors}
    if scores is not None:
        return reply(content, 200, headers), len(scores)
    first = {"error_code": errors[0]["error_code"], "message": errors[0]["message"]}
    return reply({**first, **content}, NotFoundError.status, headers), 0


class ScoringFirst:
    """Middleware that answers the scoring paths, and leaves all others to the router behind it.

    Of an answer of 0.1 ms, the router and what is around it take a quarter.
    """

    def __init__(self, app: ASGIApp, invocations: Invocations) -> None:
        self._app = app
        self._answer = invocations.answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["path"] in SCORING_PATHS and scope["method"] == "POST":
            response = await self._answer(Request(scope, receive, send))
            await response(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"].endswith("/"):
            # MLflow's client asks so. The router would redirect it to the host of its own Host header.
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)


def _require_this_endpoint(request: Request) -> None:
    name = request.path_params.get("name", ENDPOINT_NAME)
    if name != ENDPOINT_NAME:
        raise NotFoundError(f"There is no endpoint {name[:100]!r}; this server has {ENDPOINT_NAME}.")
