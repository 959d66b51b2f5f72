"""What the last ingestion brought, found without reading all that came before."""

import datetime as dt

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.lakehouse.computed_dates.checked_ledger import is_trusted
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import Table

# Of more dates the table is read as a whole: a list of them would be slower than what it saves.
MOST_DATES = 400


def newest_ingestion(lake: Lakehouse, table: Table) -> DataFrame:
    """Return the rows of a table that have its greatest ``_ingested_at``."""
    rows = _of_the_last_write(lake, table)
    micros = F.unix_micros("_ingested_at")
    newest = rows.agg(F.max(micros)).collect()[0][0]
    return rows.where(micros == F.lit(newest))


def last_ingested_at(lake: Lakehouse, table: Table) -> int | None:
    """Return the greatest ``_ingested_at`` of a table, microseconds since 1970; None if it is empty."""
    return _of_the_last_write(lake, table).agg(F.unix_micros(F.max("_ingested_at"))).collect()[0][0]


def _of_the_last_write(lake: Lakehouse, table: Table) -> DataFrame:
    """Return the rows of the dates that the last ingestion wrote, or of all where they are not known."""
    dates = _last_written(lake, table)
    if not dates or len(dates) > MOST_DATES:
        return lake.read(table)
    return lake.read(table).where(F.col(str(table.partition_column)).isin(*sorted(dates)))


def _last_written(lake: Lakehouse, table: Table) -> set[dt.date]:
    if table.partition_column == "_processing_date":
        days = [day for day, rows in lake.partition_rows(table).items() if rows]
        return {max(days)} if days else set()
    ledger = lake.ledger.read()
    if not is_trusted(lake, table, ledger):
        # A writer died before its note, say.
        return set()
    noted = ledger.dates(table)
    last = max((row.changed for row in noted.values()), default=0)
    return {day for day, row in noted.items() if row.changed == last}
