"""The state of a Databricks run, read so that states newer than this code do no harm."""

from dataclasses import dataclass
from typing import Any

# Life cycles (runs/get up to 2.1) and states (2.2) after which nothing changes any more. TERMINATING is not
# among them: the process may still write, and the result is not known yet.
ENDED = {"TERMINATED", "INTERNAL_ERROR", "SKIPPED"}

# Failures that the request itself caused: a retry would end the same way.
CLIENT_ERRORS = {
    "BUDGET_POLICY_LIMIT_EXCEEDED",
    "CANCELED",
    "DISABLED",
    "FEATURE_DISABLED",
    "INVALID_CLUSTER_REQUEST",
    "INVALID_RUN_CONFIGURATION",
    "LIBRARY_INSTALLATION_ERROR",
    "RESOURCE_NOT_FOUND",
    "UNAUTHORIZED_ERROR",
    "USER_CANCELED",
}


@dataclass(frozen=True)
class RunState:
    """The state of a Databricks run of one task at the time of the request.

    Attributes:
        life_cycle: RUNNING, TERMINATED or whatever the service says.
        result: SUCCESS, FAILED or whatever, empty until it has ended.
        message: the service's own words.
        code: of the termination, such as DRIVER_ERROR; empty if the service gives none.
        url: of the run's page.
        task_run_id: under which the task's output is asked for.
        cluster_id: empty until there is a cluster.
        execution_seconds: for which the task ran; 0 until it has ended.
        cluster_seconds: the same with what was needed to start the cluster and to clean up.
    """

    life_cycle: str
    result: str = ""
    message: str = ""
    code: str = ""
    url: str = ""
    task_run_id: int = 0
    cluster_id: str = ""
    execution_seconds: float = 0.0
    cluster_seconds: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether the run is over and its state final."""
        return self.life_cycle in ENDED or bool(self.result)

    @property
    def is_clients_fault(self) -> bool:
        """Whether the request or its sender ended the run, rather than a failing machine."""
        return self.code in CLIENT_ERRORS or self.result in ("CANCELED", "TIMEDOUT", "EXCLUDED", "DISABLED")

    def __str__(self) -> str:
        parts = (self.result or self.life_cycle, self.code if self.code != self.result else "", self.message)
        return ", ".join(part.strip().rstrip(".") for part in parts if part)


def read(run: dict[str, Any]) -> RunState:
    """Parse the JSON of ``runs/get``; the SDK's classes would drop values that they do not know.

    Args:
        run: of one task, in the shape of API 2.1 or 2.2.
    """
    task = next(iter(run.get("tasks") or []), {})
    state = run.get("state") or {}
    status = run.get("status") or {}
    termination = status.get("termination_details") or {}
    cluster = task.get("cluster_instance") or run.get("cluster_instance") or {}
    durations = [
        _seconds(task, run, part) for part in ("setup_duration", "execution_duration", "cleanup_duration")
    ]
    return RunState(
        life_cycle=state.get("life_cycle_state") or status.get("state") or "UNKNOWN",
        result=state.get("result_state") or "",
        message=" ".join((termination.get("message") or state.get("state_message") or "").split()),
        code=termination.get("code") or "",
        url=run.get("run_page_url") or "",
        task_run_id=task.get("run_id") or run.get("run_id") or 0,
        cluster_id=cluster.get("cluster_id") or "",
        execution_seconds=durations[1],
        cluster_seconds=sum(durations),
    )


def _seconds(task: dict[str, Any], run: dict[str, Any], part: str) -> float:
    return (task.get(part) or run.get(part) or 0) / 1000
