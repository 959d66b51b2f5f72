"""The step launcher: each step of a Dagster run as a run of Databricks, followed, and cleaned up after.

What differs from dagster-databricks' own, whose subclass it is, and why, is in docs/adr/0010.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.code_pointer import CodePointer
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.definitions.step_launcher import StepRunRef
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import DagsterEvent
from dagster._core.execution.context.system import StepExecutionContext
from dagster_databricks import DatabricksPySparkStepLauncher
from dagster_shared.utils.warnings import disable_dagster_warnings

from churn_assets.databricks.archive import package_folder
from churn_assets.databricks.client import PATIENCE_SECONDS, WorkspaceUnavailableError, workspace_client
from churn_assets.databricks.clusters import StepClusters
from churn_assets.databricks.compute import require_compute
from churn_assets.databricks.launch import Launch, noted
from churn_assets.databricks.leftovers import clear_leftovers
from churn_assets.databricks.relay import EventRelay
from churn_assets.databricks.run_state import RunState
from churn_assets.databricks.staging import staging
from churn_assets.databricks.step_runs import StepRuns
from churn_assets.errors import WorkspaceError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

DEFINITIONS = "churn_assets.definitions"
# Its modules travel with the package: see libraries.py.
STAGED_BESIDE = "dagster_pyspark"

# A beat costs a request. Five minutes are enough for a run worker to be restarted and to re-attach.
HEARTBEAT_SECONDS = 10.0
MISSED_HEARTBEATS = 30
# Once the step itself has ended, its process needs only a moment more.
ENDING_POLL_SECONDS = 0.1


class InfrastructureError(WorkspaceError):
    """A machine, the service or the network failed, not the step: its retry policy applies."""


class ChurnStepLauncher(DatabricksPySparkStepLauncher):
    """Runs each step as a run of Databricks.

    Args:
        settings: workspace, credentials, staging, compute.
        package: the folder of the package that the steps are in; that of churn_assets, without it.
        definitions: the module whose ``defs`` the cluster loads; it is in that package.
        patience_seconds: how long to ask again while the workspace is failing.
        heartbeat_seconds: between two signs of life to the step.
        missed_heartbeats: after so many a step takes itself for an orphan, and ends.

    Raises:
        SettingsError: something that is needed is not set; nothing was asked of the workspace.
    """

    def __init__(  # noqa: PLR0913 - all but the first have defaults, and are there for tests
        self,
        settings: Settings,
        *,
        package: Path | None = None,
        definitions: str = DEFINITIONS,
        patience_seconds: float = PATIENCE_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        missed_heartbeats: int = MISSED_HEARTBEATS,
    ) -> None:
        require_compute(settings)
        workspace = workspace_client(settings, patience_seconds)
        folder = package or package_folder(definitions.split(".", maxsplit=1)[0])
        # Superseded by Pipes, with no plan to remove it: the package is built on it, and a log need not say so.
        with disable_dagster_warnings():
            super().__init__(
                run_config={},
                permissions={},
                databricks_host=settings.databricks_host,
                # The client below has the credentials; this one only must not look for others.
                databricks_token="replaced",  # noqa: S106 - no password
                secrets_to_env_variables=[],
                staging_prefix="/churn_staging",
                wait_for_logs=False,
                max_completion_wait_time_seconds=0,
                local_dagster_job_package_path=str(folder.parent),
            )
        self.databricks_token = None
        self.databricks_runner.client._workspace_client = workspace
        self._settings = settings
        self._definitions = definitions
        self._heartbeat = {"seconds": heartbeat_seconds, "missed": missed_heartbeats}
        self._staging = staging(settings, workspace)
        packages = [folder, package_folder(STAGED_BESIDE)]
        self._runs = StepRuns(self.databricks_runner, self._staging, packages, patience_seconds)
        self._clusters = StepClusters(settings, workspace, patience_seconds)

    def launch_step(self, step_context: StepExecutionContext) -> Iterator[DagsterEvent]:
        """Run one step on Databricks.

        Raises:
            WorkspaceError: it did not run to an end of its own; it was cancelled where that was in doubt.
            RetryRequested: the same, by a failure that is not its own, where the asset has a retry policy.
        """
        if step_context.is_sda_step:
            step_context.fetch_external_input_asset_version_info()
        try:
            attached = self._find(step_context)
            launch = attached or self._start(step_context)
            yield from self._follow(step_context, launch, attached=attached is not None)
        except (InfrastructureError, WorkspaceUnavailableError) as error:
            policy = step_context.op_retry_policy
            if policy is None:
                raise
            step_context.log.warning(str(error))
            raise dg.RetryRequested(
                max_retries=policy.max_retries,
                seconds_to_wait=policy.calculate_delay(step_context.previous_attempt_count + 1),
            ) from error

    @contextmanager
    def for_run(
        self, instance: dg.DagsterInstance | None, run_id: str | None
    ) -> Iterator["ChurnStepLauncher"]:
        """The launcher for the time of one Dagster run, whose own cluster ends with it, whatever way it ends.

        Before, it clears up after runs whose worker was killed; see ``leftovers``. It is meant for one process
        a run: of several, the first to end would take the cluster from the others.

        Args:
            instance: Dagster's.
            run_id: of the Dagster run.
        """
        if instance:
            clear_leftovers(self.workspace, self._staging, instance)
        try:
            yield self
        finally:
            if run_id:
                self._clusters.end(run_id)

    @property
    def workspace(self) -> "WorkspaceClient":
        """The client that everything goes through."""
        return self._runs.workspace

    def _find(self, step_context: StepExecutionContext) -> Launch | None:
        """The start that a worker before this one followed, if it still runs or has left its events."""
        attempt = step_context.previous_attempt_count
        launch = noted(step_context.instance, step_context.run_id, step_context.step.key, attempt)
        state = self._runs.find_state(launch) if launch else None
        if launch is None or state is None:
            return None
        if not state.has_ended or self._runs.read(launch, "events-000001.json.gz") is not None:
            step_context.log.info(
                "Databricks run %s is followed again: %s", launch.databricks_run_id, state.url
            )
            return launch
        return None

    def _start(self, step_context: StepExecutionContext) -> Launch:
        run_id, step_key = step_context.run_id, step_context.step.key
        attempt = step_context.previous_attempt_count
        before = noted(step_context.instance, run_id, step_key, attempt)
        launch = Launch(run_id, step_key, attempt, before.restart + 1 if before else 0)
        try:
            cluster, libraries, secrets = self._clusters.of_step(step_context)
            config = {
                "package": self._definitions.split(".", maxsplit=1)[0],
                "environment": self._environment(),
                "secrets": secrets,
                "heartbeat": self._heartbeat,
            }
            self._runs.stage(launch, self._reference(step_context), config)
            launch = self._runs.submit(launch, cluster, libraries)
            launch.note(step_context.instance)
        except BaseException:
            self._runs.cancel(launch)
            self._runs.clean(launch)
            raise
        return launch

    def _follow(
        self, step_context: StepExecutionContext, launch: Launch, *, attached: bool
    ) -> Iterator[DagsterEvent]:
        relay = EventRelay(step_context, lambda name: self._runs.read(launch, name), attached=attached)
        state = RunState("UNKNOWN")
        try:
            yield self.get_databricks_run_dagster_event(step_context, launch.databricks_run_id or 0)
            # Where Dagster holds interrupts back, as in a run worker, waiting is where it may be interrupted.
            with raise_execution_interrupts():
                for state in self._states(launch, relay):  # noqa: B007 - the last one is read below
                    yield from relay.pass_on(relay.gather())
            yield from relay.release(self._metadata(launch, state))
        except BaseException:
            self._runs.cancel(launch)
            # What was materialised is there, though nobody may be left to hear of it.
            for _ in relay.release(self._metadata(launch, state)):
                pass
            self._runs.clean(launch)
            raise
        problem = None if relay.ending else self._problem(step_context, launch, state, relay)
        self._runs.clean(launch)
        if problem:
            raise problem

    def _states(self, launch: Launch, relay: EventRelay) -> Iterator[RunState]:
        """The run's state again and again, the last time when it has ended."""
        next_beat = time.monotonic() + self._heartbeat["seconds"]
        while True:
            state = self._runs.state(launch)
            yield state
            if state.has_ended:
                return
            if time.monotonic() > next_beat:
                self._runs.beat(launch)
                next_beat = time.monotonic() + self._heartbeat["seconds"]
            poll = self._settings.databricks_poll_seconds
            time.sleep(min(poll, ENDING_POLL_SECONDS) if relay.ending else poll)

    def _problem(
        self, step_context: StepExecutionContext, launch: Launch, state: RunState, relay: EventRelay
    ) -> WorkspaceError:
        """Why a run has ended without its step having come to an end."""
        if said := relay.error():
            step_context.log.error(said["trace"])
            return WorkspaceError(
                f"{launch.step_key} did not start on the cluster. {said['type']}: {said['message']}"
            )
        output = self._runs.output(state)
        if output:
            step_context.log.error(output)
        what = f"The Databricks run of {launch.step_key} ended without a result ({state}). See {state.url}"
        return WorkspaceError(what) if state.is_clients_fault else InfrastructureError(what)

    def _metadata(self, launch: Launch, state: RunState) -> dict[str, Any]:
        """What joins each materialisation. Of a range, each partition says what the whole range took."""
        dbu = self._clusters.dbu_estimate(state)
        return {
            "run_url": dg.MetadataValue.url(state.url),
            "run_id": launch.databricks_run_id or 0,
            "cluster": state.cluster_id,
            "execution_seconds": round(state.execution_seconds, 3),
            **({} if dbu is None else {"dbu_estimate": round(dbu, 6)}),
        }

    def _environment(self) -> dict[str, str]:
        """The settings, for the cluster; no secret is among them."""
        here_only = ("DAGSTER_HOME", "DATABRICKS_CLIENT_ID")
        ours = {name: value for name, value in self._settings.as_env().items() if name not in here_only}
        return {**self.get_dagster_env_variables(), **ours}

    def _reference(self, step_context: StepExecutionContext) -> StepRunRef:
        """The step as the cluster finds it: in the staged package, however it was found here."""
        pointer = CodePointer.from_module(self._definitions, "defs", working_directory=None)
        job = ReconstructableJob(ReconstructableRepository(pointer), step_context.job_name)
        return StepRunRef(
            run_config=step_context.run_config,
            dagster_run=step_context.dagster_run,
            run_id=step_context.run_id,
            retry_mode=step_context.retry_mode,
            step_key=step_context.step.key,
            recon_job=job,
            known_state=step_context.get_known_state(),
        )
