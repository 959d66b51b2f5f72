"""A step's requests to the workspace: stage, submit, poll, cancel, clean up."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from databricks.sdk.errors import InvalidParameterValue, NotFound
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.jobs import JobEnvironment, RunType, SubmitTask

from churn_assets.databricks.client import patiently
from churn_assets.databricks.compute import run_state
from churn_assets.databricks.compute.run_state import RunState
from churn_assets.databricks.compute.step_compute import StepCompute
from churn_assets.databricks.staging import VolumeFolder
from churn_assets.databricks.steps.launch import Launch
from churn_assets.databricks.steps.staged_code import StagedCode
from churn_assets.errors import WorkspaceError, one_line

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

Answer = TypeVar("Answer")

TASK_KEY = "dagster-task"

# Cancelling is waited for, but a worker that was told to stop is killed soon.
CANCEL_SECONDS = 45.0

log = logging.getLogger(__name__)


class StepRuns:
    """The Databricks runs of steps, and their staged files.

    Args:
        workspace: the client that everything goes through.
        staging: where files are put.
        packages: folders of what is staged as code.
        patience_seconds: how long to ask again while the workspace is failing.
    """

    def __init__(
        self,
        workspace: "WorkspaceClient",
        staging: VolumeFolder,
        packages: list[Path],
        patience_seconds: float,
    ) -> None:
        self.workspace = workspace
        self._staging = staging
        self._patience_seconds = patience_seconds
        self._code = StagedCode(workspace, staging, packages, self._patiently)
        self._last_beats: dict[str, str] = {}

    def stage(self, launch: Launch, files: Mapping[str, bytes], config: Mapping[str, Any]) -> None:
        """Stage a step's files, and the code unless it is already there."""
        self._code.stage()
        for name, content in {**files, "config.json": json.dumps(config).encode()}.items():
            self._patiently(
                lambda name=name, content=content: self._staging.put(self._path(launch, name), content)
            )
        self._patiently(lambda: self._put_beat(launch))

    def submit(self, launch: Launch, compute: StepCompute) -> Launch:
        """Submit the step.

        Raises:
            WorkspaceError: the workspace does not take it.
        """
        task: dict[str, Any] = {
            "task_key": TASK_KEY,
            "spark_python_task": {
                "python_file": self._code.program,
                "parameters": [self._path(launch, "config.json"), self._code.packages],
            },
            **compute.task(self._code.requirements),
        }
        environments = [
            JobEnvironment.from_dict(one) for one in compute.environments(self._code.requirements)
        ]
        try:
            # The token makes it one run however often it is asked for.
            submitted = self._patiently(
                lambda: self.workspace.jobs.submit(
                    run_name=launch.name,
                    tasks=[SubmitTask.from_dict(task)],
                    environments=environments or None,
                    budget_policy_id=compute.budget_policy,
                    idempotency_token=launch.idempotency_token,
                )
            )
        except DatabricksError as error:
            raise WorkspaceError(
                f"Databricks does not take the step {launch.step_key}: {one_line(error)}."
            ) from error
        return replace(launch, databricks_run_id=submitted.response.run_id)

    def state(self, launch: Launch) -> RunState:
        """Return the state of its Databricks run."""
        return self._patiently(lambda: self._ask_state(launch))

    def find_state(self, launch: Launch) -> RunState | None:
        """Return the state of its Databricks run, None if the run no longer exists."""
        try:
            return self.state(launch)
        except (NotFound, InvalidParameterValue):
            return None

    def read(self, launch: Launch, name: str) -> bytes | None:
        """Return the content of one of the step's files, None if it does not exist."""
        return self._patiently(lambda: self._staging.get(self._path(launch, name)))

    def beat(self, launch: Launch) -> None:
        """Send the step a heartbeat. A missed one does no harm, so errors are only logged."""
        try:
            self._put_beat(launch)
        except (DatabricksError, WorkspaceError, OSError, TimeoutError) as error:
            log.info("A heartbeat of %s failed: %s", launch.name, one_line(error))

    def output(self, state: RunState) -> str:
        """Return the task's output as the service kept it: its error, or the end of its log."""
        try:
            output = self.workspace.jobs.get_run_output(state.task_run_id)
        except (DatabricksError, OSError, TimeoutError) as error:
            return f"no output could be had: {one_line(error)}."
        return (output.error_trace or output.error or output.logs or "")[-4000:]

    def cancel(self, launch: Launch) -> None:
        """Cancel its Databricks run and wait for its end. Errors are logged: without heartbeats it ends."""
        if launch.databricks_run_id is not None:
            self._cancel(launch, launch.databricks_run_id)
        else:
            # It may have been accepted though the answer was lost.
            self._cancel_by_name(launch)

    def clean(self, launch: Launch) -> None:
        """Delete its staged files. Errors are logged; the next run of this instance tries again."""
        folder = launch.folder(self._staging.root)
        self._last_beats.pop(launch.name, None)
        try:
            patiently(lambda: self._staging.delete(folder), min(self._patience_seconds, CANCEL_SECONDS))
        except (DatabricksError, WorkspaceError, OSError, TimeoutError) as error:
            log.warning("%s stays behind: %s", folder, one_line(error))
            return
        for parent in (folder.rsplit("/", 1)[0], folder.rsplit("/", 2)[0]):
            self._staging.delete_if_empty(parent)

    def _path(self, launch: Launch, name: str) -> str:
        return f"{launch.folder(self._staging.root)}/{name}"

    def _put_beat(self, launch: Launch) -> None:
        """Put a beat of a new name, and delete the one before: what is written over may be read as it was."""
        path = self._path(launch, f"beats/{time.time_ns()}")
        self._staging.put(path, b"")
        if before := self._last_beats.get(launch.name):
            self._staging.delete_file(before)
        self._last_beats[launch.name] = path

    def _ask_state(self, launch: Launch) -> RunState:
        # Not jobs.get_run: the SDK's class has no place for a state that it does not know.
        answer: Any = self.workspace.api_client.do(
            "GET", "/api/2.2/jobs/runs/get", query={"run_id": launch.databricks_run_id}
        )
        return run_state.read(answer)

    def _cancel(self, launch: Launch, databricks_run_id: int) -> None:
        until = time.monotonic() + CANCEL_SECONDS
        try:
            patiently(lambda: self.workspace.jobs.cancel_run(databricks_run_id), CANCEL_SECONDS)
            submitted = replace(launch, databricks_run_id=databricks_run_id)
            while (left := until - time.monotonic()) > 0:
                if patiently(lambda: self._ask_state(submitted), left).has_ended:
                    return
                time.sleep(0.2)
            log.warning("Databricks run %s was cancelled and has not ended yet.", databricks_run_id)
        except (DatabricksError, WorkspaceError, OSError, TimeoutError) as error:
            log.warning("Databricks run %s may still run: %s", databricks_run_id, one_line(error))

    def _cancel_by_name(self, launch: Launch) -> None:
        try:
            for run in self.workspace.jobs.list_runs(active_only=True, run_type=RunType.SUBMIT_RUN):
                if run.run_name == launch.name and run.run_id:
                    self._cancel(launch, run.run_id)
        except (DatabricksError, OSError, TimeoutError) as error:
            log.warning("Whether %s runs could not be asked: %s", launch.name, one_line(error))

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        return patiently(ask, self._patience_seconds)
