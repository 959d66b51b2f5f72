"""The Pipes launcher: each asset opens a session of Dagster Pipes, and a Databricks run reports into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.context.system import StepExecutionContext

from churn_assets.databricks.steps.launches import Launches, Order
from churn_assets.databricks.steps.pipes_relay import MessageReader, PipesRelay
from churn_assets.databricks.steps.pipes_results import Result, results
from churn_assets.errors import ChurnError
from churn_assets.settings import Settings


class StepFailedError(Exception):
    """A step's own failure on the cluster; no ``ChurnError``, so that Dagster applies the retry policy."""


class StepRefusedError(ChurnError):
    """A step's failure on the cluster that another attempt would not change."""


class ChurnPipesLauncher:
    """Runs each step as a Databricks run that reports through Dagster Pipes.

    Args:
        settings: workspace, credentials, staging, compute.
        options: those of ``Launches``.

    Raises:
        SettingsError: something that is needed is not set; nothing was asked of the workspace.
    """

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.launches = Launches(settings, **options)

    def launch(self, context: dg.OpExecutionContext) -> Iterator[Result]:
        """Run the step of an asset or check on Databricks, and yield what it reports.

        Raises:
            StepFailedError: it failed.
            StepRefusedError: it failed, and would fail again.
            WorkspaceError: it did not run to an end of its own; it was cancelled where that was in doubt.
            RetryRequested: the same, by a failure that is not its own, where the asset has a retry policy.
        """
        step_context: Any = context.get_step_execution_context()
        reader = MessageReader()
        with dg.open_pipes_session(
            context=context,
            # Into config.json, with the settings: no file of its own, and nothing in arguments.
            context_injector=dg.PipesEnvContextInjector(),
            message_reader=reader,
            extras={"step": step_of(step_context)},
        ) as session:
            config = {
                "definitions": self.launches.definitions,
                "pipes": dict(session.get_bootstrap_env_vars()),
            }
            relays: list[PipesRelay] = []

            def relay(read: Any, attached: bool) -> PipesRelay:
                relays.append(PipesRelay(step_context, reader, read, attached=attached))
                return relays[0]

            try:
                for _ in self.launches.run(step_context, lambda: Order("pipes", config, {}), relay):
                    pass
            except (Exception, KeyboardInterrupt, DagsterExecutionInterruptedError):
                # What was materialised is there, though the step has not ended.
                for ended in relays:
                    yield from results(session, context, ended.metadata)
                raise
        ended = relays[0]
        yield from results(session, context, ended.metadata)
        if ended.failure:
            what = ended.failure.line
            raise StepRefusedError(what) if ended.failure.is_final else StepFailedError(what)

    @contextmanager
    def for_run(
        self, instance: dg.DagsterInstance | None, run_id: str | None
    ) -> Iterator["ChurnPipesLauncher"]:
        """Yield the launcher for one Dagster run; see ``Launches.for_run``."""
        with self.launches.for_run(instance, run_id):
            yield self


def step_of(step_context: StepExecutionContext) -> dict[str, Any]:
    """Return what the cluster needs to find the step and to run it as part of the same run."""
    layer = step_context.job_def.asset_layer
    checks = {key for data in layer.data for key in data.assets_def.check_keys}
    config = {name: part for name, part in step_context.run_config.items() if name in ("ops", "resources")}
    return {
        "key": step_context.step.key,
        "config": config,
        "tags": dict(step_context.dagster_run.tags),
        "assets": sorted(list(key.path) for key in layer.selected_asset_keys),
        "checks": sorted([list(key.asset_key.path), key.name] for key in checks),
    }
