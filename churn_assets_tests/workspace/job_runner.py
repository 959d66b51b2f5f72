"""Runs the tasks of a run in order."""

import threading
import time
from collections.abc import Iterator

from churn_assets_tests.workspace.cluster import now_ms
from churn_assets_tests.workspace.clusters import Clusters
from churn_assets_tests.workspace.ends import TIMED_OUT, End
from churn_assets_tests.workspace.run_if import outcome, verdict
from churn_assets_tests.workspace.runs import Run, TaskRun
from churn_assets_tests.workspace.task_runner import TICK_SECONDS, TaskRunner


class JobRunner:
    """Drives one run to its end, in one thread and one more for each task.

    Args:
        run: not started yet.
        tasks: runs the tasks.
        clusters: where the run's own clusters end with it.
        emails: gets what would have been sent: (event, address, run id).
        ids: gives new ids.
        before: a run that has to end first, if this one queues.
    """

    def __init__(
        self,
        run: Run,
        tasks: TaskRunner,
        clusters: Clusters,
        emails: list[tuple[str, str, int]],
        *,
        ids: Iterator[int],
        before: Run | None = None,
    ) -> None:
        self._run = run
        self._ids = ids
        self._before = before
        self._tasks = tasks
        self._clusters = clusters
        self._emails = emails
        self.thread = threading.Thread(target=self._drive, name=f"run {run.run_id}", daemon=True)

    def _drive(self) -> None:
        run = self._run
        if self._before:
            with self._before.changed:
                self._before.changed.wait_for(lambda: bool(self._before and self._before.end))
            run.phase = "PENDING" if run.phase == "QUEUED" else run.phase
        seconds = run.settings.get("timeout_seconds") or 0
        deadline = time.monotonic() + seconds if seconds else None
        with run.changed:
            while any(task.end is None for task in run.tasks.values()):
                blocked = [
                    task for task in run.tasks.values() if task.end is None and task.phase == "BLOCKED"
                ]
                for task in blocked:
                    self._consider(task)
                if deadline and time.monotonic() > deadline:
                    run.cancel(TIMED_OUT)
                # A task that ended without running may have unblocked others.
                if not any(task.end for task in blocked):
                    run.changed.wait(TICK_SECONDS if deadline else None)
            end = outcome(run)
            run.phase = "TERMINATING"
        for cluster in run.job_clusters.values():
            self._clusters.terminate(cluster, "JOB_FINISHED")
        with run.changed:
            run.ended = now_ms()
            run.end = end
            run.changed.notify_all()
        self._notify("on_success" if end.result == "SUCCESS" else "on_failure")
        for rule in (run.settings.get("health") or {}).get("rules") or []:
            if rule["metric"] == "RUN_DURATION_SECONDS" and run.ended - run.started > rule["value"] * 1000:
                self._notify("on_duration_warning_threshold_exceeded")

    def _consider(self, task: TaskRun) -> None:
        """Start a blocked task, or end it without running, once its dependencies have ended."""
        if task.cancel.is_set():
            self._finish(task, task.why)
            return
        needed = [dependency["task_key"] for dependency in task.settings.get("depends_on") or []]
        if any(self._run.tasks[key].end is None for key in needed):
            return
        end = verdict(self._run, task)
        if end:
            self._finish(task, end)
            return
        task.phase = "PENDING"
        threading.Thread(target=self._execute, args=[task], name=f"task {task.key}", daemon=True).start()

    def _finish(self, task: TaskRun, end: End) -> None:
        with self._run.changed:
            task.started = task.started or now_ms()
            task.ended = now_ms()
            task.end = end
            self._run.changed.notify_all()

    def _execute(self, task: TaskRun) -> None:
        end = self._tasks.execute(task)
        if self._is_to_be_retried(task, end):
            with self._run.changed:
                task.end, task.ended = end, now_ms()
                again = task.again(next(self._ids))
                self._run.earlier.append(task)
                self._run.tasks[task.key] = again
                self._run.changed.notify_all()
            self._execute(again)
        else:
            self._finish(task, end)

    def _is_to_be_retried(self, task: TaskRun, end: End) -> bool:
        """SDK, ``Task.max_retries``: "A run is considered to be unsuccessful if it completed with the
        `FAILED` result_state or `INTERNAL_ERROR` `life_cycle_state`"; ``retry_on_timeout`` adds the late.
        """
        results = {"FAILED"} | ({"TIMEDOUT"} if task.settings.get("retry_on_timeout") else set())
        left = task.settings.get("max_retries", 0) - task.attempt
        return left > 0 and end.result in results and self._run.phase != "TERMINATING"

    def _notify(self, event: str) -> None:
        for address in (self._run.settings.get("email_notifications") or {}).get(event) or []:
            self._emails.append((event, address, self._run.run_id))
