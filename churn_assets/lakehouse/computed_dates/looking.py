"""What all that decide ask of the ledger: its rows, and which tables are as their last note left them."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from churn_assets.lakehouse.computed_dates.rows import Known, Row, is_noted
from churn_assets.tables import TABLES, Table

if TYPE_CHECKING:
    from churn_assets.lakehouse.lake import Lakehouse

NOTED = tuple(table for table in TABLES if is_noted(table))


@dataclass(frozen=True)
class Found:
    """The ledger as it is.

    ``unknown``: tables of which it cannot say what they hold, with the rows that each of their dates has:
    they were moved away, restored, written by others, or by a writer that died before its last note.
    """

    known: Known = field(default_factory=Known)
    unknown: Mapping[Table, Mapping[dt.date, int]] = field(default_factory=dict)

    def dates(self, table: Table, heading: str = "") -> Mapping[dt.date, Row]:
        """The rows of a table that can be believed; none of another."""
        return {} if table in self.unknown else self.known.dates(table, heading)


def look(lake: "Lakehouse") -> Found:
    """Read the ledger, and compare each table's id and version with its last note: no table is scanned."""
    known = lake.ledger.known()
    unknown = [table for table in NOTED if not is_believed(lake, table, known)]
    return Found(known, {table: held(lake, table) for table in unknown})


def is_believed(lake: "Lakehouse", table: Table, known: Known) -> bool:
    """Whether the table is as its last note left it, but for maintenance; one that is not yet there is."""
    row = known.table(table)
    if row is None:
        return lake.version(table) <= 0
    if row.is_open or row.delta_version is None:
        return False
    log = lake.log_since(table, row.delta_version)
    return log is not None and log.commit == row.delta_commit is not None and log.later == []


def held(lake: "Lakehouse", table: Table) -> dict[dt.date, int]:
    """How many rows each date has, by the table itself; nothing of one without dates."""
    return lake.partition_rows(table) if table.partition_column else {}
