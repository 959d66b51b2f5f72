"""The relay of a step's events from the cluster into Dagster, each exactly once."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.execution.context.system import StepExecutionContext
from dagster._serdes import deserialize_value

from churn_assets.databricks.steps.provenance import with_provenance

ENDINGS = {
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_UP_FOR_RETRY,
    DagsterEventType.STEP_SKIPPED,
}

# A file of the step's folder, None while there is none.
Read = Callable[[str], bytes | None]


class EventRelay:
    """Reads ``events-000001.json.gz`` and so on, stores their events and passes them to the executor.

    Log lines and events go on at once, but from the first materialisation on events wait until the run is
    over: only then is it known how long it took, and a materialisation cannot be completed later.

    Attributes:
        ending: the event that ended the step on the cluster, None while there is none.
    """

    def __init__(self, step_context: StepExecutionContext, read: Read, *, attached: bool) -> None:
        self._step_context = step_context
        self._read = read
        self._next = 1
        self._waiting: list[dg.EventLogEntry] = []
        self.ending: DagsterEvent | None = None
        # A launcher before this one may have relayed some of them.
        self._stored = self._identities() if attached else set()

    def gather(self) -> list[dg.EventLogEntry]:
        """Return the entries written since the last call, without storing them."""
        entries: list[dg.EventLogEntry] = []
        while (batch := self._batch(self._next)) is not None:
            entries += batch
            self._next += 1
        for entry in entries:
            if entry.dagster_event and entry.dagster_event.event_type in ENDINGS:
                self.ending = entry.dagster_event
        return entries

    def pass_on(self, entries: list[dg.EventLogEntry]) -> Iterator[DagsterEvent]:
        """Store entries and pass their events to the executor, except those that wait for the run's end."""
        for entry in entries:
            event = entry.dagster_event
            if event and (self._waiting or event.event_type == DagsterEventType.ASSET_MATERIALIZATION):
                self._waiting.append(entry)
            else:
                yield from self._store(with_provenance(entry, self._step_context, {}))

    def release(self, metadata: Mapping[str, Any]) -> Iterator[DagsterEvent]:
        """Store and pass on the entries that waited, with the metadata of the ended run."""
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            yield from self._store(with_provenance(entry, self._step_context, metadata))

    def error(self) -> dict[str, str] | None:
        """Return the error of a step that could not start: type, message, trace."""
        content = self._read("error.json")
        return json.loads(content) if content else None

    def _store(self, entry: dg.EventLogEntry) -> Iterator[DagsterEvent]:
        if _identity(entry) not in self._stored:
            self._step_context.instance.handle_new_event(entry)
        if entry.dagster_event:
            yield entry.dagster_event

    def _batch(self, number: int) -> list[dg.EventLogEntry] | None:
        content = self._read(f"events-{number:06d}.json.gz")
        if not content:
            # None while there is no such file; empty while it is being written.
            return None
        try:
            return deserialize_value(gzip.decompress(content).decode(), list)
        except (OSError, EOFError, zlib.error):
            # Not all there yet.
            return None

    def _identities(self) -> set[tuple[Any, ...]]:
        return {_identity(entry) for entry in self._step_context.instance.all_logs(self._step_context.run_id)}


def _identity(entry: dg.EventLogEntry) -> tuple[Any, ...]:
    event = entry.dagster_event
    what = (event.event_type_value, str(event.asset_key), event.partition) if event else ()
    return (entry.timestamp, entry.step_key, entry.user_message, *what)
