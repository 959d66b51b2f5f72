"""What every launcher does with a step: start it or find it again, follow it to its end, clean up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import dagster as dg
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import DagsterEvent
from dagster._core.execution.context.system import StepExecutionContext
from databricks.sdk.errors.base import DatabricksError

from churn_assets.databricks.archive import package_folder
from churn_assets.databricks.client import PATIENCE_SECONDS, WorkspaceUnavailableError, workspace_client
from churn_assets.databricks.compute.compute import require_compute
from churn_assets.databricks.compute.step_compute import StepComputes
from churn_assets.databricks.preflight import require_workspace
from churn_assets.databricks.staging import step_staging
from churn_assets.databricks.steps.batches import FIRST, Read
from churn_assets.databricks.steps.following import Following, InfrastructureError, Relay
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

# A beat costs two requests. Five minutes are enough for a run worker to be restarted and to re-attach.
HEARTBEAT_SECONDS = 10.0
MISSED_HEARTBEATS = 30


class Order(NamedTuple):
    """What a launcher gives to a step, beside what all steps are given.

    Attributes:
        launcher: whose side runs on the cluster, see ``remote_main.RUNNERS``.
        config: what that side reads of ``config.json``.
        files: what it finds beside it.
    """

    launcher: Literal["step", "pipes"]
    config: dict[str, Any]
    files: dict[str, bytes]


class Launches:
    """The steps that one process launches.

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
        self.workspace: WorkspaceClient = workspace_client(settings, patience_seconds)
        self.package = package or package_folder(definitions.split(".", maxsplit=1)[0])
        self.definitions = definitions
        self.staging = step_staging(settings, self.workspace)
        self.settings = settings
        self._patience_seconds = patience_seconds
        self._heartbeat = {"seconds": heartbeat_seconds, "missed": missed_heartbeats}
        packages = [self.package, package_folder(STAGED_BESIDE)]
        self._runs = StepRuns(self.workspace, self.staging, packages, patience_seconds)
        self._computes = StepComputes(settings, self.workspace, patience_seconds)

    def run(
        self,
        step_context: StepExecutionContext,
        order: Callable[[], Order],
        relay: Callable[[Read, bool], Relay],
    ) -> Iterator[DagsterEvent]:
        """Run one step on Databricks.

        Args:
            step_context: of the step.
            order: what it is given, asked for when it starts.
            relay: makes what takes over what the step says, from a reader of its files, and from whether an
                earlier worker may have taken over some of it.

        Raises:
            WorkspaceError: it did not run to an end of its own; it was cancelled where that was in doubt.
            RetryRequested: the same, by a failure that is not its own, where the asset has a retry policy.
        """
        try:
            attached = self._find(step_context)
            launch = attached or self._start(step_context, order)
            following = Following(
                step_context,
                self._runs,
                self._computes,
                launch,
                relay(lambda name: self._runs.read(launch, name), attached is not None),
                poll_seconds=self.settings.databricks_poll_seconds,
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
            raise WorkspaceError(f"Databricks refuses what the launcher asks: {one_line(error)}.") from error

    @contextmanager
    def for_run(self, instance: dg.DagsterInstance | None, run_id: str | None) -> Iterator[None]:
        """Launch the steps of one Dagster run, and terminate the run's cluster however the run ends.

        Before, it clears up after runs whose worker was killed; see ``leftovers``. It is for one process a
        run: of several, the first to end would take the cluster from the others.

        Args:
            instance: Dagster's.
            run_id: of the Dagster run.

        Raises:
            WorkspaceError: the workspace does not answer, or does not accept the credentials.
        """
        require_workspace(self.settings, self._patience_seconds)
        if instance:
            clear_leftovers(self.workspace, self.staging, instance)
        try:
            yield
        finally:
            if run_id:
                self._computes.end(run_id)

    def _find(self, step_context: StepExecutionContext) -> Launch | None:
        """Return the start that an earlier worker followed, if it still runs or has left its events."""
        attempt = step_context.previous_attempt_count
        launch = last_launch(step_context.instance, step_context.run_id, step_context.step.key, attempt)
        state = self._runs.find_state(launch) if launch else None
        if launch is None or state is None:
            return None
        if not state.has_ended or self._runs.read(launch, FIRST) is not None:
            step_context.log.info(
                "Databricks run %s is followed again: %s", launch.databricks_run_id, state.url
            )
            self._runs.beat(launch)
            return launch
        return None

    def _start(self, step_context: StepExecutionContext, order: Callable[[], Order]) -> Launch:
        run_id, step_key = step_context.run_id, step_context.step.key
        attempt = step_context.previous_attempt_count
        before = last_launch(step_context.instance, run_id, step_key, attempt)
        launch = Launch(run_id, step_key, attempt, before.restart + 1 if before else 0)
        try:
            # Not before: an interrupt must find somebody who cancels what it interrupted.
            with raise_execution_interrupts():
                compute = self._computes.for_step(step_context)
                ours = order()
                config = {
                    "launcher": ours.launcher,
                    "package": self.definitions.split(".", maxsplit=1)[0],
                    "environment": self._environment(),
                    "secrets": compute.secrets,
                    "heartbeat": self._heartbeat,
                    **ours.config,
                }
                self._runs.stage(launch, ours.files, config)
                launch = self._runs.submit(launch, compute)
                launch.note(step_context.instance)
        except BaseException:
            self._runs.cancel(launch)
            self._runs.clean(launch)
            raise
        return launch

    def _environment(self) -> dict[str, str]:
        """The settings as environment variables for the cluster, without secrets."""
        here_only = {"DAGSTER_HOME", *OF_THIS_MACHINE}
        return {name: value for name, value in self.settings.as_env().items() if name not in here_only}
