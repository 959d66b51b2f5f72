"""What the last ingestion noted of the landing zone, as Dagster's history keeps it."""

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.log_reader import latest_metadata
from churn_assets.lakehouse.landing_notes import METADATA_NAME, LandingNotes
from churn_assets.tables import LANDED_EVENTS


def last_notes(instance: dg.DagsterInstance) -> LandingNotes:
    """Return the notes of the last ingestion, empty where there was none."""
    value = latest_metadata(instance, asset_key(LANDED_EVENTS)).get(METADATA_NAME)
    if not isinstance(value, dg.JsonMetadataValue) or not isinstance(value.data, dict):
        return LandingNotes()
    return LandingNotes(**value.data)
