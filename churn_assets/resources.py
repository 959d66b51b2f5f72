"""Every resource of one deployment: the only place that asks which one it is."""

import warnings
from typing import Any

import dagster as dg

from churn_assets.errors import SettingsError
from churn_assets.lakehouse.engines import ApacheSpark, EmbeddedSail, LazySpark
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings


def spark_resource(settings: Settings) -> LazySpark:
    """The engine."""
    match settings.deployment:
        case "local":
            return EmbeddedSail(catalogs=[settings.main_catalog, settings.raw_catalog])
        case "spark":
            return ApacheSpark(master=settings.spark_master)
        case "databricks":
            raise SettingsError(
                "CHURN_DEPLOYMENT=databricks is not part of this version; use local or spark."
            )


def lakehouse(settings: Settings) -> Lakehouse:
    """The tables, for what runs outside Dagster."""
    spark = spark_resource(settings)
    return Lakehouse(settings, lambda: spark.spark_session)


def resources(settings: Settings) -> dict[str, Any]:
    """All resources by the keys that assets ask for."""
    spark = spark_resource(settings)
    lake = Lakehouse(settings, lambda: spark.spark_session)
    return {
        "pyspark": spark,
        "lakehouse": lake,
        "lake_io": LakeIOManager(lake),
        "mlflow": _mlflow(settings),
    }


def _mlflow(settings: Settings) -> dg.ResourceDefinition:
    """dagster-mlflow's resource, imported when a run needs it: that alone takes 4 s."""

    @dg.resource(description="dagster-mlflow's tracking resource, with an open MLflow run")
    def mlflow(context: dg.InitResourceContext) -> Any:
        from churn_assets.model import registry

        registry.configure(settings)
        # dagster-mlflow is beta as a whole; a run's log is no place to say so each time.
        warnings.filterwarnings("ignore", ".*(mlflow|MlFlow).* is currently in beta", dg.BetaWarning)
        from dagster_mlflow import mlflow_tracking

        config = {
            "experiment_name": registry.experiment_name(settings),
            "mlflow_tracking_uri": settings.mlflow_tracking_uri or "databricks",
            "env": {},
            "extra_tags": {},
        }
        start_run: Any = mlflow_tracking.resource_fn  # a function of the context, though typed as without one
        return start_run(context.replace_config(config))

    return mlflow
