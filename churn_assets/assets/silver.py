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
from churn_assets.lakehouse.computed_dates.checked_ledger import CheckedLedger, read_ledger
from churn_assets.lakehouse.computed_dates.rows import parameters_text
from churn_assets.lakehouse.computed_dates.writing import Origin
from churn_assets.lakehouse.io_manager import shown_metadata, write_metadata
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.newest_ingestion import last_ingested_at
from churn_assets.lakehouse.writes import NewRows
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, USERS, Table
from churn_assets.transforms import accounting, activity, cleaning, erasure, identity, recurrence

# So many ids of a batch, 8 bytes each, are held in this process while it is cleaned.
MOST_RECURRING = 5_000_000


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
    def clean_events(context: dg.AssetExecutionContext, landed: DataFrame) -> Iterator[dg.Output[NewRows]]:
        lake: Lakehouse = context.resources.lakehouse
        since = lake.ledger.read().last_note
        quarantined, events = cleaned(lake, landed, settings.earliest_event)
        # In this order: Silver's rows tell what has been cleaned, so a crash in between loses nothing.
        yield dg.Output(quarantined, "quarantined_events")
        yield dg.Output(events, "events")
        for observation in observed_changes(lake, EVENTS, since):
            context.log_event(observation)

    users_code = code_version(activity.users, code_version(activity.users_since))

    # It reads and writes without the I/O manager: the ledger has to know when its reading began.
    @dg.asset(
        **table_spec(USERS, settings),
        deps=[asset_key(EVENTS)],
        required_resource_keys=ON_SPARK,
        pool=pool(USERS),
        retry_policy=retries(settings),
        code_version=users_code,
    )
    def users(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        lake: Lakehouse = context.resources.lakehouse
        ledger = read_ledger(lake)
        last_note = ledger.rows.last_note
        first = coverage.covered_days(lake, dt.datetime.now(dt.UTC)).first
        origin = Origin(last_note, users_code, {"first_day": first})
        since = _first_new_day(lake, ledger, origin)
        events = lake.read(EVENTS)
        if since is None:
            rows = activity.users(events, first)
        else:
            known = lake.read(USERS, version=lake.version(USERS))
            rows = activity.users_since(known, events, since, first)
        written = lake.write(USERS, rows, origin=origin)
        for observation in observed_changes(lake, USERS, last_note):
            context.log_event(observation)
        return dg.MaterializeResult(
            metadata={
                **write_metadata(written),
                **shown_metadata(lake, USERS),
                "events_read": f"since {since}" if since else "all",
            },
            data_version=dg.DataVersion(str(written.version)),
        )

    return [clean_events, users]


def _first_new_day(lake: Lakehouse, ledger: CheckedLedger, origin: Origin) -> dt.date | None:
    """Return the earliest day of an event that the users lack; None where they must be made from all events.

    That is where there are none yet, or other code or another first day made them, where the ledger does not
    know how events or users changed, and where no event is new: so that materialising them anew mends them.
    """
    row = ledger.rows.table(USERS)
    if row is None or {EVENTS, USERS} & ledger.untrusted.keys():
        return None
    parameters = parameters_text(USERS, lake.settings, origin.extra)
    if (row.code_version, row.parameters) != (origin.code_version, parameters):
        return None
    new = (day for day, noted in ledger.dates(EVENTS).items() if noted.changed > row.read)
    return min(new, default=None)


def cleaned(lake: Lakehouse, landed: DataFrame, earliest: dt.date) -> tuple[NewRows, NewRows]:
    """Return what the lines of Bronze that have not been cleaned add to the quarantine and to Silver."""
    silver, version = lake.read(EVENTS), lake.version(EVENTS)
    last = last_ingested_at(lake, EVENTS)
    gained = accounting.not_yet_cleaned(landed, last)
    sources = settled_sources(gained, silver, earliest)
    recurring_ids, dates = collected_ids(gained, None if last is None else silver)
    batch = cleaning.clean_batch(gained, of_dates(silver, dates), earliest, sources, recurring_ids)
    quarantined = _with_their_reason(lake, batch.quarantined)
    return (
        _not_in_quarantine(lake, quarantined, accounting.first_day(last)),
        NewRows(batch.events, absent_at=version),
    )


def cleaned_anew(lake: Lakehouse, earliest: dt.date) -> cleaning.CleanBatch:
    """Return what Silver and its quarantine are if all lines of Bronze are cleaned at once.

    As the split into batches counts for nothing, that is what they are anyway.
    """
    landed, none = lake.read(LANDED_EVENTS), lake.spark.createDataFrame([], _schema(EVENTS))
    sources = settled_sources(landed, none, earliest)
    recurring_ids, _ = collected_ids(landed, None)
    batch = cleaning.clean_batch(landed, none, earliest, sources, recurring_ids)
    return batch._replace(quarantined=_with_their_reason(lake, batch.quarantined))


def _with_their_reason(lake: Lakehouse, quarantined: DataFrame) -> DataFrame:
    return erasure.with_their_reason(quarantined) if lake.erased_users() else quarantined


def _schema(table: Table) -> str:
    return ", ".join(f"`{column.name}` {column.type}" for column in table.columns)


def _not_in_quarantine(lake: Lakehouse, rows: DataFrame, first: dt.date | None) -> NewRows:
    """Return the rows that are not there from a cleaning that died before Silver's commit.

    Args:
        lake: where the quarantine is.
        rows: of the quarantine, of lines from ``first`` on.
        first: their first _processing_date; None for any.
    """
    known, version = lake.read(QUARANTINED_EVENTS), lake.version(QUARANTINED_EVENTS)
    days = [day for day in lake.partition_rows(LANDED_EVENTS) if first is None or day >= first]
    counts = lake.partition_rows(QUARANTINED_EVENTS)
    if any(counts.get(day) for day in days):
        key = [str(QUARANTINED_EVENTS.partition_column), *QUARANTINED_EVENTS.key]
        there = known.where(F.col(key[0]).isin(*days)).select(*key)
        rows = rows.join(there, key, "left_anti")
    return NewRows(rows, absent_at=version, partitions=days)


def settled_sources(gained: DataFrame, silver: DataFrame, earliest: dt.date) -> DataFrame | None:
    """Return the source ids of users whose id is in doubt, computed once; None where there are none."""
    if not identity.doubtful_users(gained, silver).take(1):
        return None
    sources = cleaning.doubtful_sources(gained, silver, earliest)
    return gained.sparkSession.createDataFrame(sources.collect(), sources.schema)


def collected_ids(
    gained: DataFrame, silver: DataFrame | None
) -> tuple[cleaning.RecurringIds, set[dt.date] | None]:
    """Return which event_ids recur, computed once, and where Silver has them.

    Args:
        gained: the batch.
        silver: ``clean.events``; None if it is empty.

    Returns:
        What ``cleaning.clean_batch`` takes as ``recurring_ids``, "any" where they are too many to hold here.
        And the dates of Silver's rows with these ids; None for any.
    """
    ids = recurrence.recurring_ids(gained, silver).limit(MOST_RECURRING + 1).toArrow()
    if ids.num_rows > MOST_RECURRING:
        return "any", None
    if not ids.num_rows:
        return "none", set()
    dates = set(ids["known_dates"].combine_chunks().flatten().unique().to_pylist())
    recurring = gained.sparkSession.createDataFrame(ids.select(["id_hash"]))
    # One partition, so that Apache Spark shuffles none of these few rows.
    return recurring.coalesce(1), dates


def of_dates(silver: DataFrame, dates: set[dt.date] | None) -> DataFrame:
    """Return Silver's rows of these dates; all for None."""
    return silver if dates is None else silver.where(F.col("event_date").isin(*sorted(dates)))


def _out(table: Table, settings: Settings) -> dg.AssetOut:
    return dg.AssetOut(
        **table_spec(table, settings),
        io_manager_key="lake_io",
        code_version=code_version(cleaning.clean_batch, settings.earliest_event),
    )
