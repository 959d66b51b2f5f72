"""The ingestion job, and the assets that each job computes."""

import dagster as dg

from churn_assets import tables
from churn_assets.asset_keys import asset_key
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, USERS

INGESTED = [asset_key(table) for table in (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS, USERS)]
# Dagster's names have no hyphens; Databricks' job is called churn-prediction-pipeline.
PIPELINE_NAME = "churn_prediction_pipeline"

DATED = [asset_key(table) for table in tables.DATED]

INGEST = dg.define_asset_job(
    "ingest_files",
    selection=dg.AssetSelection.assets(*INGESTED),
    description="Takes in the files that have landed: Bronze, Silver, its quarantine, and users.",
)
