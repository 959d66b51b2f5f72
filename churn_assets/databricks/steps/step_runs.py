"""A step's requests to the workspace: stage, submit, poll, cancel, clean up."""

import json
import logging
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dagster._core.definitions.step_launcher import StepRunRef
from dagster_databricks.databricks import DatabricksJobRunner
from databricks.sdk.errors import InvalidParameterValue, NotFound
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.jobs import RunType

from churn_assets.databricks.archive import Archive, archive
from churn_assets.databricks.client import patiently
from churn_assets.databricks.compute import run_state
from churn_assets.databricks.compute.libraries import FILE, cluster_requirements
from churn_assets.databricks.compute.run_state import RunState
from churn_assets.databricks.staging import VolumeFolder
from churn_assets.databricks.steps import remote_main
from churn_assets.databricks.steps.launch import Launch
from churn_assets.errors import WorkspaceError, one_line

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

Answer = TypeVar("Answer")

# Cancelling is waited for, but a worker that was told to stop is killed soon.
CANCEL_SECONDS = 45.0

log = logging.getLogger(__name__)


class StepRuns:
    """The Databricks runs of steps, and their staged files.

    Args:
        runner: dagster-databricks' own, which submits.
        staging: where files are put.
        packages: folders of what is staged as code.
        patience_seconds: how long to ask again while the workspace is failing.
    """

    def __init__(
        self,
        runner: DatabricksJobRunner,
        staging: VolumeFolder,
        packages: list[Path],
        patience_seconds: float,
    ) -> None:
        self._runner = runner
        self._staging = staging
        self._packages = packages
        self._patience_seconds = patience_seconds
        self._code: Archive | None = None
        self._beats = 0

    @property
    def workspace(self) -> "WorkspaceClient":
        """The client that everything goes through."""
        return self._runner.client.workspace_client

    def stage(self, launch: Launch, step_run_ref: StepRunRef, config: Mapping[str, Any]) -> None:
        """Stage a step's files, and the code unless it is already there."""
        self._stage_code()
        self._put(launch, "step_run_ref.pkl", pickle.dumps(step_run_ref))
        self._put(launch, "config.json", json.dumps(config).encode())
        self._put(launch, "heartbeat", self._next_beat())

    def submit(self, launch: Launch, cluster: Mapping[str, Any]) -> Launch:
        """Submit the step.

        Raises:
            WorkspaceError: the workspace does not take it.
        """
        config = {
            "run_name": launch.name,
            "cluster": cluster,
            "libraries": [{"requirements": self._requirements_path}],
            "install_default_libraries": False,
            "idempotency_token": launch.idempotency_token,
        }
        task = {
            "spark_python_task": {
                "python_file": self._main_path,
                "parameters": [
                    self._path(launch, "config.json"),
                    self._code_path,
                ],
            }
        }
        try:
            # The token makes it one run however often it is asked for.
            databricks_run_id = self._patiently(lambda: self._runner.submit_run(config, task))
        except DatabricksError as error:
            raise WorkspaceError(
                f"Databricks does not take the step {launch.step_key}: {one_line(error)}."
            ) from error
        return replace(launch, databricks_run_id=databricks_run_id)

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
            self._staging.put(self._path(launch, "heartbeat"), self._next_beat())
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
        try:
            patiently(lambda: self._staging.delete(folder), min(self._patience_seconds, CANCEL_SECONDS))
        except (DatabricksError, WorkspaceError, OSError, TimeoutError) as error:
            log.warning("%s stays behind: %s", folder, one_line(error))
            return
        for parent in (folder.rsplit("/", 1)[0], folder.rsplit("/", 2)[0]):
            self._staging.delete_if_empty(parent)

    def _stage_code(self) -> None:
        if self._code is None:
            self._code = archive(self._packages)
            main = Path(remote_main.__file__).read_bytes()
            for path, content in (
                (self._code_path, self._code.content),
                (self._main_path, main),
                (self._requirements_path, cluster_requirements().content),
            ):
                if not self._patiently(lambda path=path: self._staging.exists(path)):
                    self._patiently(lambda path=path, content=content: self._staging.put(path, content))

    @property
    def _code_folder(self) -> str:
        if self._code is None:
            raise WorkspaceError("A step is submitted before its code was staged.")
        return f"{self._staging.root}/code/{self._code.digest}"

    @property
    def _code_path(self) -> str:
        return f"{self._code_folder}/code.zip"

    @property
    def _main_path(self) -> str:
        return f"{self._code_folder}/churn_step.py"

    @property
    def _requirements_path(self) -> str:
        # One path for all steps, whatever their code: a shared cluster installs a library once.
        return f"{self._staging.root}/code/requirements-{cluster_requirements().digest}/{FILE}"

    def _path(self, launch: Launch, name: str) -> str:
        return f"{launch.folder(self._staging.root)}/{name}"

    def _put(self, launch: Launch, name: str, content: bytes) -> None:
        self._patiently(lambda: self._staging.put(self._path(launch, name), content))

    def _next_beat(self) -> bytes:
        self._beats += 1
        return f"{self._beats} at {time.time():.3f}".encode()

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
