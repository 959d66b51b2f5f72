"""The step launcher: Dagster hands each step to it, and it runs it on Databricks.

What differs from dagster-databricks' own, whose subclass it is, and why, is in docs/adr/0010.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.code_pointer import CodePointer
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.definitions.step_launcher import StepRunRef
from dagster._core.events import DagsterEvent
from dagster._core.execution.context.system import StepExecutionContext
from dagster_databricks import DatabricksPySparkStepLauncher
from dagster_shared.utils.warnings import disable_dagster_warnings

from churn_assets.databricks.steps.launches import Launches, Order
from churn_assets.databricks.steps.relay import EventRelay
from churn_assets.settings import Settings


class ChurnStepLauncher(DatabricksPySparkStepLauncher):
    """A step launcher that runs each step as a Databricks run.

    Args:
        settings: workspace, credentials, staging, compute.
        options: those of ``Launches``.

    Raises:
        SettingsError: something that is needed is not set; nothing was asked of the workspace.
    """

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.launches = Launches(settings, **options)
        # Superseded by Pipes, with no plan to remove it, as every run's log would say.
        with disable_dagster_warnings():
            super().__init__(
                run_config={},
                permissions={},
                databricks_host=self.launches.workspace.config.host,
                # Ours has the credentials; the client that it makes is not used, and must not look for any.
                databricks_token="unused",  # noqa: S106 - no password
                secrets_to_env_variables=[],
                staging_prefix="/churn_staging",
                wait_for_logs=False,
                max_completion_wait_time_seconds=0,
                local_dagster_job_package_path=str(self.launches.package.parent),
            )
        self.databricks_token = None
        self.databricks_runner.client._workspace_client = self.launches.workspace

    def launch_step(self, step_context: StepExecutionContext) -> Iterator[DagsterEvent]:
        """Run one step on Databricks.

        Raises:
            WorkspaceError: it did not run to an end of its own; it was cancelled where that was in doubt.
            RetryRequested: the same, by a failure that is not its own, where the asset has a retry policy.
        """
        if step_context.is_sda_step:
            # Before the step, as Dagster does it for steps here: what is there now is what it reads.
            step_context.fetch_external_input_asset_version_info()
        yield from self.launches.run(
            step_context,
            lambda: Order("step", {}, {"step_run_ref.pkl": pickle.dumps(self._reference(step_context))}),
            lambda read, attached: EventRelay(step_context, read, attached=attached),
        )

    @contextmanager
    def for_run(
        self, instance: dg.DagsterInstance | None, run_id: str | None
    ) -> Iterator["ChurnStepLauncher"]:
        """Yield the launcher for one Dagster run; see ``Launches.for_run``."""
        with self.launches.for_run(instance, run_id):
            yield self

    def _reference(self, step_context: StepExecutionContext) -> StepRunRef:
        """The step as the cluster loads it: from the staged package, not from this machine's paths."""
        pointer = CodePointer.from_module(self.launches.definitions, "defs", working_directory=None)
        run = step_context.dagster_run
        job = ReconstructableJob(
            ReconstructableRepository(pointer),
            step_context.job_name,
            # A check asks whether its run writes the table as well.
            asset_selection=run.asset_selection,
            asset_check_selection=run.asset_check_selection,
        )
        return StepRunRef(
            run_config=step_context.run_config,
            dagster_run=run,
            run_id=step_context.run_id,
            retry_mode=step_context.retry_mode,
            step_key=step_context.step.key,
            recon_job=job,
            known_state=step_context.get_known_state(),
        )
