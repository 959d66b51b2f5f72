"""From Bronze to typed events, the quarantine of other lines, and the users."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.asset_keys import asset_key
from churn_assets.assets.by_date import observed_changes
from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import ON_SPARK, Assets, pool, retries, table_spec
from churn_assets.lakehouse import coverage
from churn_assets.lakehouse.computed_dates.writing import Origin
from churn_assets.lakehouse.io_manager import lineage_metadata, write_metadata
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, USERS, Table
from churn_assets.transforms import accounting, activity, cleaning, identity


def silver_assets(settings: Settings) -> Assets:
    """Return events and their quarantine, which are one computation, and users."""

    @dg.multi_asset(
        name="clean_events",
        ins={"landed": dg.AssetIn(asset_key(LANDED_EVENTS), input_manager_key="lake_io")},
        outs={
            "quarantined_events": _out(QUARANTINED_EVENTS, settings),
            "events": _out(EVENTS, settings),
        },
        required_resource_keys=ON_SPARK,
        pool=pool(EVENTS),
        retry_policy=retries(settings),
    )
    def clean_events(context: dg.AssetExecutionContext, landed: DataFrame) -> Iterator[dg.Output[DataFrame]]:
        lake: Lakehouse = context.resources.lakehouse
        silver = lake.read(EVENTS)
        last = silver.agg(F.unix_micros(F.max("_ingested_at"))).collect()[0][0]
        gained = accounting.not_yet_cleaned(landed, last)
        sources = settled_sources(gained, silver, settings.earliest_event)
        batch = cleaning.clean_batch(gained, silver, settings.earliest_event, sources)
        since = lake.ledger.read().last_note
        # In this order: Silver's rows tell what has been cleaned, so a crash in between loses nothing.
        yield dg.Output(batch.quarantined, "quarantined_events")
        yield dg.Output(batch.events, "events")
        for observation in observed_changes(lake, EVENTS, since):
            context.log_event(observation)

    # It reads and writes without the I/O manager: the ledger has to know when its reading began.
    @dg.asset(
        **table_spec(USERS, settings),
        deps=[asset_key(EVENTS)],
        required_resource_keys=ON_SPARK,
        pool=pool(USERS),
        retry_policy=retries(settings),
        code_version=code_version(activity.users),
    )
    def users(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        lake: Lakehouse = context.resources.lakehouse
        last_note = lake.ledger.read().last_note
        first = coverage.covered_days(lake, dt.datetime.now(dt.UTC)).first
        origin = Origin(last_note, code_version(activity.users))
        written = lake.write(USERS, activity.users(lake.read(EVENTS), first), origin=origin)
        for observation in observed_changes(lake, USERS, last_note):
            context.log_event(observation)
        return dg.MaterializeResult(
            metadata={
                **write_metadata(written),
                **lineage_metadata(USERS),
            },
            data_version=dg.DataVersion(str(written.version)),
        )

    return [clean_events, users]


def settled_sources(gained: DataFrame, silver: DataFrame, earliest: dt.date) -> DataFrame | None:
    """Return the source ids of users whose id is in doubt, computed once; None where there are none."""
    if not identity.doubtful_users(gained, silver).take(1):
        return None
    sources = cleaning.doubtful_sources(gained, silver, earliest)
    return gained.sparkSession.createDataFrame(sources.collect(), sources.schema)


def _out(table: Table, settings: Settings) -> dg.AssetOut:
    return dg.AssetOut(
        **table_spec(table, settings),
        io_manager_key="lake_io",
        code_version=code_version(cleaning.clean_batch, settings.earliest_event),
    )
