"""From files to Bronze."""

import datetime as dt

import dagster as dg

from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import ON_SPARK, OWNERS, Assets, pool, retries, table_spec, tags
from churn_assets.errors import ChurnError
from churn_assets.lakehouse.ingestion import ingest
from churn_assets.lakehouse.io_manager import shown_metadata, write_metadata
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing_notes import METADATA_NAME as LANDING_ZONE
from churn_assets.lakehouse.landing_notes import LandingNotes
from churn_assets.lakehouse.landing_state import METADATA_NAME, state_of
from churn_assets.settings import Settings
from churn_assets.tables import LANDED_EVENTS
from churn_assets.transforms import parsing

LANDING_EVENTS = dg.AssetKey(["landing", "events"])


def bronze_assets(settings: Settings) -> Assets:
    """Return the landing zone, which is filled from outside, and Bronze."""
    landing = dg.AssetSpec(
        LANDING_EVENTS,
        group_name="landing",
        description="Landing zone: event files as they arrive: JSON lines, plain or .gz; at least once, out "
        "of order, sometimes late, sometimes broken.",
        kinds={"json", "file"},
        tags={"dagster/storage_kind": "json", **tags("landing", is_personal=True)},
        owners=OWNERS,
        metadata={"dagster/uri": settings.landing_root},
    )

    @dg.asset(
        **table_spec(LANDED_EVENTS, settings),
        deps=[LANDING_EVENTS],
        code_version=code_version(parsing.landed_events),
        required_resource_keys=ON_SPARK,
        pool=pool(LANDED_EVENTS),
        retry_policy=retries(settings),
    )
    def landed_events(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        lake: Lakehouse = context.resources.lakehouse
        # Before the ingestion: files that land meanwhile are for the next one.
        state_before = _landing_state(lake)
        ingestion = ingest(lake, now=lambda: dt.datetime.now(dt.UTC))
        return dg.MaterializeResult(
            metadata={
                "files_taken_in": ingestion.files,
                **({METADATA_NAME: state_before} if state_before else {}),
                **({"files_ignored": ingestion.ignored} if ingestion.ignored is not None else {}),
                "files_left_out": len(ingestion.left_out),
                LANDING_ZONE: dg.MetadataValue.json(vars(LandingNotes.of(ingestion, ingestion.ahead))),
                **(write_metadata(ingestion.write) if ingestion.write else {"rows_written": 0}),
                **shown_metadata(lake, LANDED_EVENTS),
            },
            data_version=dg.DataVersion(str(lake.version(LANDED_EVENTS))),
        )

    return [landing, landed_events]


def _landing_state(lake: Lakehouse) -> str | None:
    try:
        return state_of(lake.list_landing())
    except ChurnError:
        # The ingestion says what is wrong, or reads what only the engine can list.
        return None
