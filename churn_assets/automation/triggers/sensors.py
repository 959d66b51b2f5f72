"""The sensors that start runs when something has changed: new files, and dates that are behind.

Their ticks read the names of files and Dagster's history. They start no engine and read no table.
"""

import datetime as dt
import time
from collections.abc import Sequence

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.bronze import LANDING_EVENTS
from churn_assets.automation.history.log_reader import (
    latest_metadata,
    latest_observation,
    latest_storage_id,
)
from churn_assets.automation.history.run_tags import REASON_TAG, STEP_TAG
from churn_assets.automation.history.undated_assets import is_behind
from churn_assets.automation.runs.jobs import INGEST, INGESTED
from churn_assets.automation.triggers.attempts import at_work, attempt, backing_off
from churn_assets.automation.triggers.stale_dates import stale_dates_sensor
from churn_assets.deployed_lake import lakehouse
from churn_assets.errors import ChurnError
from churn_assets.lakehouse.io_manager import DATA_VERSION_TAG
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing_state import METADATA_NAME, state_of
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS, USERS

INGEST_STEP = "ingest"

# A zone is not listed for more than a twentieth of the time: it has no way of asking for what is new, and a
# volume's costs a request for each thousand of its files. From elsewhere once a minute is often enough.
LISTING_SHARE = 20
LEAST_SECONDS_REMOTE = 60


def sensors(settings: Settings) -> Sequence[dg.SensorDefinition]:
    """Return both sensors."""
    return [landing_sensor(settings), stale_dates_sensor(settings)]


def landing_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor that starts an ingestion for new files; it takes in whatever has landed by then."""

    @dg.sensor(
        name="landing_zone",
        job=INGEST,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts an ingestion when event files have landed that Bronze has not seen.",
    )
    def landing_zone(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance, now = context.instance, dt.datetime.now(dt.UTC)
        if context.cursor and now < (due := dt.datetime.fromisoformat(context.cursor)):
            return dg.SkipReason(f"The landing zone is listed again at {due:%H:%M:%S} UTC.")
        lake, start = lakehouse(settings), time.monotonic()
        try:
            state = state_of(lake.list_landing())
        except ChurnError as error:
            return dg.SkipReason(str(error))
        finally:
            context.update_cursor(_next_look(lake, time.monotonic() - start))
        _observe(instance, state)
        why = _why_ingest(instance, state)
        if why is None:
            return dg.SkipReason(f"Nothing new among {state.partition(' files')[0]} files.")
        if wait := at_work(instance, settings, now, INGESTED) or backing_off(instance, INGEST_STEP, now):
            return dg.SkipReason(wait)
        # The files that have landed and those that Bronze has seen are the whole state: the cursor has only
        # the time of the next look.
        bronze_id = latest_storage_id(instance, asset_key(LANDED_EVENTS))
        return dg.RunRequest(
            run_key=f"{state}, {why}, {bronze_id}, {attempt(instance, INGEST_STEP)}",
            # The whole job, but named: the run's page then lists what it computes.
            asset_selection=INGESTED,
            tags={STEP_TAG: INGEST_STEP, REASON_TAG: why},
        )

    return landing_zone


def _next_look(lake: Lakehouse, seconds: float) -> str:
    """Return the time before which the landing zone is not listed again, as it took so long."""
    wait = max(seconds * LISTING_SHARE, LEAST_SECONDS_REMOTE if lake.is_remote else 0)
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=wait)).isoformat()


def _observe(instance: dg.DagsterInstance, state: str) -> None:
    """Record what has landed as the zone's data version, if it differs from the last observation."""
    before = latest_observation(instance, LANDING_EVENTS)
    if before is None or (before.tags or {}).get(DATA_VERSION_TAG) != state:
        instance.report_runless_asset_event(
            dg.AssetObservation(
                LANDING_EVENTS, metadata={METADATA_NAME: state}, tags={DATA_VERSION_TAG: state}
            )
        )


def _why_ingest(instance: dg.DagsterInstance, state: str) -> str | None:
    if state.startswith("0 files"):
        return None
    seen = latest_metadata(instance, asset_key(LANDED_EVENTS)).get(METADATA_NAME)
    if seen is None or seen.value != state:
        return "files have landed"
    # An ingestion died half-way: Bronze has the files, and Silver or users do not.
    if is_behind(instance, EVENTS, LANDED_EVENTS) or is_behind(instance, USERS, EVENTS):
        return "an ingestion was not finished"
    return None
