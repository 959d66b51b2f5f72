"""Runs a step for the Pipes launcher: the asset as the definitions have it, reported through Pipes."""

import contextlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .batches import Batches
from .heartbeat import Heartbeat
from .pipes_reports import Reports

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun, JobDefinition

# Whether and when to try again is decided where attempts are counted.
NO_RETRIES = {"execution": {"config": {"retries": {"disabled": {}}}}}


def run(folder: Path, config: dict[str, Any], heartbeat: Heartbeat) -> bool:
    """Run the step, and return whether it ended well."""
    from dagster_pipes import (
        PipesDefaultContextLoader,
        PipesMappingParamsLoader,
        PipesMessageWriter,
        PipesMessageWriterChannel,
        open_dagster_pipes,
    )

    class Channel(PipesMessageWriterChannel):
        def write_message(self, message: Any) -> None:
            batches.put(message)

    class Writer(PipesMessageWriter[Channel]):
        @contextlib.contextmanager
        def open(self, params: Any) -> Iterator[Channel]:  # noqa: ARG002 - all is beside config.json
            yield Channel()

    with (
        Batches(folder, heartbeat, json.dumps) as batches,
        open_dagster_pipes(
            params_loader=PipesMappingParamsLoader(config["pipes"]),
            context_loader=PipesDefaultContextLoader(),
            message_writer=Writer(),
        ) as pipes,
    ):
        reports = Reports(pipes)
        _execute(config["definitions"], pipes.get_extra("step"), pipes.run_id, reports)
        # Here, and not when the step fails: what Dagster says of its end comes before.
        pipes.close(reports.exception)
        return reports.ended_well


def _execute(definitions: str, step: dict[str, Any], run_id: str, reports: Reports) -> None:
    """Execute one step of a run as Dagster would have done it there.

    Args:
        definitions: the module whose ``defs`` has the asset.
        step: ``key`` of the step, and of its run ``config``, ``tags``, ``assets`` and ``checks``.
        run_id: of the Dagster run.
        reports: takes the events.
    """
    import dagster as dg
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run

    # The step runs among all that its run selects: a check asks whether its table is written as well.
    job = importlib.import_module(definitions).defs.resolve_implicit_global_asset_job_def()
    job = job.get_subset(
        asset_selection={dg.AssetKey(path) for path in step["assets"]},
        asset_check_selection={dg.AssetCheckKey(dg.AssetKey(path), name) for path, name in step["checks"]},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_event_listener(run_id, reports.take)
        execute_run(InMemoryJob(job), _run_of(job, step, run_id, instance), instance)


def _run_of(
    job: "JobDefinition", step: dict[str, Any], run_id: str, instance: "DagsterInstance"
) -> "DagsterRun":
    from dagster._core.execution.api import create_execution_plan

    run_config = {**step["config"], **NO_RETRIES}
    plan = create_execution_plan(job, run_config, step_keys_to_execute=[step["key"]], tags=step["tags"])
    return instance.create_run_for_job(
        job, execution_plan=plan, run_id=run_id, run_config=run_config, tags=step["tags"]
    )
