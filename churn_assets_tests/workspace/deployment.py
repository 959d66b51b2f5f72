"""A ``databricks`` deployment in an emulated workspace, set up as the documentation says."""

import datetime as dt
from pathlib import Path
from typing import Any

from churn_assets import settings as settings_module
from churn_assets.databricks.catalog import setup
from churn_assets.settings import Settings
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.statements import WAREHOUSE_ID

LANDING = "/Volumes/raw_catalog/landing/files"


def set_up(
    workspace: Workspace, folder: Path, start: dt.date, horizon_days: int, **overrides: Any
) -> Settings:
    """Catalogs, volumes and tables are made.

    Args:
        workspace: empty.
        folder: for what the orchestrator keeps, and the registry.
        start: the first feature_date.
        horizon_days: of the labels.
        overrides: other settings.
    """
    settings = settings_module.load(
        _env_file=None,
        deployment="databricks",
        lake_root=folder / "lake",
        landing_root=LANDING,
        start_date=start,
        horizon_days=horizon_days,
        # A registry that both sides reach; databricks-uc is tested route by route.
        mlflow_tracking_uri=f"sqlite:///{folder}/mlflow/mlflow.db",
        databricks_host=workspace.url,
        databricks_token=workspace.token,
        databricks_warehouse_id=WAREHOUSE_ID,
        databricks_managed_location="s3://bucket/churn",
        databricks_poll_seconds=0.1,
        **overrides,
    )
    setup.apply(workspace.client(), settings)
    workspace.serving.registry_uri = settings.mlflow_tracking_uri
    return settings
