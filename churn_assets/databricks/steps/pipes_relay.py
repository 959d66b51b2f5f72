"""The Pipes launcher's relay: messages of the step into its Pipes session, each exactly once."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.events import DagsterEvent
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.pipes.context import PipesMessageHandler

from churn_assets.databricks.steps.batches import Batches, Read
from churn_assets.errors import one_line


class MessageReader(dg.PipesMessageReader):
    """Has no thread of its own: what follows the Databricks run also fetches its messages.

    dagster-databricks' reader makes a folder of a random name and deletes it with the session, so that a
    restarted worker could not go on with it; and a thread that swallows every error of the workspace.
    """

    def __init__(self) -> None:
        self._handlers: list[PipesMessageHandler] = []

    @property
    def expected_writer_count(self) -> int:
        """One step; Dagster's own property says the same, and in each run that it is a preview."""
        return 1

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[dict[str, Any]]:
        """Keep the session's handler; where messages are is in ``config.json``."""
        self._handlers = [handler]
        yield {}

    def handle(self, message: Any) -> None:
        """Give a message to the session."""
        for handler in self._handlers:
            handler.handle_message(message)

    def no_messages_debug_text(self) -> str:
        """Where to look when nothing came."""
        return "It was to write numbered files into the step's folder in the volume."


class Failure(NamedTuple):
    """How a step failed: in one line, and whether another attempt would not change it."""

    line: str
    is_final: bool


class PipesRelay:
    """Passes the messages that the step has written to the session's handler.

    Attributes:
        has_ending: whether the step has closed its side of the session.
        failure: its own, None if it has ended well or not at all.
        metadata: of the ended run.
    """

    def __init__(
        self, step_context: StepExecutionContext, reader: MessageReader, read: Read, *, attached: bool
    ) -> None:
        self._handle = reader.handle
        self._batches = Batches(read, json.loads)
        self._is_final = False
        # A worker before this one may have passed some of them on.
        self._logged = _logged(step_context) if attached else Counter()
        self.has_ending = False
        self.failure: Failure | None = None
        self.metadata: Mapping[str, Any] = {}

    def pass_on(self) -> Iterator[DagsterEvent]:
        """Pass new messages on; the session keeps results until its end."""
        for message in self._batches.new():
            self._take(message)
        yield from ()

    def release(self, metadata: Mapping[str, Any]) -> Iterator[DagsterEvent]:
        """Keep the metadata of the ended run for the results."""
        self.metadata = metadata
        yield from ()

    def _take(self, message: Any) -> None:
        params = message["params"]
        match message["method"]:
            case "log" if self._logged[params["message"]]:
                self._logged[params["message"]] -= 1
                return
            case "report_custom_message" if "failure" in params["payload"]:
                self._is_final = params["payload"]["failure"]["is_final"]
            case "closed":
                self.has_ending = True
                if error := params.get("exception"):
                    self.failure = Failure(_line(error), self._is_final)
        self._handle(message)


def _logged(step_context: StepExecutionContext) -> Counter[str]:
    entries = step_context.instance.all_logs(step_context.run_id)
    return Counter(
        entry.user_message
        for entry in entries
        if entry.dagster_event is None and entry.step_key == step_context.step.key
    )


def _line(error: dict[str, Any]) -> str:
    """The text of what caused an error, without Dagster's own around it."""
    while error["cause"] and (error["name"] or "").startswith("Dagster"):
        error = error["cause"]
    name, colon, text = error["message"].partition(": ")
    return one_line(f"{name.rpartition('.')[2]}{colon}{text}")
