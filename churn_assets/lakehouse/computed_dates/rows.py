"""What the ledger holds: a row a table and date, and one a table. No engine, no clock."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, Self

from churn_assets.settings import Settings
from churn_assets.tables import Table

# In ``changed``: by the note that this row is put down with, whichever number it gets.
NOW = -1

MODEL_VERSION = "model_version"

# In ``blocked_by``: written by a run whose checks have not said anything yet.
UNCHECKED = "unchecked"


class Row(NamedTuple):
    """One row of ``tables.COMPUTED_DATES``, whose columns say what each field means."""

    table_name: str
    computed_date: dt.date | None
    noted: int = NOW
    changed: int = NOW
    read: int = 0
    is_open: bool = False
    rows: int | None = None
    delta_version: int | None = None
    delta_commit: str | None = None
    code_version: str | None = None
    parameters: str | None = None
    blocked_by: str | None = None

    def numbered(self, number: int) -> Self:
        """The row as the note of this number puts it down."""
        changed = number if self.changed == NOW else self.changed
        return self._replace(noted=number, changed=changed)


class Known:
    """All rows, of each table and date the last one."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.number = 0
        self._by_table: dict[str, dict[dt.date | None, Row]] = {}
        for row in rows:
            of_table = self._by_table.setdefault(row.table_name, {})
            before = of_table.get(row.computed_date)
            if before is None or before.noted <= row.noted:
                of_table[row.computed_date] = row
            self.number = max(self.number, row.noted)

    def dates(self, table: Table, heading: str = "") -> Mapping[dt.date, Row]:
        """The rows of its dates."""
        found = self._by_table.get(name(table, heading), {})
        return {day: row for day, row in found.items() if day is not None}

    def table(self, table: Table) -> Row | None:
        """The table's own row: which id and version the ledger knows."""
        return self._by_table.get(name(table), {}).get(None)

    def rows(self) -> list[Row]:
        """Every row."""
        return [row for of_table in self._by_table.values() for row in of_table.values()]


class Store(Protocol):
    """Where the rows are kept."""

    def known(self) -> Known:
        """What it holds now."""
        ...

    def put(self, rows: Iterable[Row]) -> None:
        """Put rows down as one note, whose number is one more than any before, whoever else is at it."""
        ...


def name(table: Table, heading: str = "") -> str:
    """What the ledger calls a table, or one kind of change in it."""
    return f"{table}/{heading}" if heading else str(table)


def is_noted(table: Table) -> bool:
    """Whether the ledger knows this table: its dates are computed, or others' are computed from it."""
    return bool(table.reads or table.headings) or table.partition_column == "event_date"


def parameters(table: Table, settings: Settings, more: Mapping[str, object] | None = None) -> str:
    """The settings behind a table's rows, and what else its writer says, as text."""
    values = {name: getattr(settings, name) for name in table.parameters} | dict(more or {})
    return ", ".join(f"{name}={value}" for name, value in values.items())


def parsed(text: str | None) -> dict[str, str]:
    """The parameters of a row, by name."""
    return dict(one.split("=", 1) for one in text.split(", ")) if text else {}
