"""How a run or a task can end, and how the API tells it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class End:
    """How a run or a task ended, in the words of ``state`` and of the newer ``status``."""

    life: str
    result: str
    code: str
    kind: str
    message: str = ""


SUCCESS = End("TERMINATED", "SUCCESS", "SUCCESS", "SUCCESS")
FAILED = End(
    "TERMINATED",
    "FAILED",
    "RUN_EXECUTION_ERROR",
    "CLIENT_ERROR",
    "Workload failed, see run output for details",
)
CANCELED = End("TERMINATED", "CANCELED", "USER_CANCELED", "CLIENT_ERROR", "Run cancelled by user.")
EXCLUDED = End("SKIPPED", "EXCLUDED", "SKIPPED", "SUCCESS", "The condition of the run was not met.")
UPSTREAM_FAILED = End("SKIPPED", "UPSTREAM_FAILED", "SKIPPED", "CLIENT_ERROR", "An upstream task failed.")
UPSTREAM_CANCELED = End(
    "SKIPPED", "UPSTREAM_CANCELED", "SKIPPED", "CLIENT_ERROR", "An upstream task was cancelled."
)
TIMED_OUT = End(
    "TERMINATED", "TIMEDOUT", "RUN_EXECUTION_ERROR", "CLIENT_ERROR", "The run exceeded its timeout."
)
TOO_MANY_RUNS = End(
    "SKIPPED",
    "MAXIMUM_CONCURRENT_RUNS_REACHED",
    "MAX_CONCURRENT_RUNS_EXCEEDED",
    "CLIENT_ERROR",
    "An instance of this job is already running.",
)


def infrastructure(message: str, code: str = "DRIVER_ERROR", kind: str = "CLOUD_FAILURE") -> End:
    """An end that is not the fault of the task's code."""
    return End("INTERNAL_ERROR", "FAILED", code, kind, message)


def state_fields(phase: str, end: End | None) -> dict[str, Any]:
    """``state`` and ``status``, which say the same in older and newer words."""
    if end is None:
        return {
            "state": {"life_cycle_state": phase, "state_message": "", "user_cancelled_or_timedout": False},
            "status": {"state": phase},
        }
    return {
        "state": {
            "life_cycle_state": end.life,
            "result_state": end.result,
            "state_message": end.message,
            "user_cancelled_or_timedout": end.result in ("CANCELED", "TIMEDOUT"),
        },
        "status": {
            "state": "TERMINATED",
            "termination_details": {"code": end.code, "type": end.kind, "message": end.message},
        },
    }
