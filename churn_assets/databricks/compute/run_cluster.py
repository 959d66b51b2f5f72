"""One cluster for a whole Dagster run: created by its first step, shared by the others, terminated with it.

It is an all-purpose cluster, the only kind that several Databricks runs can share: no cold start but the
first, at the higher price of its DBU. Three things end it, whatever becomes of the run:

* the run worker, when the run ends, fails or is interrupted;
* the next run of this Dagster instance, for a worker that was killed (``leftovers``);
* Databricks itself, after ten idle minutes.
"""

import logging
import threading
from typing import TYPE_CHECKING

import dagster as dg
from databricks.sdk.errors import InvalidParameterValue, NotFound
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.compute import ClusterSource, ClusterSpec, ListClustersFilterBy, State

from churn_assets.databricks.client import patiently
from churn_assets.databricks.compute.compute import AUTOTERMINATION_MINUTES, RUN_TAG, cluster_spec
from churn_assets.errors import one_line
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.compute import ClusterDetails

CLUSTER_TAG = "churn/databricks_cluster"
NAME_PREFIX = "churn-run-"
USABLE = {State.PENDING, State.RUNNING, State.RESIZING, State.RESTARTING}

log = logging.getLogger(__name__)


class RunCluster:
    """The clusters of Dagster runs, identified by their names."""

    def __init__(self, settings: Settings, workspace: "WorkspaceClient", patience_seconds: float) -> None:
        self._settings = settings
        self._workspace = workspace
        self._patience_seconds = patience_seconds
        # Steps of one worker may run in threads; those of several workers find one another by the name.
        self._lock = threading.Lock()

    def ensure(self, instance: dg.DagsterInstance, run_id: str, secrets: frozenset[str]) -> str:
        """Return the id of the run's cluster, created if need be; it is starting or running.

        Args:
            instance: keeps the id as a tag of the run, for people.
            run_id: of the Dagster run.
            secrets: what ``compute.cluster_spec`` takes.
        """
        with self._lock:
            cluster_id = patiently(
                lambda: self._find(run_id) or self._make(run_id, secrets), self._patience_seconds
            )
        run = instance.get_run_by_id(run_id)
        if run and run.tags.get(CLUSTER_TAG) != cluster_id:
            instance.add_run_tags(run_id, {CLUSTER_TAG: cluster_id})
        return cluster_id

    def end(self, run_id: str) -> None:
        """Terminate the run's cluster, if there is one. Errors are logged, as an idle one ends itself."""
        try:
            for cluster_id in self._all(run_id):
                end_cluster(self._workspace, cluster_id)
        except (DatabricksError, OSError, TimeoutError) as error:
            log.warning(
                "The cluster of run %s was not ended (%s). It ends by itself after %d idle minutes.",
                run_id, one_line(error), AUTOTERMINATION_MINUTES,
            )  # fmt: skip

    def _find(self, run_id: str) -> str | None:
        return next(iter(self._all(run_id)), None)

    def _all(self, run_id: str) -> list[str]:
        """The ids of the run's clusters that are starting or running, sorted so that all workers agree."""
        clusters = clusters_of_runs(self._workspace)
        return sorted(
            cluster.cluster_id or "" for cluster in clusters if cluster.cluster_name == NAME_PREFIX + run_id
        )

    def _make(self, run_id: str, secrets: frozenset[str]) -> str:
        spec = cluster_spec(self._settings, secrets)
        spec["custom_tags"][RUN_TAG] = run_id
        # The client takes dataclasses; its own of a cluster makes them of plain values.
        typed = ClusterSpec.from_dict(spec)
        made = self._workspace.clusters.create(
            cluster_name=NAME_PREFIX + run_id,
            autotermination_minutes=AUTOTERMINATION_MINUTES,
            **{name: getattr(typed, name) for name in spec},
        )
        # The request has no idempotency token: where its answer was lost the SDK has sent it again, and
        # another worker of the run may have been as fast.
        ours, *others = self._all(run_id) or [made.response.cluster_id]
        for cluster_id in others:
            end_cluster(self._workspace, cluster_id)
        return ours


def clusters_of_runs(workspace: "WorkspaceClient") -> "list[ClusterDetails]":
    """Return the clusters of Dagster runs of any instance that are starting or running."""
    filters = ListClustersFilterBy(
        cluster_sources=[ClusterSource.API], cluster_states=sorted(USABLE, key=str)
    )
    return [
        cluster
        for cluster in workspace.clusters.list(filter_by=filters)
        if (cluster.cluster_name or "").startswith(NAME_PREFIX)
    ]


def end_cluster(workspace: "WorkspaceClient", cluster_id: str) -> None:
    """Delete a cluster permanently; one that no longer exists is ignored."""
    try:
        workspace.clusters.permanent_delete(cluster_id)
    except (NotFound, InvalidParameterValue):
        return
