"""Silver, its quarantine, users and promotions: rows that were lost are made again of what they came from."""

import datetime as dt
from collections.abc import Collection

from pyspark.sql import DataFrame

from churn_assets.assets.promotions import promotion_rows
from churn_assets.assets.silver import cleaned_anew
from churn_assets.errors import DamagedError
from churn_assets.lakehouse import coverage, damage, mending
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.opened import opened_existing
from churn_assets.tables import EVENTS, LANDED_EVENTS, MODEL_PROMOTIONS, QUARANTINED_EVENTS, USERS, Table
from churn_assets.transforms import activity
from churn_assets.verification import tables

MADE_OF = {EVENTS: LANDED_EVENTS, QUARANTINED_EVENTS: LANDED_EVENTS, USERS: EVENTS}


def repair(lake: FolderLakehouse, table: Table, days: Collection[dt.date] | None) -> str:
    """Write the rows of these dates again, or all rows of the table.

    Returns:
        What was done, in a sentence.

    Raises:
        DamagedError: what the table is made of is damaged itself; nothing was changed.
    """
    source = MADE_OF.get(table)
    if source:
        found = tables.files(lake, source, deep=True)
        if found is None or not found.is_well:
            raise DamagedError(
                f"{lake.table_name(table)} is made of {lake.table_name(source)}, which is damaged itself. "
                f"First: {tables.repair(source)}"
            )
    rows = mending.rewrite(lake, table, _rows(lake, table), days)
    which = f"{len(days)} dates" if days is not None else "all rows"
    return f"{which} made again of {source.name if source else 'the registry'}; it has {rows:,} rows"


def _rows(lake: FolderLakehouse, table: Table) -> DataFrame:
    if table is MODEL_PROMOTIONS:
        return promotion_rows(lake, [])
    if table is USERS:
        return activity.users(lake.read(EVENTS), coverage.covered_days(lake, dt.datetime.now(dt.UTC)).first)
    quarantined, events = _cleaned(lake)
    return events if table is EVENTS else quarantined


def _cleaned(lake: FolderLakehouse) -> tuple[DataFrame, DataFrame]:
    batch = cleaned_anew(lake, lake.settings.earliest_event)
    return batch.quarantined, batch.events


def damaged_days(lake: FolderLakehouse, table: Table) -> set[dt.date] | None:
    """Return the dates of a table's damaged files; None where it has no dates."""
    if not table.partition_column:
        return None
    location = lake.location(table)
    bad = damage.damaged_files(opened_existing(location), location, deep=True)
    return mending.days_of(lake, table, {file.path for file in bad})
