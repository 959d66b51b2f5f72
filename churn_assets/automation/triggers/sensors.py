"""What starts runs when something has changed: new files, and dates that are behind.

Ticks look at names of files and at Dagster's history. They start no engine and read no table.
"""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.bronze import LANDING_EVENTS
from churn_assets.automation.history.run_tags import REASON_TAG, STEP_TAG
from churn_assets.automation.history.undated_assets import is_behind, latest_id
from churn_assets.automation.runs.jobs import INGEST, INGESTED
from churn_assets.automation.triggers.attempts import at_work, attempt, backing_off
from churn_assets.automation.triggers.stale_dates import stale_dates_sensor
from churn_assets.errors import LandingError
from churn_assets.lakehouse.io_manager import DATA_VERSION_TAG
from churn_assets.lakehouse.landing_state import METADATA_NAME, landing_state
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS, USERS

INGEST_STEP = "ingest"


def sensors(settings: Settings) -> Sequence[dg.SensorDefinition]:
    """All triggers that look for a change themselves."""
    return [landing_sensor(settings), stale_dates_sensor(settings)]


def landing_sensor(settings: Settings) -> dg.SensorDefinition:
    """New files start one ingestion, which takes in whatever has landed by then."""

    @dg.sensor(
        name="landing_zone",
        job=INGEST,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts an ingestion when event files have landed that Bronze has not seen.",
    )
    def landing_zone(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance, now = context.instance, dt.datetime.now(dt.UTC)
        try:
            state = landing_state(settings.landing_root)
        except LandingError as error:
            return dg.SkipReason(str(error))
        _observe(instance, state)
        why = _why_ingest(instance, state)
        if why is None:
            return dg.SkipReason(f"Nothing new among {state.partition(' files')[0]} files.")
        if wait := at_work(instance, settings, now, INGESTED) or backing_off(instance, INGEST_STEP, now):
            return dg.SkipReason(wait)
        # What has landed, and what Bronze has seen, are the whole state: a cursor would only repeat it.
        bronze_id = latest_id(instance, asset_key(LANDED_EVENTS))
        return dg.RunRequest(
            run_key=f"{state}, {why}, {bronze_id}, {attempt(instance, INGEST_STEP)}",
            # All that the job has, said again: who looks at the run then knows what it computes.
            asset_selection=INGESTED,
            tags={STEP_TAG: INGEST_STEP, REASON_TAG: why},
        )

    return landing_zone


def _observe(instance: dg.DagsterInstance, state: str) -> None:
    """Say what has landed, if that is something else than at the last look: the zone's data version."""
    seen = instance.fetch_observations(LANDING_EVENTS, limit=1).records
    before = seen[0].asset_observation if seen else None
    if before is None or (before.tags or {}).get(DATA_VERSION_TAG) != state:
        instance.report_runless_asset_event(
            dg.AssetObservation(
                LANDING_EVENTS, metadata={METADATA_NAME: state}, tags={DATA_VERSION_TAG: state}
            )
        )


def _why_ingest(instance: dg.DagsterInstance, state: str) -> str | None:
    if state.startswith("0 files"):
        return None
    event = instance.get_latest_materialization_event(asset_key(LANDED_EVENTS))
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    seen = metadata.get(METADATA_NAME)
    if seen is None or seen.value != state:
        return "files have landed"
    # An ingestion that died half-way: Bronze has seen the files, and the rest has not.
    if is_behind(instance, EVENTS, LANDED_EVENTS) or is_behind(instance, USERS, EVENTS):
        return "an ingestion was not finished"
    return None
