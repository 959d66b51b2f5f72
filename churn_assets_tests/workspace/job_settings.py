"""What the settings of a job or of a submitted run may say, beyond the types of their fields."""

import re
from collections.abc import Iterator
from typing import Any

from churn_assets_tests.workspace import serverless
from churn_assets_tests.workspace.references import check_references
from churn_assets_tests.workspace.routing import Violation

NOTED = {"email_notifications", "notification_settings", "timeout_seconds", "queue", "access_control_list"}
NOTED |= {"budget_policy_id", "environments", "health", "run_as"}
SUBMIT_FIELDS = {"run_name", "tasks", "idempotency_token"} | NOTED
JOB_FIELDS = {
    "name",
    "tasks",
    "job_clusters",
    "schedule",
    "tags",
    "parameters",
    "max_concurrent_runs",
    "performance_target",
} | NOTED
JOB_FIELDS |= {"format", "description", "edit_mode", "deployment"}
KINDS = {"spark_python_task", "python_wheel_task", "condition_task"}
COMPUTE = {"new_cluster", "existing_cluster_id", "job_cluster_key", "environment_key"}
CLUSTERS = COMPUTE - {"environment_key"}
TASK_FIELDS = (
    {"task_key", "depends_on", "run_if", "description", "libraries", "timeout_seconds"} | KINDS | COMPUTE
)
TASK_FIELDS |= {"email_notifications", "notification_settings"}
TASK_FIELDS |= {"max_retries", "min_retry_interval_millis", "retry_on_timeout", "disable_auto_optimization"}


def check(settings: dict[str, Any], known: set[str]) -> None:
    """Refuse settings that make no sense, or that are not emulated.

    Raises:
        Violation: naming what is wrong.
    """
    _only(settings, known, "The job")
    tasks = settings.get("tasks") or []
    if not 0 < len(tasks) <= 100:
        raise Violation(f"A run takes 1 to 100 tasks, not {len(tasks)}.")
    keys = [task["task_key"] for task in tasks]
    if len(set(keys)) != len(keys):
        raise Violation(f"Task keys must be unique: {keys}.")
    clusters = {job_cluster["job_cluster_key"] for job_cluster in settings.get("job_clusters") or []}
    environments = serverless.check_environments(settings.get("environments") or [])
    _check_run_as(settings.get("run_as"))
    upstream = _upstream(tasks)
    _check_outcomes(tasks)
    for task in tasks:
        _check_task(task, clusters, upstream[task["task_key"]])
        if "condition_task" not in task and not CLUSTERS & set(task):
            serverless.check_task(task, environments)


def with_overrides(settings: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A job's settings with what ``run-now`` says otherwise.

    Raises:
        Violation: it asks for what is not emulated.
    """
    known = {"job_id", "idempotency_token", "job_parameters", "python_params", "python_named_params", "queue"}
    _only(overrides, known, "run-now")
    tasks = []
    for original in settings["tasks"]:
        task = dict(original)
        for kind in ("spark_python_task", "python_wheel_task"):
            if kind in task and "python_params" in overrides:
                task[kind] = task[kind] | {"parameters": overrides["python_params"]}
        if "python_wheel_task" in task and "python_named_params" in overrides:
            named = (task["python_wheel_task"].get("named_parameters") or {}) | overrides[
                "python_named_params"
            ]
            task["python_wheel_task"] = task["python_wheel_task"] | {"named_parameters": named}
        tasks.append(task)
    return settings | {"tasks": tasks}


def _only(fields: dict[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(fields) - known)
    if unknown:
        raise Violation(f"{what} says {', '.join(unknown)}, which the emulator does not act on.")


def _check_task(task: dict[str, Any], clusters: set[str], upstream: set[str]) -> None:
    key = task["task_key"]
    where = f"Task {key}"
    if not re.fullmatch(r"[\w-]{1,100}", key):
        raise Violation(f"The task key {key!r} may hold letters, digits, - and _ only.")
    _only(task, TASK_FIELDS, where)
    # SDK, ``Task.max_retries``: "The value `-1` means to retry indefinitely and the value `0` means to never
    # retry."
    if not 0 <= task.get("max_retries", 0) <= 10:
        raise Violation(f"{where} is to be retried {task['max_retries']} times, which is not emulated.")
    kinds, compute = KINDS & set(task), COMPUTE & set(task)
    if len(kinds) != 1:
        raise Violation(f"{where} is {sorted(kinds) or 'nothing'}; it must be one of {sorted(KINDS)}.")
    if len(compute) > ("condition_task" not in task):
        raise Violation(f"{where} runs on {sorted(compute)}; it must be one of {sorted(COMPUTE)}.")
    if "job_cluster_key" in task and task["job_cluster_key"] not in clusters:
        raise Violation(
            f"{where} runs on the job cluster {task['job_cluster_key']}, which is not in job_clusters."
        )
    if (
        len(
            [
                field
                for field in ("parameters", "named_parameters")
                if (task.get("python_wheel_task") or {}).get(field)
            ]
        )
        > 1
    ):
        raise Violation(f"{where} has both parameters and named_parameters.")
    _check_python_file((task.get("spark_python_task") or {}).get("python_file"), where)
    check_references(_texts(task), upstream, where)


def _check_python_file(path: str | None, where: str) -> None:
    """Refuse a program that lies where the Jobs API names no place for one.

    SDK, ``SparkPythonTask.python_file``: "Cloud file URIs (such as dbfs:/, s3:/, adls:/, gcs:/) and workspace
    paths are supported. For python files stored in the Databricks workspace, the path must be absolute and
    begin with `/`." Volumes are neither. github.com/square/cascade/pull/56 found the same: "databricks
    requires that the file either be in external storage or be a workspace path".
    """
    if path is None:
        return
    if path.startswith("/Volumes/") or not path.startswith(("/", "dbfs:/", "s3:/", "adls:/", "gcs:/")):
        raise Violation(
            f"{where} has the python_file {path}. Cloud file URIs and workspace paths are supported; these "
            "are absolute and begin with /."
        )
    if not path.startswith("/"):
        raise Violation(f"{where} has the python_file {path}; cloud storage is not emulated.")


def _check_run_as(run_as: dict[str, Any] | None) -> None:
    """SDK, ``JobRunAs``: "Either `user_name` or `service_principal_name` should be specified. If not, an
    error is thrown."
    """
    if run_as is not None and len([name for name in run_as.values() if name]) != 1:
        raise Violation(f"run_as names one of user_name and service_principal_name, not {sorted(run_as)}.")


def _check_outcomes(tasks: list[dict[str, Any]]) -> None:
    """Refuse an edge from a condition without an outcome, and an outcome on any other edge.

    Both texts are the Jobs API's own, as users quote them: the first with 400 INVALID_PARAMETER_VALUE, the
    second in github.com/Nike-Inc/brickflow/issues/172. SDK, ``TaskDependency.outcome``: "Can only be
    specified on condition task dependencies."
    """
    conditions = {task["task_key"] for task in tasks if "condition_task" in task}
    for task in tasks:
        for dependency in task.get("depends_on") or []:
            key, outcome = dependency["task_key"], dependency.get("outcome")
            if key in conditions and outcome not in ("true", "false"):
                raise Violation(
                    f'The dependency on an if/else condition "{key}" does not specify an outcome. '
                    'Please add "outcome": "true" or "outcome": "false" to the dependency.'
                )
            if key not in conditions and outcome is not None:
                raise Violation(
                    f'The dependency on a non-if/else condition "{key}" specifies an outcome "{outcome}". '
                    "Outcomes can only be specified for if/else condition dependencies."
                )


def _texts(task: dict[str, Any]) -> Iterator[str]:
    for kind in KINDS & set(task):
        for value in task[kind].values():
            if isinstance(value, str):
                yield value
            elif isinstance(value, list):
                yield from value
            elif isinstance(value, dict):
                yield from value.values()


def _upstream(tasks: list[dict[str, Any]]) -> dict[str, set[str]]:
    """All tasks that run before each task."""
    direct = {
        task["task_key"]: {dependency["task_key"] for dependency in task.get("depends_on") or []}
        for task in tasks
    }
    for key, needed in direct.items():
        if needed - set(direct):
            raise Violation(
                f"Task {key} depends on {sorted(needed - set(direct))}, which the job does not have."
            )
    closed: dict[str, set[str]] = {}
    while len(closed) < len(direct):
        ready = [key for key, needed in direct.items() if key not in closed and needed <= set(closed)]
        if not ready:
            raise Violation(
                f"The tasks {sorted(set(direct) - set(closed))} depend on each other in a circle."
            )
        for key in ready:
            closed[key] = direct[key].union(*(closed[dependency] for dependency in direct[key]))
    return closed
