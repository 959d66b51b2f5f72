"""The asset keys of tables: a table's three-level name, and what Dagster calls its changes by date."""

import dagster as dg

from churn_assets.asset_paths import asset_path
from churn_assets.tables import ASSET_TABLES, EVENTS, TABLES, Table


def asset_key(table: Table) -> dg.AssetKey:
    """Return the table's three-level name as an asset key."""
    return dg.AssetKey(asset_path(table))


def by_date_key(table: Table, heading: str = "") -> dg.AssetKey:
    """Return the key of the asset that stands for the changes by date of a table written as a whole."""
    return dg.AssetKey([*asset_key(table).path, heading or "by_date"])


TABLE_OF = {
    **{asset_key(table): table for table in ASSET_TABLES},
    by_date_key(EVENTS): EVENTS,
    **{by_date_key(table, heading): table for table in TABLES for heading in table.headings},
}
