"""The ledger as decisions read it: its rows, and which tables are no longer as their last note left them."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from churn_assets.lakehouse.computed_dates.lake_with_ledger import LakeWithLedger
from churn_assets.lakehouse.computed_dates.rows import LedgerRows, Row, is_noted
from churn_assets.tables import TABLES, Table

NOTED_TABLES = tuple(table for table in TABLES if is_noted(table))


@dataclass(frozen=True)
class CheckedLedger:
    """The ledger's rows, compared with the tables.

    ``untrusted``: tables whose content the ledger does not know, with the rows that each of their dates has.
    They were moved away, restored, written by others, or by a writer that died before its last note.
    """

    rows: LedgerRows = field(default_factory=LedgerRows)
    untrusted: Mapping[Table, Mapping[dt.date, int]] = field(default_factory=dict)

    def dates(self, table: Table, heading: str = "") -> Mapping[dt.date, Row]:
        """Return the rows of a table's dates; none of an untrusted table."""
        return {} if table in self.untrusted else self.rows.dates(table, heading)


def read_ledger(lake: LakeWithLedger) -> CheckedLedger:
    """Read the ledger, and compare each table's id and version with its last note: no table is scanned."""
    rows = lake.ledger.read()
    untrusted = [table for table in NOTED_TABLES if not is_trusted(lake, table, rows)]
    return CheckedLedger(rows, {table: rows_by_date(lake, table) for table in untrusted})


def is_trusted(lake: LakeWithLedger, table: Table, rows: LedgerRows) -> bool:
    """Whether the table is as its last note left it, apart from maintenance, or does not exist yet."""
    row = rows.table(table)
    if row is None:
        return lake.version(table) <= 0
    if row.is_open or row.delta_version is None:
        return False
    log = lake.log_since(table, row.delta_version)
    return log is not None and log.commit == row.delta_commit is not None and log.later == []


def rows_by_date(lake: LakeWithLedger, table: Table) -> dict[dt.date, int]:
    """Count each date's rows in the table itself; empty for a table without dates."""
    return lake.partition_rows(table) if table.partition_column else {}
