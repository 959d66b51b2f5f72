"""The state of the job's runs, and its presentation to people and monitors."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.databricks.workflow.spec import ENOUGH_ROWS
from churn_assets.databricks.workflow.tasks import TASKS

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import BaseRun, Run, RunState, RunTask

# The words of the article, and of the asset, for a training that was not worth it.
SKIPPED_TRAINING = "skipped_insufficient_data"

# What a Databricks driver puts before the line with which a task ended itself.
EXIT = "SystemExit: "


@dataclass(frozen=True)
class TaskStatus:
    """One task of a run.

    Attributes:
        name: of the task.
        state: its result once it has ended, else where it is; ``skipped_insufficient_data`` for a train that
            the condition has left out.
        detail: why, in a line; empty where there is nothing to say.
        run_id: of the task's own run, under which its output is asked for.
        message: the service's own words about how it ended.
    """

    name: str
    state: str
    detail: str
    run_id: int
    message: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether the task ran and did not succeed; tasks skipped because of it have not failed."""
        return self.state in FAILURES


@dataclass(frozen=True)
class RunStatus:
    """One run of the job.

    Attributes:
        run_id: of the run.
        life_cycle: PENDING, RUNNING, TERMINATED, INTERNAL_ERROR, SKIPPED …; there is no FAILED among them.
        result: SUCCESS, FAILED …; empty until it has ended.
        url: of the run's page.
        started: UTC.
        seconds: from its start to its end, or to now.
        tasks: in the order of the job.
        reason: why it failed, in a line, where that is known.
    """

    run_id: int
    life_cycle: str
    result: str
    url: str
    started: dt.datetime
    seconds: float
    tasks: tuple[TaskStatus, ...]
    reason: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the run is over. TERMINATING is not: its result is not known yet."""
        return self.life_cycle in ENDED or bool(self.result)

    @property
    def has_failed(self) -> bool:
        """Whether the run ended without success. A skipped run has not failed."""
        return self.has_ended and self.result != "SUCCESS" and self.life_cycle != "SKIPPED"

    def line(self) -> str:
        """Format the run as one line."""
        tasks = ", ".join(f"{task.name} {task.state}" for task in self.tasks)
        parts = (f"Run {self.run_id}: {self.life_cycle}", self.result, f"{self.started:%Y-%m-%d %H:%M} UTC")
        return f"{' '.join(part for part in parts if part)}, {self.seconds:.0f} s; {tasks}"

    def alert(self) -> str:
        """Format the alert for the person on call."""
        return f"ALERT: Pipeline failed - {self.url}"


ORDER = {name: place for place, name in enumerate(TASKS)}
ENDED = {"TERMINATED", "INTERNAL_ERROR", "SKIPPED"}
FAILURES = {"FAILED", "TIMEDOUT", "CANCELED", "INTERNAL_ERROR"}


def read_run(run: "BaseRun | Run", now: dt.datetime) -> RunStatus:
    """Convert a run of databricks-sdk; a state newer than the SDK reads UNKNOWN."""
    started = dt.datetime.fromtimestamp((run.start_time or 0) / 1000, dt.UTC)
    ended = dt.datetime.fromtimestamp(run.end_time / 1000, dt.UTC) if run.end_time else now
    # Of a task that was retried the last attempt counts; the service sorts as it likes.
    last = {
        task.task_key: task for task in sorted(run.tasks or [], key=lambda task: task.attempt_number or 0)
    }
    ordered = sorted(last.values(), key=lambda task: ORDER.get(task.task_key, len(ORDER)))
    counted = next((_counted(task) for task in ordered if task.task_key == ENOUGH_ROWS), "")
    tasks = [_task(task, counted) for task in ordered]
    return RunStatus(
        run_id=run.run_id or 0,
        life_cycle=_life_cycle(run.state),
        result=_result(run.state),
        url=run.run_page_url or "",
        started=started,
        seconds=max(0.0, (ended - started).total_seconds()),
        # The condition is no work of its own, unless it could not be answered.
        tasks=tuple(task for task in tasks if task.name != ENOUGH_ROWS or task.has_failed),
    )


def report(runs: Sequence[RunStatus]) -> list[str]:
    """Return the lines to print: each run, why a train was skipped, and an alert for each failure."""
    lines = []
    for run in runs:
        lines.append(run.line())
        lines += [f"  {task.name}: {task.detail}" for task in run.tasks if task.detail]
        if run.has_failed:
            lines.append(run.alert())
            lines += [f"  {run.reason}"] if run.reason else []
    return lines


def exit_code(runs: Sequence[RunStatus]) -> int:
    """Return 1 if the latest run that has ended failed, else 0.

    A run in progress does not make up for a failed one, and a skipped run did nothing.
    """
    ended = [run for run in runs if run.has_ended and run.life_cycle != "SKIPPED"]
    return int(bool(ended) and ended[0].has_failed)


def in_one_line(error: str) -> str:
    """Return a task's error on one line, without the driver's prefix."""
    return " ".join(error.removeprefix(EXIT).split())


def _task(task: "RunTask", counted: str) -> TaskStatus:
    state = _result(task.state) or _life_cycle(task.state)
    detail = ""
    if task.task_key == "train" and state == "EXCLUDED":
        state, detail = SKIPPED_TRAINING, counted
    message = (task.state.state_message if task.state else "") or ""
    return TaskStatus(task.task_key, state, detail, task.run_id or 0, " ".join(message.split()))


def _counted(condition: "RunTask") -> str:
    comparison = condition.condition_task
    if comparison is None or comparison.outcome != "false" or not comparison.left.isdecimal():
        return ""
    rows, needed = int(comparison.left), int(comparison.right)
    return f"{SKIPPED_TRAINING}: {rows:,} labelled rows; training takes {needed:,}"


def _life_cycle(state: "RunState | None") -> str:
    return state.life_cycle_state.value if state and state.life_cycle_state else "UNKNOWN"


def _result(state: "RunState | None") -> str:
    return state.result_state.value if state and state.result_state else ""
