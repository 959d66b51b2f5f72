"""The entry point of the wheel on the job's compute: ``churn-task NAME [VARIABLE=value …]``.

It imports none of the command line's libraries, which a cluster does not have.
"""

import datetime as dt
import sys
import traceback
from typing import cast

import dagster as dg

from churn_assets import settings as settings_module
from churn_assets.automation.runs.runner import RunFailedError
from churn_assets.automation.runs.task_pipeline import TaskPipeline
from churn_assets.databricks.workflow.tasks import (
    ENTRY_POINT,
    FEATURE_COUNT,
    KEEP,
    TASKS,
    TaskName,
    read_secrets,
    require_cluster,
    set_task_value,
    take_settings,
)
from churn_assets.errors import ChurnError
from churn_assets.graph import build_defs
from churn_assets.resources import lakehouse


def main() -> None:
    """Run the task that the first argument names, with the settings that the others give.

    Raises:
        SystemExit: with one line that says why it failed, which the job shows as the task's error; with 2 if
            the argument is no task.
    """
    # A success returns: a Databricks driver takes any exit for a failure.
    name, *told = sys.argv[1:] or [""]
    if name not in (*TASKS, KEEP) or not take_settings(told):
        print(f"Usage: {ENTRY_POINT} {'|'.join(TASKS)} [VARIABLE=value …]", file=sys.stderr)
        raise SystemExit(2)
    if name == KEEP:
        _say("The endpoint was left as it is.")
        return
    try:
        run_task(cast("TaskName", name))
    except RunFailedError as error:
        traceback.print_exception(error)
        # The history of this process ends with it.
        reason = str(error).partition(" Its run in Dagster")[0]
        raise SystemExit(f"{reason} The task's log has the whole trace.") from error
    except ChurnError as error:
        raise SystemExit(str(error)) from error


def run_task(name: TaskName) -> None:
    """Run one task, and print its steps as it goes.

    Args:
        name: the name of the task.

    Raises:
        ChurnError: in one line, what stopped it.
    """
    require_cluster()
    read_secrets()
    settings = settings_module.load()
    now = dt.datetime.now(dt.UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = TaskPipeline(build_defs(settings), lakehouse(settings), instance, _say)
        match name:
            case "ingest":
                pipeline.ingest()
            case "featurize":
                count = pipeline.featurize(now)
                set_task_value(FEATURE_COUNT, count)
                _say(f"Data covers {pipeline.report.covered}; {count:,} labelled rows.")
            case "train":
                pipeline.train()
            case "score":
                pipeline.score(now)
            case "deploy":
                pipeline.deploy()
    for note in pipeline.report.notes:
        _say(note)
    _say(f"{name}: done, {len(pipeline.report.runs)} runs")


def _say(line: str) -> None:
    print(line, flush=True)
