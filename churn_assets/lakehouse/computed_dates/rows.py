"""What the ledger holds: a row for each table and date, and one for each table. No engine, no clock."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, Self

from churn_assets.settings import Settings
from churn_assets.tables import Table

# In ``changed``: the number of the note that adds the row, which is not known before.
THIS_NOTE = -1

MODEL_VERSION = "model_version"

# In ``blocked_by``: written by a run whose checks have not reported yet.
UNCHECKED = "unchecked"


class Row(NamedTuple):
    """One row of ``tables.COMPUTED_DATES``, whose columns say what each field means."""

    table_name: str
    computed_date: dt.date | None
    noted: int = THIS_NOTE
    changed: int = THIS_NOTE
    read: int = 0
    is_open: bool = False
    rows: int | None = None
    delta_version: int | None = None
    delta_commit: str | None = None
    code_version: str | None = None
    parameters: str | None = None
    blocked_by: str | None = None

    def numbered(self, number: int) -> Self:
        """Return the row as part of the note of this number."""
        changed = number if self.changed == THIS_NOTE else self.changed
        return self._replace(noted=number, changed=changed)


class LedgerRows:
    """The ledger's current rows: the last one of each table and date. ``last_note`` is the highest number."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.last_note = 0
        self._by_table: dict[str, dict[dt.date | None, Row]] = {}
        for row in rows:
            table_rows = self._by_table.setdefault(row.table_name, {})
            before = table_rows.get(row.computed_date)
            if before is None or before.noted <= row.noted:
                table_rows[row.computed_date] = row
            self.last_note = max(self.last_note, row.noted)

    def dates(self, table: Table, heading: str = "") -> Mapping[dt.date, Row]:
        """Return the rows of the table's dates, or of the days of one kind of change."""
        rows = self._by_table.get(ledger_name(table, heading), {})
        return {day: row for day, row in rows.items() if day is not None}

    def table(self, table: Table) -> Row | None:
        """Return the table's own row: which commit and version the ledger knows."""
        return self._by_table.get(ledger_name(table), {}).get(None)

    def all_rows(self) -> list[Row]:
        """Return every row."""
        return [row for table_rows in self._by_table.values() for row in table_rows.values()]


class LedgerStore(Protocol):
    """Where the rows are kept."""

    def read(self) -> LedgerRows:
        """Return the current rows; none where there is no ledger yet."""
        ...

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows as one note, numbered one above all before it, whoever else writes at the same time."""
        ...


def ledger_name(table: Table, heading: str = "") -> str:
    """Return the ledger's name for a table, or for one kind of change in it."""
    return f"{table}/{heading}" if heading else str(table)


def is_noted(table: Table) -> bool:
    """Whether the ledger knows this table: its dates are computed, or others' are computed from it."""
    return bool(table.reads or table.headings) or table.partition_column == "event_date"


def parameters_text(table: Table, settings: Settings, extra: Mapping[str, object] | None = None) -> str:
    """Return the settings behind a table's rows, and its writer's ``extra`` parameters, as text."""
    values = {name: getattr(settings, name) for name in table.parameters} | dict(extra or {})
    return ", ".join(f"{name}={value}" for name, value in values.items())


def parse_parameters(text: str | None) -> dict[str, str]:
    """Return the parameters of a row, by name."""
    return dict(parameter.split("=", 1) for parameter in text.split(", ")) if text else {}
