"""The job's tasks by name, and the values that they pass on to the job.

What each does is ``automation.runs.task_pipeline``; ``commands.task`` is the entry point of the wheel.
"""

import os
from typing import Literal, get_args

from churn_assets.databricks.compute.compute import SECRETS
from churn_assets.errors import WorkspaceError
from churn_assets.runtime import runs_on_cluster
from churn_assets.settings import Settings

TaskName = Literal["ingest", "featurize", "train", "score", "deploy"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)

# In place of deploy, where the endpoint is not this deployment's to change.
KEEP = "keep"

# The entry point that the wheel declares, and the function behind it.
ENTRY_POINT = "churn-task"
ENTRY_FUNCTION = "churn_assets.commands.task:main"

# What a task is told beside the settings.
TOLD_BESIDES = {"DAGSTER_DISABLE_TELEMETRY"}

# Set by featurize, read by the condition: the number of labelled rows to train on.
FEATURE_COUNT = "feature_count"


def take_settings(arguments: list[str]) -> bool:
    """Put settings that came as arguments, ``VARIABLE=value`` each, where settings are read.

    Returns:
        Whether all are that; otherwise none was taken.
    """
    pairs = [argument.partition("=") for argument in arguments]
    given = {name: value for name, equals, value in pairs if equals}
    if len(given) < len(arguments) or given.keys() - Settings.variables().keys() - TOLD_BESIDES:
        return False
    os.environ.update(given)
    return True


def read_secrets() -> None:
    """Read the secrets of the scope that the settings name, but for those that a cluster has read already.

    Serverless compute has no environment variables that could refer to them.
    """
    scope = os.environ.get("CHURN_DATABRICKS_SECRET_SCOPE")
    missing = {variable: key for variable, key in SECRETS.items() if variable not in os.environ}
    if not scope or not missing:
        return
    from databricks.sdk.runtime import dbutils

    present = {secret.key for secret in dbutils.secrets.list(scope)}
    os.environ.update(
        {variable: dbutils.secrets.get(scope, key) for variable, key in missing.items() if key in present}
    )


def require_cluster() -> None:
    """Fail unless this process runs on a cluster, whose session is a task's only engine.

    Raises:
        WorkspaceError: this process is neither on a Databricks cluster nor on serverless compute.
    """
    if not runs_on_cluster():
        raise WorkspaceError(
            f"{ENTRY_POINT} is a task of the Databricks job and runs on its compute only. "
            "Start the job with: churn workflow run"
        )


def set_task_value(key: str, value: int) -> None:
    """Set a task value, for later tasks of the same run and for the job's conditions."""
    from databricks.sdk.runtime import dbutils

    dbutils.jobs.taskValues.set(key=key, value=value)
