"""SQL on a warehouse through the statements API, for processes without a Spark session."""

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from databricks.sdk.errors.base import DatabricksError
from tenacity import Retrying, retry_if_result, wait_exponential

from churn_assets.databricks.client import patiently
from churn_assets.errors import SettingsError, WorkspaceError, one_line
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.sql import ResultData, StatementResponse

# The service waits so long for an answer before it says to ask again; a warehouse that sleeps takes minutes.
WAIT_TIMEOUT = "30s"

READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("LONG", "INT", "SHORT", "BYTE"), int),
    **dict.fromkeys(("DOUBLE", "FLOAT"), float),
    "BOOLEAN": lambda text: text == "true",
    "DATE": dt.date.fromisoformat,
    "TIMESTAMP": dt.datetime.fromisoformat,
}


class StatementFailedError(WorkspaceError):
    """The warehouse could not run a statement; the message has its reason."""


class Warehouse:
    """A SQL warehouse that runs one statement at a time.

    Args:
        client: the workspace's.
        settings: ``databricks_warehouse_id`` names the warehouse, which starts by itself if it sleeps.

    Raises:
        SettingsError: no warehouse is named.
    """

    def __init__(self, client: "WorkspaceClient", settings: Settings) -> None:
        if not settings.databricks_warehouse_id:
            raise SettingsError(
                "CHURN_DATABRICKS_WAREHOUSE_ID is not set, and SQL needs a warehouse to run on. "
                "Set it to the id of one, from its page in the workspace (SQL Warehouses)."
            )
        self._api = client.statement_execution
        self._id = settings.databricks_warehouse_id

    def run(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement and wait for its rows.

        Args:
            statement: sent again if the workspace did not answer, so it must be idempotent.

        Returns:
            Plain values by column; maps and arrays stay JSON texts, timestamps are in UTC.

        Raises:
            StatementFailedError: it failed or was cancelled.
        """
        from databricks.sdk.service.sql import ExecuteStatementRequestOnWaitTimeout

        try:
            answer = patiently(
                lambda: self._api.execute_statement(
                    statement,
                    self._id,
                    wait_timeout=WAIT_TIMEOUT,
                    on_wait_timeout=ExecuteStatementRequestOnWaitTimeout.CONTINUE,
                )
            )
            return self._rows(self._ended(answer), statement)
        except DatabricksError as error:
            raise StatementFailedError(
                f"The warehouse {self._id} refused a statement: {one_line(error)}. "
                "Check CHURN_DATABRICKS_WAREHOUSE_ID and the right to use it."
            ) from error

    def _ended(self, answer: "StatementResponse") -> "StatementResponse":
        if not _is_under_way(answer):
            return answer
        asking = Retrying(retry=retry_if_result(_is_under_way), wait=wait_exponential(0.2, max=5))
        return asking(lambda: patiently(lambda: self._api.get_statement(_id(answer))))

    def _rows(self, answer: "StatementResponse", statement: str) -> list[dict[str, Any]]:
        from databricks.sdk.service.sql import StatementState

        status = answer.status
        if status is None or status.state is not StatementState.SUCCEEDED:
            reason = status.error.message if status and status.error else status and status.state
            first = " ".join(statement.split())[:80]
            raise StatementFailedError(f"{first}: {' '.join(str(reason).split())}")
        schema = answer.manifest.schema if answer.manifest else None
        columns = [
            (str(column.name), READERS.get(column.type_name.value if column.type_name else "", str))
            for column in (schema.columns if schema else None) or []
        ]
        rows: list[dict[str, Any]] = []
        chunk: ResultData | None = answer.result
        while chunk:
            for row in chunk.data_array or []:
                values = zip(columns, row, strict=True)
                rows.append({name: None if text is None else read(text) for (name, read), text in values})
            following = chunk.next_chunk_index
            chunk = self._chunk(_id(answer), following) if following is not None else None
        return rows

    def _chunk(self, statement_id: str, index: int) -> "ResultData":
        return patiently(lambda: self._api.get_statement_result_chunk_n(statement_id, index))


def _id(answer: "StatementResponse") -> str:
    return str(answer.statement_id)


def _is_under_way(answer: "StatementResponse") -> bool:
    from databricks.sdk.service.sql import StatementState

    return bool(answer.status) and answer.status.state in (StatementState.PENDING, StatementState.RUNNING)
