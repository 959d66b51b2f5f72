"""All clusters, and the routes that make, list and end them."""

import secrets
import threading
import time
from pathlib import Path
from typing import Any

from databricks.sdk.service.compute import ClustersAPI

from churn_assets_tests.workspace import cluster_spec
from churn_assets_tests.workspace.auth import USER
from churn_assets_tests.workspace.cluster import Cluster, now_ms
from churn_assets_tests.workspace.compute_types import NODE_TYPES, SPARK_VERSIONS
from churn_assets_tests.workspace.faults import Faults
from churn_assets_tests.workspace.policies import Policies
from churn_assets_tests.workspace.pools import Pools
from churn_assets_tests.workspace.routing import ApiError, Call, Route, Violation

API = "/api/2.1/clusters"


class Clusters:
    """All clusters, those of jobs included.

    Args:
        folder: of the workspace.
        faults: how long a cluster is PENDING.
        pools: the instance pools that a cluster may take its nodes from.

    Attributes:
        policies: those that clusters can name.
        seconds_per_minute: of ``autotermination_minutes``; less makes an idle cluster end sooner.
    """

    def __init__(self, folder: Path, faults: Faults, pools: Pools) -> None:
        self._folder = folder / "clusters"
        self._faults = faults
        self._pools = pools
        self._all: dict[str, Cluster] = {}
        self._lock = threading.RLock()
        self.seconds_per_minute = 60.0
        self.policies = Policies()

    def alive(self) -> list[Cluster]:
        """Clusters that would cost money now: everything that is not terminated."""
        with self._lock:
            return [
                cluster
                for cluster in map(self._after_autotermination, self._all.values())
                if not cluster.terminated
            ]

    def launch(self, spec: dict[str, Any], source: str, creator: str = USER) -> Cluster:
        """Start a cluster.

        Raises:
            ApiError: it could not be started as asked for.
        """
        cluster_spec.check(spec, self._pools)
        self.policies.check(spec)
        cluster_id = f"{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        cluster = Cluster(
            cluster_id=cluster_id,
            spec=spec,
            source=source,
            folder=self._folder / cluster_id,
            creator=creator,
            ready_at=time.monotonic() + self._faults.cluster_start_seconds,
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
                cluster.libraries.clear()
                cluster.ready_at = time.monotonic() + self._faults.cluster_start_seconds
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

    def routes(self) -> list[Route]:
        """Cluster API 2.1, policies, and the lists of node types and Spark versions."""
        return [
            *self.policies.routes(),
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
            clusters = [self._after_autotermination(cluster).details() for cluster in self._all.values()]
        clusters = [cluster for cluster in clusters if not states or cluster["state"] in states]
        clusters = [cluster for cluster in clusters if not sources or cluster["cluster_source"] in sources]
        start, size = int(call.fields.get("page_token") or 0), call.fields.get("page_size") or 20
        page: dict[str, Any] = {"clusters": clusters[start : start + size]}
        return page if start + size >= len(clusters) else page | {"next_page_token": str(start + size)}

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


def _node_types(_: Call) -> dict[str, Any]:
    return {"node_types": [node_type | {"node_type_id": name} for name, node_type in NODE_TYPES.items()]}


def _spark_versions(_: Call) -> dict[str, Any]:
    return {"versions": [{"key": key, "name": name} for key, name in SPARK_VERSIONS.items()]}
