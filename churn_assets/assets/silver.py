"""From Bronze to typed events, what could not become one, and the users."""

from collections.abc import Iterator

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.assets.common import ON_SPARK, Assets, pool, table_asset, table_spec
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, USERS, Table
from churn_assets.transforms import accounting, activity, cleaning


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
        batch = cleaning.clean_batch(gained, silver)
        # In this order: what Silver holds says what has been cleaned, so a death in between loses nothing.
        yield dg.Output(batch.quarantined, "quarantined_events")
        yield dg.Output(batch.events, "events")

    @dg.asset(
        **table_asset(USERS, settings),
        ins={"events": dg.AssetIn(EVENTS.asset_key, input_manager_key="lake_io")},
    )
    def users(events: DataFrame) -> DataFrame:
        return activity.users(events)

    return [clean_events, users]


def _out(table: Table, settings: Settings) -> dg.AssetOut:
    return dg.AssetOut(**table_spec(table, settings), io_manager_key="lake_io")
