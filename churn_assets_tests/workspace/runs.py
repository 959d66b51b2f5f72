"""Runs of jobs and of their tasks: their states, and how the Jobs API tells them."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from churn_assets_tests.workspace.auth import WORKSPACE_ID
from churn_assets_tests.workspace.cluster import Cluster, now_ms
from churn_assets_tests.workspace.ends import CANCELED, End, state_fields
from churn_assets_tests.workspace.processes import Process

MAX_LOG_BYTES = 5 * 1024 * 1024


@dataclass
class TaskRun:
    """One task of a run. ``phase`` is BLOCKED, PENDING, RUNNING or TERMINATING until ``end`` is set.

    Attributes:
        cluster: none if it is serverless, or a condition.
        path: the folders that come before the runtime's own packages.
        resolved: parameters after their references were replaced.
        outcome: of a condition: ``true`` or ``false``.
        cancel: set to end it; ``why`` says which end that is.
    """

    run_id: int
    settings: dict[str, Any]
    folder: Path
    phase: str = "BLOCKED"
    end: End | None = None
    started: int = 0
    executing: int = 0
    ended: int = 0
    cluster: Cluster | None = None
    path: list[str] = field(default_factory=list)
    process: Process | None = None
    outcome: str | None = None
    condition: dict[str, str] = field(default_factory=dict)
    error: dict[str, str] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    why: End = CANCELED

    @property
    def key(self) -> str:
        """The task's name in its run."""
        return self.settings["task_key"]

    @property
    def is_serverless(self) -> bool:
        """Whether it runs in an environment and not on a cluster."""
        return "environment_key" in self.settings

    @property
    def logs(self) -> str:
        """The end of what it printed to stdout and stderr."""
        if self.process is None:
            return ""
        text = self.process.stdout.read_bytes() + self.process.stderr.read_bytes()
        return text[-MAX_LOG_BYTES:].decode(errors="replace")

    def stop(self, why: End) -> None:
        """Ask it to end in this way; the first reason counts."""
        if not self.cancel.is_set():
            self.why = why
            self.cancel.set()
            if self.phase in ("PENDING", "RUNNING"):
                self.phase = "TERMINATING"

    def view(self, page_url: str) -> dict[str, Any]:
        """The task as ``runs/get`` tells it."""
        settings = {name: value for name, value in self.settings.items() if name != "condition_task"}
        info: dict[str, Any] = {
            "run_if": "ALL_SUCCESS",
            **settings,
            "run_id": self.run_id,
            "attempt_number": 0,
            "start_time": self.started,
            "end_time": self.ended,
            "setup_duration": max(0, self.executing - self.started),
            "execution_duration": max(0, (self.ended or now_ms()) - self.executing) if self.executing else 0,
            "cleanup_duration": 0,
            "run_page_url": page_url,
            **state_fields(self.phase, self.end),
        }
        if self.cluster:
            info["cluster_instance"] = {"cluster_id": self.cluster.cluster_id}
            if self.executing:
                info["cluster_instance"]["spark_context_id"] = self.cluster.cluster_id.replace("-", "")
        if "condition_task" in self.settings:
            info["condition_task"] = {**self.settings["condition_task"], **self.condition}
        return info


@dataclass
class Run:
    """One run of a job, or one submitted without a job.

    Attributes:
        settings: tasks, clusters, time limit and notifications as they were when it started.
        creator: who started it.
        run_as: who its tasks are.
        job_clusters: what was started for its ``job_cluster_key``s.
        changed: guards the run and its tasks; notified at each change.
    """

    run_id: int
    job_id: int
    name: str
    run_type: str
    settings: dict[str, Any]
    creator: str
    folder: Path
    tasks: dict[str, TaskRun]
    parameters: dict[str, str] = field(default_factory=dict)
    number: int = 1
    run_as: str = ""
    phase: str = "PENDING"
    end: End | None = None
    started: int = field(default_factory=now_ms)
    ended: int = 0
    job_clusters: dict[str, Cluster] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    deleted: bool = False

    def cancel(self, why: End = CANCELED) -> None:
        """Ask every task to end; returns at once."""
        with self.changed:
            if not self.end and self.phase != "TERMINATING":
                self.phase = "TERMINATING"
                for task in self.tasks.values():
                    if not task.end:
                        task.stop(why)
                self.changed.notify_all()

    def view(self, url: str, *, with_tasks: bool = True) -> dict[str, Any]:
        """The run as ``runs/get`` tells it."""
        with self.changed:
            info: dict[str, Any] = {
                "job_id": self.job_id,
                "run_id": self.run_id,
                "number_in_job": self.number,
                "original_attempt_run_id": self.run_id,
                "run_name": self.name,
                "run_type": self.run_type,
                "trigger": "ONE_TIME",
                "format": "MULTI_TASK",
                "creator_user_name": self.creator,
                "start_time": self.started,
                "end_time": self.ended,
                "run_duration": (self.ended or now_ms()) - self.started,
                "setup_duration": 0,
                "execution_duration": 0,
                "cleanup_duration": 0,
                "run_page_url": self.page_url(url),
                **state_fields(self.phase, self.end),
            }
            if self.parameters:
                info["job_parameters"] = [
                    {"name": key, "value": value} for key, value in self.parameters.items()
                ]
            if with_tasks:
                info["tasks"] = [task.view(self.page_url(url, task.run_id)) for task in self.tasks.values()]
                info["job_clusters"] = self.settings.get("job_clusters") or []
                if self.settings.get("environments"):
                    info["environments"] = self.settings["environments"]
        return info

    def page_url(self, url: str, run_id: int | None = None) -> str:
        """Where a person would look at the run, or at one of its tasks."""
        return f"{url}/?o={WORKSPACE_ID}#job/{self.job_id}/run/{run_id or self.run_id}"
