"""The step launcher's relay: Dagster's own events from the cluster into its event log, each exactly once."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.execution.context.system import StepExecutionContext
from dagster._serdes import deserialize_value

from churn_assets.databricks.steps.batches import Batches, Read
from churn_assets.databricks.steps.provenance import with_provenance

ENDINGS = {
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_UP_FOR_RETRY,
    DagsterEventType.STEP_SKIPPED,
}


class EventRelay:
    """Stores the events that the step has written, and passes them to the executor.

    Log lines and events go on at once, but from the first materialisation on events wait until the run is
    over: only then is it known how long it took, and a materialisation cannot be completed later.

    Attributes:
        ending: the event that ended the step on the cluster, None while there is none.
    """

    def __init__(self, step_context: StepExecutionContext, read: Read, *, attached: bool) -> None:
        self._step_context = step_context
        self._batches = Batches(read, lambda text: deserialize_value(text, list))
        self._waiting: list[dg.EventLogEntry] = []
        self.ending: DagsterEvent | None = None
        # A launcher before this one may have relayed some of them.
        self._stored = self._identities() if attached else set()

    @property
    def has_ending(self) -> bool:
        """Whether the step has said that it is over."""
        return self.ending is not None

    def pass_on(self) -> Iterator[DagsterEvent]:
        """Store new entries and pass their events to the executor, except those that wait for the end."""
        for entry in self._batches.new():
            event = entry.dagster_event
            if event and event.event_type in ENDINGS:
                self.ending = event
            if event and (self._waiting or event.event_type == DagsterEventType.ASSET_MATERIALIZATION):
                self._waiting.append(entry)
            else:
                yield from self._store(with_provenance(entry, self._step_context, {}))

    def release(self, metadata: Mapping[str, Any]) -> Iterator[DagsterEvent]:
        """Store and pass on the entries that waited, with the metadata of the ended run."""
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            yield from self._store(with_provenance(entry, self._step_context, metadata))

    def _store(self, entry: dg.EventLogEntry) -> Iterator[DagsterEvent]:
        if _identity(entry) not in self._stored:
            self._step_context.instance.handle_new_event(entry)
        if entry.dagster_event:
            yield entry.dagster_event

    def _identities(self) -> set[tuple[Any, ...]]:
        return {_identity(entry) for entry in self._step_context.instance.all_logs(self._step_context.run_id)}


def _identity(entry: dg.EventLogEntry) -> tuple[Any, ...]:
    event = entry.dagster_event
    what = (event.event_type_value, str(event.asset_key), event.partition) if event else ()
    return (entry.timestamp, entry.step_key, entry.user_message, *what)
