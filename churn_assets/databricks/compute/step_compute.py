"""Where each step runs: serverless, or on a cluster: the run's, its own, one that is there, or a pool's."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster._core.execution.context.system import StepExecutionContext
from databricks.sdk.errors import InvalidParameterValue, NotFound
from databricks.sdk.errors.base import DatabricksError

from churn_assets.databricks.client import patiently
from churn_assets.databricks.compute.compute import (
    RUN_TAG,
    SECRETS,
    cluster_spec,
    require_access_mode,
    require_runtime,
)
from churn_assets.databricks.compute.cost import dbu_estimate
from churn_assets.databricks.compute.run_cluster import RunCluster
from churn_assets.databricks.compute.run_state import RunState
from churn_assets.databricks.compute.secret_scope import scope_keys
from churn_assets.databricks.compute.serverless import ENVIRONMENT_KEY, environment
from churn_assets.errors import WorkspaceError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.compute import ClusterDetails


class StepCompute(NamedTuple):
    """Where a step runs.

    Attributes:
        where: the task's fields that say so; none where it is serverless.
        secrets: variable -> (scope, key), for the step to read itself where its compute cannot.
        budget_policy: whose tags the bill of serverless compute has; None elsewhere.
    """

    where: dict[str, Any]
    secrets: dict[str, tuple[str, str]]
    budget_policy: str | None = None

    def task(self, requirements: str) -> dict[str, Any]:
        """Return the fields of the step's task.

        Args:
            requirements: the path of the file that names what is to be installed.
        """
        if not self.where:
            return {"environment_key": ENVIRONMENT_KEY}
        return {**self.where, "libraries": [{"requirements": requirements}]}

    def environments(self, requirements: str) -> list[dict[str, Any]]:
        """Return the environments of the step's run, for the same file."""
        return [] if self.where else [environment([f"-r {requirements}"])]


class StepComputes:
    """The choice of each step's compute."""

    def __init__(self, settings: Settings, workspace: "WorkspaceClient", patience_seconds: float) -> None:
        self._settings = settings
        self._workspace = workspace
        self._patience_seconds = patience_seconds
        self._of_run = RunCluster(settings, workspace, patience_seconds)

    def for_step(self, step_context: StepExecutionContext) -> StepCompute:
        """Return where a step runs; the run's shared cluster is created at its first step.

        Raises:
            WorkspaceError: a cluster or scope that the settings name does not exist.
            SettingsError: the cluster's runtime is too old.
        """
        settings = self._settings
        match settings.databricks_compute:
            case "serverless":
                return StepCompute({}, self._to_read, settings.databricks_budget_policy_id or None)
            case "existing":
                require_runtime(
                    self._existing.spark_version or "",
                    f"The runtime of CHURN_DATABRICKS_CLUSTER_ID={settings.databricks_cluster_id}",
                )
                require_access_mode(self._existing)
                return StepCompute({"existing_cluster_id": settings.databricks_cluster_id}, self._to_read)
            case "run":
                cluster_id = self._of_run.ensure(step_context.instance, step_context.run_id, self._secrets)
                return StepCompute({"existing_cluster_id": cluster_id}, {})
            case _:
                spec = cluster_spec(settings, self._secrets)
                spec["custom_tags"][RUN_TAG] = step_context.run_id
                return StepCompute({"new_cluster": spec}, {})

    def end(self, run_id: str) -> None:
        """Terminate the cluster of a Dagster run, if the run has its own."""
        if self._settings.databricks_compute == "run":
            self._of_run.end(run_id)

    def dbu_estimate(self, state: RunState) -> float | None:
        """Estimate a step's DBU, None if the rate is unknown; a shared cluster counts while the step ran.

        Serverless compute has no nodes to count: what it took is in ``system.billing.usage`` alone.
        """
        settings = self._settings
        if settings.databricks_compute == "serverless":
            return None
        node_type: str | None = settings.databricks_node_type
        workers = settings.databricks_workers
        try:
            if settings.databricks_compute == "existing":
                node_type, workers = self._existing.node_type_id, self._existing.num_workers or 0
            elif settings.databricks_compute == "pool":
                node_type = self._pool_node_type
        except (DatabricksError, WorkspaceError):
            # An estimate is not worth a step.
            return None
        own = settings.databricks_compute in ("step", "pool")
        seconds = state.cluster_seconds if own else state.execution_seconds
        return dbu_estimate(seconds, node_type, workers, settings.databricks_dbu_rates)

    @property
    def _to_read(self) -> dict[str, tuple[str, str]]:
        scope = self._settings.databricks_secret_scope
        return {name: (scope, key) for name, key in SECRETS.items() if key in self._secrets}

    @cached_property
    def _existing(self) -> "ClusterDetails":
        cluster_id = self._settings.databricks_cluster_id
        try:
            return patiently(lambda: self._workspace.clusters.get(cluster_id), self._patience_seconds)
        except (NotFound, InvalidParameterValue) as error:
            raise WorkspaceError(
                f"CHURN_DATABRICKS_CLUSTER_ID={cluster_id} is no cluster of this workspace. "
                "Name one that is, or use another CHURN_DATABRICKS_COMPUTE."
            ) from error

    @cached_property
    def _pool_node_type(self) -> str | None:
        pool_id = self._settings.databricks_pool_id
        return patiently(
            lambda: self._workspace.instance_pools.get(pool_id), self._patience_seconds
        ).node_type_id

    @cached_property
    def _secrets(self) -> frozenset[str]:
        return scope_keys(self._workspace, self._settings, self._patience_seconds)
