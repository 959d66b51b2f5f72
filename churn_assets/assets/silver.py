"""From Bronze to typed events, what could not become one, and the users."""

from collections.abc import Iterator

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import ON_SPARK, Assets, pool, table_spec
from churn_assets.lakehouse import evidence
from churn_assets.lakehouse.io_manager import lineage_metadata, write_metadata
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, USERS, Table
from churn_assets.transforms import accounting, activity, cleaning, identity


def silver_assets(settings: Settings) -> Assets:
    """Silver: events and their quarantine, which are one computation, and users."""

    @dg.multi_asset(
        name="clean_events",
        ins={"landed": dg.AssetIn(LANDED_EVENTS.asset_key, input_manager_key="lake_io")},
        outs={
            "quarantined_events": _out(QUARANTINED_EVENTS, settings),
            "events": _out(EVENTS, settings),
        },
        required_resource_keys=ON_SPARK,
        pool=pool(EVENTS),
    )
    def clean_events(context: dg.AssetExecutionContext, landed: DataFrame) -> Iterator[dg.Output[DataFrame]]:
        silver = context.resources.lakehouse.read(EVENTS)
        last = silver.agg(F.unix_micros(F.max("_ingested_at"))).first()[0]
        gained = accounting.not_yet_cleaned(landed, last)
        # Hardly ever is there one, and to know it spares a look at Silver's ids each time a row is written.
        any_doubt = bool(identity.doubtful_users(gained, silver).take(1))
        batch = cleaning.clean_batch(gained, silver, settings.earliest_event, any_doubt=any_doubt)
        # In this order: what Silver holds says what has been cleaned, so a death in between loses nothing.
        yield dg.Output(batch.quarantined, "quarantined_events")
        yield dg.Output(batch.events, "events")

    # It writes for itself: what it says of Gold is true only once the users are there.
    @dg.asset(
        **table_spec(USERS, settings),
        ins={"events": dg.AssetIn(EVENTS.asset_key, input_manager_key="lake_io")},
        required_resource_keys=ON_SPARK,
        pool=pool(USERS),
        code_version=code_version(activity.users),
    )
    def users(context: dg.AssetExecutionContext, events: DataFrame) -> dg.MaterializeResult:
        lake = context.resources.lakehouse
        written = lake.write(USERS, activity.users(events))
        return dg.MaterializeResult(
            metadata={
                **write_metadata(written),
                **lineage_metadata(USERS),
                evidence.METADATA_NAME: dg.MetadataValue.json(evidence.gather(lake).as_json()),
            },
            data_version=dg.DataVersion(str(written.version)),
        )

    return [clean_events, users]


def _out(table: Table, settings: Settings) -> dg.AssetOut:
    return dg.AssetOut(
        **table_spec(table, settings),
        io_manager_key="lake_io",
        code_version=code_version(cleaning.clean_batch, settings.earliest_event),
    )
