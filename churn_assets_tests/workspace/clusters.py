"""Clusters: records with a state, a folder, and the processes that run on them."""

import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from databricks.sdk.service.compute import ClustersAPI

from churn_assets_tests.workspace.auth import USER
from churn_assets_tests.workspace.compute_types import NODE_TYPES, SPARK_VERSIONS
from churn_assets_tests.workspace.routing import ApiError, Call, Route, Violation

if TYPE_CHECKING:
    from churn_assets_tests.workspace.emulator import Workspace

API = "/api/2.1/clusters"
# Real, but without effect here: refused, so that nothing relies on them.
NOT_EMULATED = {"apply_policy_default_values", "clone_from", "docker_image", "init_scripts", "policy_id"}


@dataclass
class Cluster:
    """One cluster. ``spec`` is what was asked for; times are milliseconds since 1970 unless they say seconds.

    Attributes:
        source: API or JOB.
        ready_at: monotonic seconds at which PENDING ends.
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


class Clusters:
    """All clusters, those of jobs included.

    Attributes:
        seconds_per_minute: of ``autotermination_minutes``; less makes an idle cluster end sooner.
    """

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace
        self._all: dict[str, Cluster] = {}
        self._lock = threading.RLock()
        self.seconds_per_minute = 60.0

    def alive(self) -> list[Cluster]:
        """Clusters that would cost money now: everything that is not terminated."""
        with self._lock:
            return [one for one in map(self._after_autotermination, self._all.values()) if not one.terminated]

    def launch(self, spec: dict[str, Any], source: str, creator: str = USER) -> Cluster:
        """Start a cluster.

        Raises:
            ApiError: it could not be started as asked for.
        """
        self._check(spec)
        cluster_id = f"{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        cluster = Cluster(
            cluster_id=cluster_id,
            spec=spec,
            source=source,
            folder=self._workspace.folder / "clusters" / cluster_id,
            creator=creator,
            ready_at=time.monotonic() + self._workspace.faults.cluster_start_seconds,
            start_time=now_ms(),
        )
        cluster.site_packages.mkdir(parents=True)
        cluster.event("CREATING", user=creator)
        with self._lock:
            self._all[cluster_id] = cluster
        return cluster

    def get(self, cluster_id: str) -> Cluster:
        """A cluster by its id.

        Raises:
            ApiError: 400, as the service says it, if there is none.
        """
        with self._lock:
            if cluster_id not in self._all:
                raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Cluster {cluster_id} does not exist")
            return self._after_autotermination(self._all[cluster_id])

    def start_again(self, cluster: Cluster) -> None:
        """Start a terminated cluster; what was installed on it is gone."""
        with self._lock:
            if cluster.terminated:
                cluster.terminated = None
                cluster.ready_at = time.monotonic() + self._workspace.faults.cluster_start_seconds
                cluster.start_time = now_ms()
                cluster.idle_since = time.monotonic()
                cluster.event("STARTING")

    def terminate(self, cluster: Cluster, code: str = "USER_REQUEST", kind: str = "SUCCESS") -> None:
        """End a cluster and every process on it. Ending it twice changes nothing."""
        with self._lock:
            if cluster.terminated:
                return
            cluster.terminated = {"code": code, "type": kind, "parameters": {}}
            cluster.terminated_time = now_ms()
            cluster.event("TERMINATING", reason=cluster.terminated)
            callbacks, cluster.on_termination = cluster.on_termination, []
        for callback in callbacks:
            callback()

    def occupy(self, cluster: Cluster, by: int) -> None:
        """Count a task that begins (1) or ends (-1) on the cluster."""
        with self._lock:
            cluster.busy += by
            cluster.idle_since = time.monotonic()

    def _after_autotermination(self, cluster: Cluster) -> Cluster:
        minutes = cluster.spec.get("autotermination_minutes") or 0
        idle = time.monotonic() - max(cluster.idle_since, cluster.ready_at)
        if (
            minutes
            and not cluster.busy
            and not cluster.terminated
            and idle > minutes * self.seconds_per_minute
        ):
            self.terminate(cluster, "INACTIVITY")
        return cluster

    def _check(self, spec: dict[str, Any]) -> None:
        for name in sorted(NOT_EMULATED & set(spec)):
            raise Violation(f"{name} of a cluster is not emulated.")
        version, node, pool = (spec.get(one) for one in ("spark_version", "node_type_id", "instance_pool_id"))
        if version not in SPARK_VERSIONS:
            raise Violation(f"Invalid spark version {version}.")
        if bool(node) == bool(pool):
            raise Violation("A cluster takes either node_type_id or instance_pool_id.")
        if node and node not in NODE_TYPES:
            raise Violation(f"Node type {node} is not supported.")
        if pool:
            self._workspace.pools.get(pool)
        _check_size(spec)
        minutes = spec.get("autotermination_minutes")
        if minutes and not 10 <= minutes <= 10000:
            raise Violation(f"autotermination_minutes is {minutes}; it must be 0 or from 10 to 10000.")
        for name in spec.get("spark_env_vars") or {}:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise Violation(f"{name!r} is no name for an environment variable.")

    def routes(self) -> list[Route]:
        """Cluster API 2.1, and the lists of node types and Spark versions."""
        return [
            Route("POST", f"{API}/create", self._create, ClustersAPI.create),
            Route(
                "GET",
                f"{API}/get",
                lambda call: self.get(call.fields["cluster_id"]).details(),
                ClustersAPI.get,
            ),
            Route("GET", f"{API}/list", self._list, ClustersAPI.list),
            Route("POST", f"{API}/delete", self._delete, ClustersAPI.delete),
            Route("POST", f"{API}/permanent-delete", self._permanent_delete, ClustersAPI.permanent_delete),
            Route("POST", f"{API}/start", self._start, ClustersAPI.start),
            Route("POST", f"{API}/events", self._events, ClustersAPI.events),
            Route("GET", f"{API}/list-node-types", _node_types),
            Route("GET", f"{API}/spark-versions", _spark_versions),
        ]

    def _create(self, call: Call) -> dict[str, Any]:
        spec = {"autotermination_minutes": 120, **call.fields}
        return {"cluster_id": self.launch(spec, "API", call.user).cluster_id}

    def _list(self, call: Call) -> dict[str, Any]:
        unknown = {name for name in call.fields if name.startswith("sort_by")}
        if unknown:
            raise Violation(f"Listing clusters with {unknown} is not emulated.")
        states = call.fields.get("filter_by.cluster_states")
        sources = call.fields.get("filter_by.cluster_sources")
        with self._lock:
            found = [self._after_autotermination(one).details() for one in self._all.values()]
        found = [one for one in found if not states or one["state"] in states]
        found = [one for one in found if not sources or one["cluster_source"] in sources]
        start, size = int(call.fields.get("page_token") or 0), call.fields.get("page_size") or 20
        page: dict[str, Any] = {"clusters": found[start : start + size]}
        return page if start + size >= len(found) else page | {"next_page_token": str(start + size)}

    def _delete(self, call: Call) -> None:
        self.terminate(self.get(call.fields["cluster_id"]))

    def _permanent_delete(self, call: Call) -> None:
        cluster = self.get(call.fields["cluster_id"])
        self.terminate(cluster)
        with self._lock:
            del self._all[cluster.cluster_id]

    def _start(self, call: Call) -> None:
        cluster = self.get(call.fields["cluster_id"])
        if not cluster.terminated:
            message = f"Cluster {cluster.cluster_id} is in unexpected state {cluster.state}."
            raise ApiError(400, "INVALID_STATE", message)
        self.start_again(cluster)

    def _events(self, call: Call) -> dict[str, Any]:
        known = {"cluster_id", "order", "limit", "page_size"}
        if set(call.fields) - known:
            raise Violation(f"Cluster events by {sorted(set(call.fields) - known)} are not emulated.")
        cluster = self.get(call.fields["cluster_id"])
        events = list(cluster.events)
        if cluster.state == "RUNNING":
            running = {
                "cluster_id": cluster.cluster_id,
                "timestamp": now_ms(),
                "type": "RUNNING",
                "details": {},
            }
            events.append(running)
        if call.fields.get("order") != "ASC":
            events.reverse()
        return {"events": events[: call.fields.get("limit") or 50], "total_count": len(events)}


def _check_size(spec: dict[str, Any]) -> None:
    sizes = [name for name in ("num_workers", "autoscale", "is_single_node") if name in spec]
    if len(sizes) != 1:
        raise Violation(f"A cluster takes one of num_workers, autoscale and is_single_node, not {sizes}.")
    profile = (spec.get("spark_conf") or {}).get("spark.databricks.cluster.profile")
    if spec.get("num_workers") == 0 and profile != "singleNode":
        raise Violation("Without workers, spark_conf must say spark.databricks.cluster.profile: singleNode.")


def now_ms() -> int:
    """The time of day in the service's unit."""
    return int(time.time() * 1000)


def _node_types(_: Call) -> dict[str, Any]:
    return {"node_types": [one | {"node_type_id": name} for name, one in NODE_TYPES.items()]}


def _spark_versions(_: Call) -> dict[str, Any]:
    return {"versions": [{"key": key, "name": name} for key, name in SPARK_VERSIONS.items()]}
