"""The lake and the engine of a deployment, for code inside and outside Dagster.

What an engine needs is imported when it starts: a command that reads only metadata does without Dagster,
whose import takes a second.
"""

from typing import TYPE_CHECKING, Any

from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.runtime import runs_on_cluster
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from churn_assets.lakehouse.engines import LazySpark
    from churn_assets.lakehouse.landing import Listing
    from churn_assets.lakehouse.unity_lake import RunSql


def lakehouse(settings: Settings, spark: "LazySpark | None" = None) -> Lakehouse:
    """Return the lake, with the engine of the deployment unless another is given."""

    def session() -> "SparkSession":
        return (spark or spark_resource(settings)).spark_session

    if settings.deployment == "databricks":
        from churn_assets.lakehouse.unity_lake import UnityLakehouse

        run_sql = None if runs_on_cluster() else _warehouse(settings)
        return UnityLakehouse(settings, session, run_sql, lambda root: _list_volume(settings, root))
    return FolderLakehouse(settings, session)


def spark_resource(settings: Settings) -> "LazySpark":
    """Return the engine; on Databricks, none outside a cluster."""
    match settings.deployment:
        case "local":
            from churn_assets.lakehouse.engines import EmbeddedSail

            return EmbeddedSail(catalogs=[settings.main_catalog, settings.raw_catalog])
        case "spark":
            from churn_assets.lakehouse.engines import ApacheSpark

            return ApacheSpark(master=settings.spark_master, reaches_s3=settings.is_in_bucket)
        case "databricks":
            from churn_assets.databricks.session import ClusterSpark, NoSpark

            return ClusterSpark() if runs_on_cluster() else NoSpark()


def _list_volume(settings: Settings, root: str) -> "Listing":
    from churn_assets.databricks.client import workspace_client
    from churn_assets.databricks.volume_listing import list_volume

    return list_volume(workspace_client(settings), root)


def _warehouse(settings: Settings) -> "RunSql":
    """Return what runs SQL for a process without Spark, on the warehouse that the settings name."""

    def run(statement: str) -> list[dict[str, Any]]:
        from churn_assets.databricks.catalog.warehouse import Warehouse
        from churn_assets.databricks.client import workspace_client

        return Warehouse(workspace_client(settings), settings).run(statement)

    return run
