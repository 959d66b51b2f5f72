"""What the ledger of dates asks of the lake whose tables it is about."""

import datetime as dt
from typing import Protocol

from pyspark.sql import DataFrame

from churn_assets.dates import DateRange
from churn_assets.lakehouse.commits import LogSince
from churn_assets.lakehouse.computed_dates.rows import LedgerStore
from churn_assets.settings import Settings
from churn_assets.tables import Table


class LakeWithLedger(Protocol):
    """The part of ``lake.Lakehouse``, which says what each answer means, that the ledger needs."""

    settings: Settings

    @property
    def ledger(self) -> LedgerStore:
        """Where the notes are kept."""
        ...

    def version(self, table: Table) -> int:
        """Return the table's Delta version, -1 if there is no table yet."""
        ...

    def log_since(self, table: Table, version: int) -> LogSince | None:
        """Return what the table's log says of a version and of what came after; None without a table."""
        ...

    def partition_rows(self, table: Table) -> dict[dt.date, int]:
        """Count the rows of each date of the partition column; empty where there is no table."""
        ...

    def read(self, table: Table, dates: DateRange | None = None, *, version: int | None = None) -> DataFrame:
        """Return the table's rows, of some dates or of a past version."""
        ...
