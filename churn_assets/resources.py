"""All resources of one deployment: the place that asks which one it is."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from churn_assets.deployed_lake import lakehouse, spark_resource
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.retention.summary import list_metadata
from churn_assets.runtime import runs_on_cluster
from churn_assets.serving.rollout.clients import BundledEndpoint, EndpointLocation, WorkspaceEndpoint
from churn_assets.settings import Settings
from churn_assets.status import score_metadata
from churn_assets.tables import CHURN_PREDICTIONS, RETENTION_LIST, TREATMENT_OUTCOMES

__all__ = ["lakehouse", "launched", "resources", "spark_resource"]


def resources(settings: Settings) -> dict[str, Any]:
    """Return all resources, by the keys that assets require."""
    spark = spark_resource(settings)
    lake = lakehouse(settings, spark)
    computes_here = not _launches_steps(settings)
    return {
        "pyspark": spark,
        "lakehouse": lake,
        "lake_io": LakeIOManager(
            lake,
            {CHURN_PREDICTIONS: score_metadata, RETENTION_LIST: list_metadata},
            dict.fromkeys((RETENTION_LIST, TREATMENT_OUTCOMES), _publish_page),
        ),
        "endpoint": _endpoint(settings),
        # Dagster makes a step's resources on both sides; only one of them may open an MLflow run.
        "mlflow": _mlflow(settings) if computes_here else dg.ResourceDefinition.none_resource(),
        "pyspark_step_launcher": dg.ResourceDefinition.none_resource()
        if computes_here
        else _step_launcher(settings),
    }


def launched(settings: Settings, definitions: Iterable[Any]) -> list[Any]:
    """Return assets and checks as this process runs them: those for a cluster, as its launcher needs them."""
    if not _launches_steps(settings) or settings.databricks_launcher != "pipes":
        return list(definitions)
    from churn_assets.databricks.steps.pipes_assets import through_pipes

    return [through_pipes(definition) for definition in definitions]


def _publish_page(lake: Lakehouse) -> dict[str, Any]:
    """Publish what the bundled server's page shows; Databricks has no such server."""
    if lake.settings.deployment == "databricks":
        return {}
    from churn_assets.serving.page.publish import publish_after_write

    return publish_after_write(lake)


def _endpoint(settings: Settings) -> EndpointLocation:
    if settings.deployment == "databricks":
        from churn_assets.databricks.catalog.online_table import online_table
        from churn_assets.databricks.client import workspace_client

        return WorkspaceEndpoint(settings, lambda: workspace_client(settings), online_table(settings))
    return BundledEndpoint(settings)


def _launches_steps(settings: Settings) -> bool:
    """Whether this process starts its steps on a cluster; the cluster itself does not."""
    return settings.deployment == "databricks" and not runs_on_cluster()


def _step_launcher(settings: Settings) -> dg.ResourceDefinition:
    """Return the launcher of steps, made when a run starts: loading the definitions needs no credentials."""

    @dg.resource(description="Runs each step on Databricks")
    def pyspark_step_launcher(context: dg.InitResourceContext) -> Iterator[Any]:
        from churn_assets.databricks.steps.launchers import launcher

        run_id = context.run.run_id if context.run else None
        with launcher(settings).for_run(context.instance, run_id) as ready:
            yield ready

    return pyspark_step_launcher


def _mlflow(settings: Settings) -> dg.ResourceDefinition:
    """Return dagster-mlflow's resource, imported when a run needs it, as the import takes 4 s."""

    @dg.resource(description="dagster-mlflow's tracking resource, with an open MLflow run")
    def mlflow(context: dg.InitResourceContext) -> Any:
        from churn_assets.model.registry import registry

        registry.configure(settings)
        # All of dagster-mlflow is beta; each run's log need not say so.
        warnings.filterwarnings("ignore", ".*(mlflow|MlFlow).* is currently in beta", dg.BetaWarning)
        from dagster_mlflow import mlflow_tracking

        config = {
            "experiment_name": registry.experiment_name(settings),
            "mlflow_tracking_uri": registry.tracking_uri(settings),
            "env": {},
            "extra_tags": {},
        }
        start_run: Any = mlflow_tracking.resource_fn  # a function of the context, though typed as without one
        return start_run(context.replace_config(config))

    return mlflow
