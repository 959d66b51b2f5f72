"""The Jobs API 2.1 and 2.2: runs, and what becomes of them."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from databricks.sdk.service.jobs import JobsAPI

from churn_assets_tests.workspace import job_settings
from churn_assets_tests.workspace.cluster import now_ms
from churn_assets_tests.workspace.ends import CANCELED, TOO_MANY_RUNS
from churn_assets_tests.workspace.job_runner import JobRunner
from churn_assets_tests.workspace.job_store import JobStore, runs_as
from churn_assets_tests.workspace.routing import ApiError, Call, Route, Violation
from churn_assets_tests.workspace.runs import Run, TaskRun
from churn_assets_tests.workspace.surroundings import Surroundings
from churn_assets_tests.workspace.task_runner import TaskRunner


class Jobs:
    """Jobs and runs, for the API and for assertions.

    Attributes:
        runs: every run by its id, in the order of their starts.
        jobs: every job by its id: its settings, and who made it when.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.runs: dict[int, Run] = {}
        self._tokens: dict[tuple[int, str], int] = {}
        self._threads: list[threading.Thread] = []
        self._ids = itertools.count(100_000_000_000_000 + int(time.time()) % 1_000_000 * 1_000)
        self._lock = threading.RLock()
        self._store = JobStore(self._ids, self._cancel_runs, surroundings.auth)
        self.jobs = self._store.all

    def active(self) -> list[Run]:
        """Runs that have not ended."""
        return [run for run in list(self.runs.values()) if not run.end]

    def processes(self) -> list[int]:
        """The process ids of tasks that run now."""
        tasks = [task for run in list(self.runs.values()) for task in run.tasks.values()]
        return [task.process.pid for task in tasks if task.process and task.end is None]

    def wait(self, run_id: int, seconds: float = 60) -> Run:
        """The run, once it has ended.

        Raises:
            TimeoutError: it has not ended after so many seconds.
        """
        run = self.runs[run_id]
        with run.changed:
            if not run.changed.wait_for(lambda: run.end is not None, seconds):
                raise TimeoutError(f"Run {run_id} is still {run.phase} after {seconds} s.")
        return run

    def wait_for_process(self, run_id: int, seconds: float = 30) -> int:
        """The process id of the run's first task that has one, once there is one.

        Raises:
            TimeoutError: there is none after so many seconds.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for task in self.runs[run_id].tasks.values():
                if task.process and not task.end:
                    return task.process.pid
            time.sleep(0.01)
        raise TimeoutError(f"No process of run {run_id} after {seconds} s.")

    def close(self) -> None:
        """Kill what still runs."""
        for run in self.active():
            run.cancel()
        for thread in self._threads:
            thread.join(timeout=10)

    def routes(self) -> list[Route]:
        """Both versions of the API answer alike."""
        api = [
            ("POST", "runs/submit", self._submit, JobsAPI.submit),
            ("GET", "runs/get", self._get_run, JobsAPI.get_run),
            ("GET", "runs/get-output", self._get_output, JobsAPI.get_run_output),
            ("GET", "runs/list", self._list_runs, JobsAPI.list_runs),
            ("POST", "runs/cancel", self._cancel, JobsAPI.cancel_run),
            ("POST", "runs/cancel-all", self._cancel_all, JobsAPI.cancel_all_runs),
            ("POST", "runs/delete", self._delete_run, JobsAPI.delete_run),
            ("POST", "run-now", self._run_now, JobsAPI.run_now),
            *self._store.api(),
        ]
        return [
            Route(method, f"/api/{version}/jobs/{name}", handler, like)
            for version in ("2.2", "2.1")
            for method, name, handler, like in api
        ]

    def start(
        self, job_id: int, name: str, run_type: str, settings: dict[str, Any], creator: str, **more: Any
    ) -> Run:
        """Start a run; returns at once."""
        with self._lock:
            run_id = next(self._ids)
            folder = self._surroundings.folder / "runs" / str(run_id)
            tasks = {}
            for task in settings["tasks"]:
                key = task["task_key"]
                tasks[key] = TaskRun(next(self._ids), task, folder / "tasks" / key)
            run = Run(run_id, job_id, name, run_type, settings, creator, folder, tasks, **more)
            self.runs[run_id] = run
        return run

    def _drive(self, run: Run) -> Run:
        tasks = TaskRunner(self._surroundings, run)
        runner = JobRunner(run, tasks, self._surroundings.clusters, self._surroundings.emails)
        self._threads.append(runner.thread)
        runner.thread.start()
        return run

    def _once(self, job_id: int, call: Call, make: Callable[[], Run]) -> dict[str, Any]:
        """The run that this idempotency token already started, or a new one."""
        token = call.fields.get("idempotency_token")
        if token and len(token) > 64:
            raise Violation(f"idempotency_token has {len(token)} characters; 64 are allowed.")
        with self._lock:
            if token and (job_id, token) in self._tokens:
                run = self.runs[self._tokens[job_id, token]]
                if run.deleted:
                    raise ApiError(
                        400, "INVALID_PARAMETER_VALUE", "The run of this idempotency_token was deleted."
                    )
            else:
                run = make()
                if token:
                    self._tokens[job_id, token] = run.run_id
        return {"run_id": run.run_id, "number_in_job": run.number}

    def _submit(self, call: Call) -> dict[str, Any]:
        settings = {"run_name": "Untitled", **call.fields}
        job_settings.check(settings, job_settings.SUBMIT_FIELDS)

        who = runs_as(settings, call.user, self._surroundings.auth)

        def make() -> Run:
            job_id = next(self._ids)
            name = settings["run_name"]
            return self._drive(self.start(job_id, name, "SUBMIT_RUN", settings, call.user, run_as=who))

        return {"run_id": self._once(0, call, make)["run_id"]}

    def _run_now(self, call: Call) -> dict[str, Any]:
        job = self._store.get(call.fields["job_id"])
        settings = job_settings.with_overrides(job["settings"], dict(call.fields))
        defaults = {parameter["name"]: parameter["default"] for parameter in settings.get("parameters") or []}
        parameters = call.fields.get("job_parameters") or {}
        if set(parameters) - set(defaults):
            raise Violation(
                f"Job {job['job_id']} has no parameters {sorted(set(parameters) - set(defaults))}."
            )

        def make() -> Run:
            earlier = [run for run in self.runs.values() if run.job_id == job["job_id"]]
            run = self.start(
                job["job_id"],
                settings.get("name", "Untitled"),
                "JOB_RUN",
                settings,
                call.user,
                run_as=job["run_as_user_name"],
                parameters=defaults | parameters,
                number=len(earlier) + 1,
            )
            if sum(not run.end for run in earlier) >= settings.get("max_concurrent_runs", 1):
                run.end, run.ended = TOO_MANY_RUNS, now_ms()
                for task in run.tasks.values():
                    task.end = TOO_MANY_RUNS
                return run
            return self._drive(run)

        return self._once(job["job_id"], call, make)

    def _find(self, run_id: int) -> tuple[Run, TaskRun | None]:
        """A run by its id or by that of one of its tasks."""
        for run in list(self.runs.values()):
            if not run.deleted:
                if run.run_id == run_id:
                    return run, None
                for task in run.tasks.values():
                    if task.run_id == run_id:
                        return run, task
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Run {run_id} does not exist.")

    def _get_run(self, call: Call) -> dict[str, Any]:
        run, task = self._find(call.fields["run_id"])
        url = self._surroundings.url
        if task is None:
            return run.view(url)
        view = task.view(run.page_url(url, task.run_id))
        # A task's own run is told like a run with one task.
        own = {name: view[name] for name in ("state", "status", "start_time", "end_time", "run_page_url")}
        cluster = {"cluster_instance": view["cluster_instance"]} if "cluster_instance" in view else {}
        return run.view(url) | own | cluster | {"run_id": task.run_id, "run_name": task.key, "tasks": [view]}

    def _get_output(self, call: Call) -> dict[str, Any]:
        _, task = self._find(call.fields["run_id"])
        if task is None:
            raise ApiError(
                400,
                "INVALID_PARAMETER_VALUE",
                "Retrieving the output of runs with multiple tasks is not supported. "
                "Please retrieve the output of each individual task run instead.",
            )
        metadata = self._get_run(call)
        return {"metadata": metadata, "logs": task.logs, "logs_truncated": False, **(task.error or {})}

    def _list_runs(self, call: Call) -> dict[str, Any]:
        known = {"active_only", "completed_only", "expand_tasks", "job_id", "limit", "page_token", "run_type"}
        known |= {"start_time_from", "start_time_to", "offset"}
        filters = {name: value for name, value in call.fields.items() if name in known}
        limit = filters.get("limit", 20) or 25
        if not 0 < limit <= 26:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"limit is {limit}; it must be from 1 to 25.")
        runs = [
            run for run in reversed(list(self.runs.values())) if not run.deleted and _wanted(run, filters)
        ]
        start = int(filters.get("page_token") or filters.get("offset") or 0)
        views = [
            run.view(self._surroundings.url, with_tasks=bool(filters.get("expand_tasks")))
            for run in runs[start : start + limit]
        ]
        more = start + limit < len(runs)
        page = {"runs": views, "has_more": more}
        return page | {"next_page_token": str(start + limit)} if more else page

    def _cancel(self, call: Call) -> None:
        run, task = self._find(call.fields["run_id"])
        if task is None:
            run.cancel()
        else:
            with run.changed:
                task.stop(CANCELED)
                run.changed.notify_all()

    def _cancel_all(self, call: Call) -> None:
        self._cancel_runs(call.fields.get("job_id"))

    def _cancel_runs(self, job_id: int | None) -> None:
        for run in self.active():
            if run.job_id == job_id:
                run.cancel()

    def _delete_run(self, call: Call) -> None:
        run, _ = self._find(call.fields["run_id"])
        if not run.end:
            raise ApiError(400, "INVALID_STATE", f"Cannot delete run {run.run_id}: it is active.")
        run.deleted = True


def _wanted(run: Run, filters: dict[str, Any]) -> bool:
    return (
        filters.get("job_id") in (None, run.job_id)
        and filters.get("run_type") in (None, run.run_type)
        and not (filters.get("active_only") and run.end)
        and not (filters.get("completed_only") and not run.end)
        and filters.get("start_time_from", 0) <= run.started <= filters.get("start_time_to", run.started)
    )
