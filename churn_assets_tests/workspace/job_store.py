"""Jobs as they are defined: created, listed, changed, deleted."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from databricks.sdk.service.jobs import JobsAPI

from churn_assets_tests.workspace import job_settings
from churn_assets_tests.workspace.auth import Auth
from churn_assets_tests.workspace.cluster import now_ms
from churn_assets_tests.workspace.routing import ApiError, Call, Handler


class JobStore:
    """The jobs of a workspace.

    Args:
        ids: gives new ids.
        cancel_runs: ends what runs of a job that is deleted.
        auth: knows whom a job can run as.

    Attributes:
        all: every job by its id, as ``jobs/get`` tells it.
    """

    def __init__(self, ids: Iterator[int], cancel_runs: Callable[[int], None], auth: Auth) -> None:
        self._ids = ids
        self._auth = auth
        self._cancel_runs = cancel_runs
        self._lock = threading.Lock()
        self.all: dict[int, dict[str, Any]] = {}

    def api(self) -> list[tuple[str, str, Handler, Callable[..., Any]]]:
        """Method, name, function and the SDK's own function of each route."""
        return [
            ("POST", "create", self._create, JobsAPI.create),
            ("GET", "get", self._get_job, JobsAPI.get),
            ("GET", "list", self._list_jobs, JobsAPI.list),
            ("POST", "update", self._update, JobsAPI.update),
            ("POST", "reset", self._reset, JobsAPI.reset),
            ("POST", "delete", self._delete_job, JobsAPI.delete),
        ]

    def get(self, job_id: int) -> dict[str, Any]:
        """A job by its id.

        Raises:
            ApiError: 400, as the service says it, if there is none.
        """
        if job_id not in self.all:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Job {job_id} does not exist.")
        return self.all[job_id]

    def _create(self, call: Call) -> dict[str, Any]:
        settings = {"name": "Untitled", "max_concurrent_runs": 1, "timeout_seconds": 0, **call.fields}
        settings["format"] = "MULTI_TASK"
        job_settings.check(settings, job_settings.JOB_FIELDS)
        who = runs_as(settings, call.user, self._auth)
        with self._lock:
            job_id = next(self._ids)
            self.all[job_id] = {
                "job_id": job_id,
                "creator_user_name": call.user,
                "run_as_user_name": who,
                "created_time": now_ms(),
                "settings": settings,
            }
        return {"job_id": job_id}

    def _get_job(self, call: Call) -> dict[str, Any]:
        return _told(self.get(call.fields["job_id"]))

    def _list_jobs(self, call: Call) -> dict[str, Any]:
        name = (call.fields.get("name") or "").lower()
        jobs = [
            job
            for job in reversed(list(self.all.values()))
            if not name or job["settings"]["name"].lower() == name
        ]
        start, limit = (
            int(call.fields.get("page_token") or call.fields.get("offset") or 0),
            call.fields.get("limit", 20),
        )
        if not 0 < limit <= 100:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"limit is {limit}; it must be from 1 to 100.")
        bulky = () if call.fields.get("expand_tasks") else ("tasks", "job_clusters", "environments")
        views = [
            job | {"settings": {key: value for key, value in job["settings"].items() if key not in bulky}}
            for job in jobs[start : start + limit]
        ]
        more = start + limit < len(jobs)
        page = {"jobs": views, "has_more": more}
        return page | {"next_page_token": str(start + limit)} if more else page

    def _update(self, call: Call) -> None:
        job = self.get(call.fields["job_id"])
        kept = {
            k: v for k, v in job["settings"].items() if k not in (call.fields.get("fields_to_remove") or [])
        }
        new = call.fields.get("new_settings") or {}
        for name, key in (("tasks", "task_key"), ("job_clusters", "job_cluster_key")):
            if name in new:  # merged by key, as the service does
                merged = {item[key]: item for item in kept.get(name) or []} | {
                    item[key]: item for item in new[name]
                }
                new = new | {name: list(merged.values())}
        self._replace(job, kept | new)

    def _reset(self, call: Call) -> None:
        defaults = {
            "name": "Untitled",
            "max_concurrent_runs": 1,
            "timeout_seconds": 0,
            "format": "MULTI_TASK",
        }
        self._replace(self.get(call.fields["job_id"]), defaults | call.fields["new_settings"])

    def _replace(self, job: dict[str, Any], settings: dict[str, Any]) -> None:
        job_settings.check(settings, job_settings.JOB_FIELDS)
        job["run_as_user_name"] = runs_as(settings, job["creator_user_name"], self._auth)
        job["settings"] = settings

    def _delete_job(self, call: Call) -> None:
        job = self.get(call.fields["job_id"])
        self._cancel_runs(job["job_id"])
        del self.all[job["job_id"]]


def runs_as(settings: dict[str, Any], otherwise: str, auth: Auth) -> str:
    """Whom the tasks of a job or of a submitted run are.

    Raises:
        ApiError: SDK, ``JobRunAs``: "Application ID of an active service principal", "email of an active
            workspace user"; there is none.
    """
    named = settings.get("run_as") or {}
    who = named.get("user_name") or named.get("service_principal_name") or otherwise
    if not auth.exists(who):
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"The principal {who} to run as does not exist.")
    return who


def _told(job: dict[str, Any]) -> dict[str, Any]:
    """A job as the service tells it: with defaults filled in, and its tasks in the order of their keys.

    The Terraform provider's documentation of ``databricks_job``: "define tasks in alphabetic order of
    task_key value, so that you get consistent and readable diff". SDK, ``JobRunAs``: "Write-only setting."
    """
    settings = {name: value for name, value in job["settings"].items() if name != "run_as"}
    tasks = [
        {"run_if": "ALL_SUCCESS", "timeout_seconds": 0, "email_notifications": {}, **task}
        for task in settings.get("tasks") or []
    ]
    told = {"email_notifications": {}, **settings}
    return {**job, "settings": {**told, "tasks": sorted(tasks, key=lambda task: task["task_key"])}}
