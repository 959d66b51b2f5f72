"""Whether a task runs after its dependencies, and what becomes of the run as a whole."""

import dataclasses

from churn_assets_tests.workspace.ends import EXCLUDED, SUCCESS, UPSTREAM_CANCELED, UPSTREAM_FAILED, End
from churn_assets_tests.workspace.runs import Run, TaskRun

# These handle failures: unmet, they exclude the task instead of failing it.
HANDLES_FAILURES = ("AT_LEAST_ONE_FAILED", "ALL_FAILED")


def verdict(run: Run, task: TaskRun) -> End | None:
    """How a task ends without having run; None if it is to run. Its dependencies have all ended.

    As documented: an excluded dependency counts as a success, unless all of them are excluded. The edge from
    a condition that came out the other way is such a dependency. See "Run tasks conditionally" in the
    documentation of jobs.
    """
    needed = task.settings.get("depends_on") or []
    if not needed:
        return None
    ends = []
    for dependency in needed:
        upstream = run.tasks[dependency["task_key"]]
        end = upstream.end
        assert end is not None
        if end is SUCCESS and dependency.get("outcome") != upstream.outcome:
            end = EXCLUDED
        ends.append(end)
    if all(end is EXCLUDED for end in ends):
        return EXCLUDED
    good = [end is SUCCESS or end is EXCLUDED for end in ends]
    really_good = [end is SUCCESS for end in ends]
    rule = task.settings.get("run_if") or "ALL_SUCCESS"
    met = {
        "ALL_SUCCESS": all(good),
        "AT_LEAST_ONE_SUCCESS": any(really_good),
        "NONE_FAILED": all(good) and any(really_good),
        "ALL_DONE": True,
        "AT_LEAST_ONE_FAILED": not all(good),
        "ALL_FAILED": not any(good),
    }[rule]
    if met:
        return None
    if rule in HANDLES_FAILURES:
        return EXCLUDED
    canceled = any(end.result in ("CANCELED", "UPSTREAM_CANCELED") for end in ends)
    return UPSTREAM_CANCELED if canceled else UPSTREAM_FAILED


def outcome(run: Run) -> End:
    """How the run as a whole ended, by its leaf tasks; all its tasks have ended."""
    needed = {
        dependency["task_key"]
        for task in run.tasks.values()
        for dependency in task.settings.get("depends_on") or []
    }
    ends = {task.key: task.end for task in run.tasks.values() if task.end}
    bad = [key for key, end in ends.items() if end.result not in ("SUCCESS", "EXCLUDED")]
    if not bad:
        return SUCCESS
    if run.phase == "TERMINATING":
        return next(task.why for task in run.tasks.values() if task.cancel.is_set())
    leaves = [key for key in bad if key not in needed]
    if not leaves:
        return End("TERMINATED", "SUCCESS_WITH_FAILURES", "SUCCESS_WITH_FAILURES", "SUCCESS")
    first = next((key for key in bad if ends[key].result in ("FAILED", "TIMEDOUT", "CANCELED")), bad[0])
    end = ends[first]
    message = f"Task {first} failed with message: {end.message.rstrip('.')}."
    if first in needed:
        message += " This caused all downstream tasks to get skipped."
    result = end.result if end.result in ("TIMEDOUT", "CANCELED") else "FAILED"
    # The service calls even a run whose task raised an exception an INTERNAL_ERROR; the task is TERMINATED.
    return dataclasses.replace(end, life="INTERNAL_ERROR", result=result, message=message)
