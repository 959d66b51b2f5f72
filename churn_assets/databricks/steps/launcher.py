"""The step launcher: runs each step of a Dagster run on Databricks, follows it and cleans up.

What differs from dagster-databricks' own, whose subclass it is, and why, is in docs/adr/0010.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.code_pointer import CodePointer
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.definitions.step_launcher import StepRunRef
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import DagsterEvent
from dagster._core.execution.context.system import StepExecutionContext
from dagster_databricks import DatabricksPySparkStepLauncher
from dagster_shared.utils.warnings import disable_dagster_warnings
from databricks.sdk.errors.base import DatabricksError

from churn_assets.databricks.archive import package_folder
from churn_assets.databricks.client import (
    PATIENCE_SECONDS,
    WorkspaceUnavailableError,
    workspace_client,
)
from churn_assets.databricks.compute.clusters import StepClusters
from churn_assets.databricks.compute.compute import require_compute
from churn_assets.databricks.preflight import require_workspace
from churn_assets.databricks.staging import step_staging
from churn_assets.databricks.steps.following import Following, InfrastructureError
from churn_assets.databricks.steps.launch import Launch, last_launch
from churn_assets.databricks.steps.leftovers import clear_leftovers
from churn_assets.databricks.steps.step_runs import StepRuns
from churn_assets.errors import WorkspaceError, one_line
from churn_assets.identity import OF_THIS_MACHINE
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

DEFINITIONS = "churn_assets.definitions"
# Its modules travel with the package: its own wheel would pull pyspark in, over the runtime's.
STAGED_BESIDE = "dagster_pyspark"

# A beat costs a request. Five minutes are enough for a run worker to be restarted and to re-attach.
HEARTBEAT_SECONDS = 10.0
MISSED_HEARTBEATS = 30


class ChurnStepLauncher(DatabricksPySparkStepLauncher):
    """A step launcher that runs each step as a Databricks run.

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
        # Superseded by Pipes, with no plan to remove it, as every run's log would say.
        with disable_dagster_warnings():
            super().__init__(
                run_config={},
                permissions={},
                databricks_host=workspace.config.host,
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
        self._patience_seconds = patience_seconds
        self._heartbeat = {"seconds": heartbeat_seconds, "missed": missed_heartbeats}
        self._staging = step_staging(settings, workspace)
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
            # Before the step, as Dagster does it for steps here: what is there now is what it reads.
            step_context.fetch_external_input_asset_version_info()
        try:
            attached = self._find(step_context)
            following = Following(
                step_context,
                self._runs,
                self._clusters,
                attached or self._start(step_context),
                attached=attached is not None,
                poll_seconds=self._settings.databricks_poll_seconds,
                heartbeat_seconds=self._heartbeat["seconds"],
            )
            yield from following.events()
        except (InfrastructureError, WorkspaceUnavailableError) as error:
            policy = step_context.op_retry_policy
            if policy is None:
                raise
            step_context.log.warning(str(error))
            raise dg.RetryRequested(
                max_retries=policy.max_retries,
                seconds_to_wait=policy.calculate_delay(step_context.previous_attempt_count + 1),
            ) from error
        except DatabricksError as error:
            raise WorkspaceError(
                f"Databricks refuses what the step launcher asks: {one_line(error)}."
            ) from error

    @contextmanager
    def for_run(
        self, instance: dg.DagsterInstance | None, run_id: str | None
    ) -> Iterator["ChurnStepLauncher"]:
        """Yield the launcher for one Dagster run, and terminate the run's cluster however the run ends.

        Before, it clears up after runs whose worker was killed; see ``leftovers``. It is for one process a
        run: of several, the first to end would take the cluster from the others.

        Args:
            instance: Dagster's.
            run_id: of the Dagster run.

        Raises:
            WorkspaceError: the workspace does not answer, or does not accept the credentials.
        """
        require_workspace(self._settings, self._patience_seconds)
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
        """Return the start that an earlier worker followed, if it still runs or has left its events."""
        attempt = step_context.previous_attempt_count
        launch = last_launch(step_context.instance, step_context.run_id, step_context.step.key, attempt)
        state = self._runs.find_state(launch) if launch else None
        if launch is None or state is None:
            return None
        if not state.has_ended or self._runs.read(launch, "events-000001.json.gz") is not None:
            step_context.log.info(
                "Databricks run %s is followed again: %s", launch.databricks_run_id, state.url
            )
            self._runs.beat(launch)
            return launch
        return None

    def _start(self, step_context: StepExecutionContext) -> Launch:
        run_id, step_key = step_context.run_id, step_context.step.key
        attempt = step_context.previous_attempt_count
        before = last_launch(step_context.instance, run_id, step_key, attempt)
        launch = Launch(run_id, step_key, attempt, before.restart + 1 if before else 0)
        try:
            # Not before: an interrupt must find somebody who cancels what it interrupted.
            with raise_execution_interrupts():
                cluster, secrets = self._clusters.cluster_for(step_context)
                config = {
                    "package": self._definitions.split(".", maxsplit=1)[0],
                    "environment": self._environment(),
                    "secrets": secrets,
                    "heartbeat": self._heartbeat,
                }
                self._runs.stage(launch, self._reference(step_context), config)
                launch = self._runs.submit(launch, cluster)
                launch.note(step_context.instance)
        except BaseException:
            self._runs.cancel(launch)
            self._runs.clean(launch)
            raise
        return launch

    def _environment(self) -> dict[str, str]:
        """The settings as environment variables for the cluster, without secrets."""
        here_only = {"DAGSTER_HOME", *OF_THIS_MACHINE}
        ours = {name: value for name, value in self._settings.as_env().items() if name not in here_only}
        return {**self.get_dagster_env_variables(), **ours}

    def _reference(self, step_context: StepExecutionContext) -> StepRunRef:
        """The step as the cluster loads it: from the staged package, not from this machine's paths."""
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
