"""One cluster: a record with a state, and a folder."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def now_ms() -> int:
    """The time of day in the service's unit."""
    return int(time.time() * 1000)


@dataclass
class Cluster:
    """One cluster. ``spec`` is what was asked for; times are milliseconds since 1970 unless they say seconds.

    Attributes:
        source: API or JOB.
        ready_at: monotonic seconds at which PENDING ends.
        libraries: folders of what its tasks' requirements files have brought.
        busy: how many tasks it runs.
        idle_since: monotonic seconds; what automatic termination counts from.
    """

    cluster_id: str
    spec: dict[str, Any]
    source: str
    folder: Path
    creator: str
    ready_at: float
    start_time: int
    libraries: list[Path] = field(default_factory=list)
    terminated: dict[str, Any] | None = None
    terminated_time: int = 0
    busy: int = 0
    idle_since: float = field(default_factory=time.monotonic)
    events: list[dict[str, Any]] = field(default_factory=list)
    on_termination: list[Callable[[], None]] = field(default_factory=list)

    @property
    def state(self) -> str:
        """PENDING, RUNNING or TERMINATED."""
        if self.terminated:
            return "TERMINATED"
        return "PENDING" if time.monotonic() < self.ready_at else "RUNNING"

    @property
    def site_packages(self) -> Path:
        """Where wheels that tasks bring are installed."""
        return self.folder / "site-packages"

    @property
    def path(self) -> list[str]:
        """The folders that come before the runtime's own packages."""
        return [str(self.site_packages), *map(str, self.libraries)]

    def event(self, kind: str, **details: Any) -> None:
        """Note what happened to the cluster."""
        self.events.append(
            {"cluster_id": self.cluster_id, "timestamp": now_ms(), "type": kind, "details": details}
        )

    def details(self) -> dict[str, Any]:
        """The cluster as ``clusters/get`` tells it."""
        state = self.state
        info = {
            **self.spec,
            "cluster_id": self.cluster_id,
            "cluster_name": self.spec.get("cluster_name") or f"job-{self.cluster_id}",
            "cluster_source": self.source,
            "creator_user_name": self.creator,
            "driver_node_type_id": self.spec.get("driver_node_type_id") or self.spec.get("node_type_id"),
            "spec": self.spec,
            "start_time": self.start_time,
            "state": state,
            "state_message": "" if state == "RUNNING" else state.title(),
        }
        if state == "RUNNING":
            info["spark_context_id"] = int(self.cluster_id[:4] + self.cluster_id[5:11])
        if self.terminated:
            info |= {"termination_reason": self.terminated, "terminated_time": self.terminated_time}
        return info
