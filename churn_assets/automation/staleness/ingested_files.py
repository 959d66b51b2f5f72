"""Whether the last ingestion has seen every file that is in the landing zone now."""

import datetime as dt

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.landing_history import last_notes
from churn_assets.automation.history.log_reader import latest_record, utc
from churn_assets.automation.staleness.migration import made_by_other_code
from churn_assets.automation.staleness.staleness import CodeVersions
from churn_assets.lakehouse.io_manager import DATA_VERSION_TAG
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing_notes import LandingNotes
from churn_assets.lakehouse.landing_state import METADATA_NAME, state_of
from churn_assets.tables import LANDED_EVENTS

# A look that finds nothing is a run once a day, so that Bronze counts as looked after.
LOOKED_AFTER = dt.timedelta(hours=12)


def unchanged_landing_zone(
    lake: Lakehouse, instance: dg.DagsterInstance, versions: CodeVersions, now: dt.datetime
) -> LandingNotes | None:
    """Return notes on the landing zone if an ingestion would find nothing, None if it must look.

    Bronze is then as the last ingestion left it, and that one took in or passed over every file of today.
    Files that it could not read are tried again, and a clock that is behind Bronze is looked at each time.

    Raises:
        LandingError: the landing zone does not exist or cannot be read.
    """
    record = latest_record(instance, asset_key(LANDED_EVENTS))
    last = record.asset_materialization if record else None
    if record is None or last is None or now - utc(record.timestamp) > LOOKED_AFTER:
        return None
    if made_by_other_code(instance, LANDED_EVENTS, versions):
        return None
    if (last.tags or {}).get(DATA_VERSION_TAG) != str(lake.version(LANDED_EVENTS)):
        return None
    notes, seen = last_notes(instance), last.metadata.get(METADATA_NAME)
    # Not recorded where only the engine can list the zone.
    if seen is None:
        return None
    listing = lake.list_landing()
    if seen.value != state_of(listing) or listing.left_out:
        return None
    return None if notes.left_out_count or notes.ahead_seconds else LandingNotes.of(listing, dt.timedelta())
