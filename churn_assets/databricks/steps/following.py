"""Follows a step on Databricks to its end: relays events, sends heartbeats, reports how it ended."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import dagster as dg
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData
from dagster._core.execution.context.system import StepExecutionContext

from churn_assets.databricks.compute.run_state import RunState
from churn_assets.databricks.compute.step_compute import StepComputes
from churn_assets.databricks.steps.launch import Launch
from churn_assets.databricks.steps.step_runs import StepRuns
from churn_assets.errors import WorkspaceError

# Once the step itself has ended, its process needs only a moment more.
ENDING_POLL_SECONDS = 0.1


class InfrastructureError(WorkspaceError):
    """A failure of a machine or of the service, not of the step, so that its retry policy applies."""


class Relay(Protocol):
    """How what happens on the cluster comes into Dagster: what the two launchers do not share."""

    @property
    def has_ending(self) -> bool:
        """Whether the step has said that it is over."""
        ...

    def pass_on(self) -> Iterator[DagsterEvent]:
        """Take over what is new, except what has to wait for the run's end."""
        ...

    def release(self, metadata: Mapping[str, Any]) -> Iterator[DagsterEvent]:
        """Take over what waited, with the metadata of the ended run."""
        ...


class Following:
    """One step, from its submission to its end.

    Args:
        step_context: of the step.
        runs: asks the workspace.
        computes: estimate the step's cost.
        launch: the submitted start.
        relay: takes over what the step says.
        poll_seconds: between two polls of its state.
        heartbeat_seconds: between two heartbeats.
    """

    def __init__(  # noqa: PLR0913 - all are needed, and one place calls it
        self,
        step_context: StepExecutionContext,
        runs: StepRuns,
        computes: StepComputes,
        launch: Launch,
        relay: Relay,
        *,
        poll_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        self._step_context = step_context
        self._runs = runs
        self._computes = computes
        self._launch = launch
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._relay = relay
        self._state = RunState("UNKNOWN")

    def events(self) -> Iterator[DagsterEvent]:
        """Yield the step's events as they arrive.

        Whatever goes wrong here, the Databricks run is cancelled; whatever happens, its files are deleted.

        Raises:
            WorkspaceError: the run has ended and the step has not.
        """
        try:
            # Dagster holds interrupts back, but for where a step may be interrupted: here.
            with raise_execution_interrupts():
                for state in self._states():
                    self._state = state
                    yield from self._relay.pass_on()
            yield from self._relay.release(self._metadata())
            self._require_ending()
        except BaseException:
            if not self._state.has_ended:
                self._runs.cancel(self._launch)
            # What was materialised is there, though nobody may be left to hear of it.
            for _ in self._relay.release(self._metadata()):
                pass
            raise
        finally:
            self._runs.clean(self._launch)

    def _states(self) -> Iterator[RunState]:
        """Poll the run and yield its states, the last one when it has ended."""
        next_beat = time.monotonic() + self._heartbeat_seconds
        announced = False
        while True:
            state = self._runs.state(self._launch)
            if not announced:
                self._announce(state)
                announced = True
            yield state
            if state.has_ended:
                return
            if time.monotonic() > next_beat:
                self._runs.beat(self._launch)
                next_beat = time.monotonic() + self._heartbeat_seconds
            poll = self._poll_seconds
            time.sleep(min(poll, ENDING_POLL_SECONDS) if self._relay.has_ending else poll)

    def _announce(self, state: RunState) -> None:
        """Log a link to the Databricks run in Dagster."""
        DagsterEvent.from_step(
            DagsterEventType.ENGINE_EVENT,
            self._step_context,
            EngineEventData({"run_url": dg.MetadataValue.url(state.url)}),
            f"The step runs as Databricks run {self._launch.databricks_run_id}.",
        )

    def _require_ending(self) -> None:
        """Fail if the run ended without a result of the step, with the reason."""
        if self._relay.has_ending:
            return
        log, step_key, state = self._step_context.log, self._launch.step_key, self._state
        if error := self._error():
            log.error(error["trace"])
            raise WorkspaceError(
                f"{step_key} did not start on the cluster. {error['type']}: {error['message']}"
            )
        if output := self._runs.output(state):
            log.error(output)
        what = f"The Databricks run of {step_key} ended without a result ({state}). See {state.url}"
        raise WorkspaceError(what) if state.is_clients_fault else InfrastructureError(what)

    def _error(self) -> dict[str, str] | None:
        """Return the error of a step that could not start: type, message, trace."""
        content = self._runs.read(self._launch, "error.json")
        return json.loads(content) if content else None

    def _metadata(self) -> dict[str, Any]:
        """The metadata of each materialisation; each partition of a range has the whole range's figures."""
        dbu = self._computes.dbu_estimate(self._state)
        return {
            "run_url": dg.MetadataValue.url(self._state.url),
            "run_id": self._launch.databricks_run_id or 0,
            # Serverless compute has none.
            **({"cluster": self._state.cluster_id} if self._state.cluster_id else {}),
            "execution_seconds": round(self._state.execution_seconds, 3),
            **({} if dbu is None else {"dbu_estimate": round(dbu, 6)}),
        }
