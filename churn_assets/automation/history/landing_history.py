"""What the last ingestion said of the landing zone, as Dagster's history keeps it."""

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.lakehouse.landing_notes import METADATA_NAME, LandingNotes
from churn_assets.tables import LANDED_EVENTS


def last_notes(instance: dg.DagsterInstance) -> LandingNotes:
    """Nothing to say, where there was none."""
    event = instance.get_latest_materialization_event(asset_key(LANDED_EVENTS))
    told = event.asset_materialization.metadata if event and event.asset_materialization else {}
    value = told.get(METADATA_NAME)
    if not isinstance(value, dg.JsonMetadataValue) or not isinstance(value.data, dict):
        return LandingNotes()
    return LandingNotes(**value.data)
