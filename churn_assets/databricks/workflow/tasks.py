"""The job's tasks by name, and the values that they pass on to the job.

What each does is ``automation.runs.task_pipeline``; ``commands.task`` is the entry point of the wheel.
"""

from typing import Literal, get_args

from churn_assets.errors import WorkspaceError
from churn_assets.runtime import runs_on_cluster

TaskName = Literal["ingest", "featurize", "train", "score", "deploy"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)

# In place of deploy, where the endpoint is not this deployment's to change.
KEEP = "keep"

# The entry point that the wheel declares, and the function behind it.
ENTRY_POINT = "churn-task"
ENTRY_FUNCTION = "churn_assets.commands.task:main"

# Set by featurize, read by the condition: the number of labelled rows to train on.
FEATURE_COUNT = "feature_count"


def require_cluster() -> None:
    """Fail unless this process runs on a cluster, whose session is a task's only engine.

    Raises:
        WorkspaceError: this process is not on a Databricks cluster.
    """
    if not runs_on_cluster():
        raise WorkspaceError(
            f"{ENTRY_POINT} is a task of the Databricks job and runs on its cluster only. "
            "Start the job with: churn workflow run"
        )


def set_task_value(key: str, value: int) -> None:
    """Set a task value, for later tasks of the same run and for the job's conditions."""
    from databricks.sdk.runtime import dbutils

    dbutils.jobs.taskValues.set(key=key, value=value)
