"""The SQL statements API and its one warehouse, whose statements run in the workspace's engine."""

import re
import secrets
import threading
from collections.abc import Callable
from typing import Any

from databricks.sdk.service.sql import StatementExecutionAPI, WarehousesAPI

from churn_assets_tests.workspace.routing import ApiError, Call, Route, Violation, not_found

API = "/api/2.0/sql"
WAREHOUSE_ID = "0123456789abcdef"
# Real, but without effect here: refused, so that nothing relies on them.
NOT_EMULATED = {"byte_limit", "catalog", "disposition", "format", "parameters", "row_limit", "schema"}
# The service's own limit is 25 MiB a chunk; so few rows show that a client reads all chunks.
ROWS_A_CHUNK = 1000

TYPE_NAMES = {"BIGINT": "LONG", "SMALLINT": "SHORT", "TINYINT": "BYTE"}


class Statements:
    """Every statement of a workspace, by its id. An answer is late only by a fault that the test asks for.

    Args:
        execute: runs one statement; returns ``columns`` and ``rows``, or ``error``.
        refusal: why a user may not run a statement; None if he may.
    """

    def __init__(
        self, execute: Callable[[str], dict[str, Any]], refusal: Callable[[str, str], str | None]
    ) -> None:
        self._execute_sql = execute
        self._refusal = refusal
        self._answers: dict[str, dict[str, Any]] = {}
        self._chunks: dict[str, list[list[Any]]] = {}

    def routes(self) -> list[Route]:
        """SQL 2.0."""
        return [
            Route("POST", f"{API}/statements/", self._execute, StatementExecutionAPI.execute_statement),
            Route("GET", f"{API}/statements/{{statement_id}}", lambda call: self._answer(_id(call))),
            Route("GET", f"{API}/statements/{{statement_id}}/result/chunks/{{index:int}}", self._chunk),
            Route("POST", f"{API}/statements/{{statement_id}}/cancel", self._cancel),
            Route("GET", f"{API}/warehouses", lambda _: {"warehouses": [WAREHOUSE]}, WarehousesAPI.list),
            Route("GET", f"{API}/warehouses/{{id}}", self._warehouse),
        ]

    def _execute(self, call: Call) -> dict[str, Any]:
        fields = call.fields
        if unusual := NOT_EMULATED & fields.keys():
            raise Violation(f"{sorted(unusual)} of a statement are not emulated.")
        if fields["warehouse_id"] != WAREHOUSE_ID:
            raise ApiError(
                400, "INVALID_PARAMETER_VALUE", f"{fields['warehouse_id']} is not a valid endpoint id."
            )
        seconds = _seconds(fields.get("wait_timeout", "10s"))
        statement_id = secrets.token_hex(16)
        self._answers[statement_id] = {"statement_id": statement_id, "status": {"state": "RUNNING"}}
        asked = (statement_id, fields["statement"], call.user)
        worker = threading.Thread(target=self._run, args=asked, daemon=True)
        worker.start()
        worker.join(seconds)
        if worker.is_alive() and seconds and fields.get("on_wait_timeout") == "CANCEL":
            self._answers[statement_id]["status"] = {"state": "CANCELED"}
        return self._answer(statement_id)

    def _run(self, statement_id: str, sql: str, user: str) -> None:
        answer: dict[str, Any] = {"statement_id": statement_id}
        refused = self._refusal(sql, user)
        result: dict[str, Any] = {"error": refused} if refused else self._execute_sql(sql)
        if "error" in result:
            answer["status"] = {
                "state": "FAILED",
                "error": {"error_code": "BAD_REQUEST", "message": result["error"]},
            }
        else:
            rows = result["rows"]
            chunks = [rows[start : start + ROWS_A_CHUNK] for start in range(0, len(rows), ROWS_A_CHUNK)] or [
                []
            ]
            self._chunks[statement_id] = chunks
            answer["status"] = {"state": "SUCCEEDED"}
            answer["manifest"] = _manifest(result["columns"], chunks)
            answer["result"] = _result(chunks, 0)
        if self._answers[statement_id]["status"]["state"] == "RUNNING":
            self._answers[statement_id] = answer

    def _answer(self, statement_id: str) -> dict[str, Any]:
        if statement_id not in self._answers:
            raise not_found("The statement", statement_id)
        return self._answers[statement_id]

    def _chunk(self, call: Call) -> dict[str, Any]:
        self._answer(_id(call))
        chunks, index = self._chunks.get(_id(call), []), int(call.params["index"])
        if index >= len(chunks):
            raise not_found("The chunk", index)
        return _result(chunks, index)

    def _cancel(self, call: Call) -> None:
        answer = self._answer(_id(call))
        if answer["status"]["state"] == "RUNNING":
            answer["status"] = {"state": "CANCELED"}

    def _warehouse(self, call: Call) -> dict[str, Any]:
        if call.params["id"] != WAREHOUSE_ID:
            raise not_found("SQL warehouse", call.params["id"])
        return WAREHOUSE


WAREHOUSE = {"id": WAREHOUSE_ID, "name": "emulated", "state": "RUNNING", "cluster_size": "2X-Small"}


def _id(call: Call) -> str:
    return call.params["statement_id"]


def _seconds(wait_timeout: str) -> int:
    match = re.fullmatch(r"(\d+)s", wait_timeout)
    seconds = int(match.group(1)) if match else -1
    if seconds != 0 and not 5 <= seconds <= 50:
        raise Violation(f"wait_timeout is {wait_timeout!r}, expected 0s or 5s to 50s.")
    return seconds


def _manifest(columns: list[list[str]], chunks: list[list[Any]]) -> dict[str, Any]:
    described = []
    for position, (name, text) in enumerate(columns):
        base = re.split(r"[<(]", text)[0]
        described.append(
            {
                "name": name,
                "position": position,
                "type_name": TYPE_NAMES.get(base, base),
                "type_text": text,
            }
        )
    return {
        "format": "JSON_ARRAY",
        "schema": {"column_count": len(columns), "columns": described},
        "total_chunk_count": len(chunks),
        "total_row_count": sum(map(len, chunks)),
        "truncated": False,
    }


def _result(chunks: list[list[Any]], index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "chunk_index": index,
        "row_offset": sum(map(len, chunks[:index])),
        "row_count": len(chunks[index]),
        "data_array": chunks[index],
    }
    if index + 1 < len(chunks):
        result["next_chunk_index"] = index + 1
    return result
