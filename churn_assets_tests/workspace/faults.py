"""Failures on demand: which requests go wrong, how, and how often."""

import json
import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from churn_assets_tests.workspace.answers import Answer, ApiError, json_answer

NAMES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
}
NAMES |= {429: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}


@dataclass(frozen=True)
class Refused:
    """The request is answered with an error and has no effect.

    Attributes:
        status: the HTTP status. The SDK waits and asks again after 429 and 503; not after 500.
        retry_after: seconds, in the ``Retry-After`` header; the SDK takes one second without it.
    """

    status: int
    retry_after: int | None = None
    message: str = "A fault that the test asked for."

    def answer(self) -> Answer:
        """What to answer instead."""
        error = ApiError(self.status, NAMES.get(self.status, "INTERNAL_ERROR"), self.message)
        return error.answer(**({} if self.retry_after is None else {"retry-after": str(self.retry_after)}))


@dataclass(frozen=True)
class Slow:
    """The request takes effect only after so many seconds, and is answered then."""

    seconds: float


@dataclass(frozen=True)
class LostResponse:
    """The request takes effect, then the connection breaks before the answer."""


@dataclass(frozen=True)
class UnknownState:
    """``runs/get`` answers with a life-cycle state that no SDK knows yet."""

    state: str = "HIBERNATING"

    def applied_to(self, answer: Answer) -> Answer:
        """The run as a newer service could tell it, in ``state`` and in ``status``."""
        run = json.loads(answer.content)
        for state_holder in (run, *run.get("tasks", [])):
            state_holder["state"] = {"life_cycle_state": self.state, "state_message": ""}
            state_holder["status"] = {"state": self.state}
        return json_answer(run)


@dataclass(frozen=True)
class DriverDeath:
    """The driver of a task is killed so many seconds after its process started; no request is involved."""

    seconds: float = 0.0


Fault = Refused | Slow | LostResponse | UnknownState


@dataclass
class _Planned:
    method: str
    path: re.Pattern[str]
    fault: Fault
    times: int


class Faults:
    """What goes wrong next. Safe to use from any thread.

    Attributes:
        happened: how often each kind of fault took place, by the name of its class.
        cluster_start_seconds: how long a new cluster is PENDING.
        termination_seconds: how long a task is TERMINATING after its process ended.
    """

    def __init__(self) -> None:
        self.happened: Counter[str] = Counter()
        self.cluster_start_seconds = 0.0
        self.termination_seconds = 0.0
        self._planned: list[_Planned] = []
        self._deaths: list[tuple[str, DriverDeath]] = []
        self._lock = threading.Lock()

    def add(self, method: str | Literal["*"], path: str, fault: Fault, times: int = 1) -> None:
        """Make the next ``times`` requests that match go wrong.

        Args:
            method: GET, POST …, or ``*``.
            path: a regular expression, searched in the path.
            fault: how they go wrong.
            times: how many of them, in a row.
        """
        with self._lock:
            self._planned.append(_Planned(method, re.compile(path), fault, times))

    def kill_driver(self, task_key: str, seconds: float = 0.0) -> None:
        """Kill the process of the next task of that name, so many seconds after it starts."""
        with self._lock:
            self._deaths.append((task_key, DriverDeath(seconds)))

    def clear(self) -> None:
        """Forget what was planned and has not happened."""
        with self._lock:
            self._planned.clear()
            self._deaths.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, which is then used up."""
        with self._lock:
            for planned in self._planned:
                if planned.times > 0 and planned.method in ("*", method) and planned.path.search(path):
                    planned.times -= 1
                    self.happened[type(planned.fault).__name__] += 1
                    return planned.fault
        return None

    def take_death(self, task_key: str) -> DriverDeath | None:
        """The planned death of this task's driver, which is then used up."""
        with self._lock:
            for index, (key, death) in enumerate(self._deaths):
                if key == task_key:
                    del self._deaths[index]
                    self.happened["DriverDeath"] += 1
                    return death
        return None
