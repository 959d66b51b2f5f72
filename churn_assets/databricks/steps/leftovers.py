"""Cleanup, at the start of a Dagster run, after earlier runs whose worker was killed."""

import logging
from typing import TYPE_CHECKING

import dagster as dg
from databricks.sdk.errors.base import DatabricksError

from churn_assets.databricks.compute.run_cluster import NAME_PREFIX, clusters_of_runs, end_cluster
from churn_assets.databricks.staging import VolumeFolder
from churn_assets.errors import one_line

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

log = logging.getLogger(__name__)


def clear_leftovers(
    workspace: "WorkspaceClient", staging: VolumeFolder, instance: dg.DagsterInstance
) -> list[str]:
    """Terminate the clusters and delete the staged files of this instance's finished runs.

    Runs of other instances may be alive, so theirs are left alone. Errors are logged, not raised.

    Returns:
        The ids of the Dagster runs that had left something behind.
    """
    try:
        clusters = {
            (cluster.cluster_name or "").removeprefix(NAME_PREFIX): cluster.cluster_id or ""
            for cluster in clusters_of_runs(workspace)
        }
        staged = set(staging.folders(f"{staging.root}/runs"))
        over = [run_id for run_id in sorted({*clusters, *staged}) if _is_over(instance, run_id)]
        for run_id in over:
            if run_id in clusters:
                end_cluster(workspace, clusters[run_id])
            if run_id in staged:
                staging.delete(f"{staging.root}/runs/{run_id}")
    except (DatabricksError, OSError, TimeoutError) as error:
        log.warning("What earlier runs left in the workspace stays for now: %s", one_line(error))
        return []
    return over


def _is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.is_finished
