"""How a write of the lake notes itself: its dates are open before it commits, and closed after.

A writer that dies in between has changed the table's version or left its dates open: either way they count as
not computed. Changes by others that the ledger does not know are noted by the next write.
"""

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from churn_assets.dates import DateRange
from churn_assets.lakehouse.commits import WriteReport
from churn_assets.lakehouse.computed_dates.checked_ledger import is_trusted, rows_by_date
from churn_assets.lakehouse.computed_dates.lake_with_ledger import LakeWithLedger
from churn_assets.lakehouse.computed_dates.rows import (
    UNCHECKED,
    LedgerRows,
    Row,
    is_noted,
    ledger_name,
    parameters_text,
)
from churn_assets.lakehouse.computed_dates.user_changes import DaysByHeading, changes_since
from churn_assets.tables import EVENTS, Table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Where rows come from.

    Attributes:
        read: the last note when reading them began.
        code_version: of the transform.
        extra: parameters that are no settings, such as the model's version.
        is_checked_later: whether the run checks the rows before anything may read them.
    """

    read: int
    code_version: str | None = None
    extra: dict[str, object] = field(default_factory=dict)
    is_checked_later: bool = False


@dataclass
class PendingNote:
    """The note of a write that has not ended; the writer sets ``written``."""

    written: WriteReport | None = None


@contextmanager
def noting(
    lake: LakeWithLedger, table: Table, dates: DateRange | None, origin: Origin | None
) -> Iterator[PendingNote]:
    """Note the write that happens inside."""
    note = PendingNote()
    if not is_noted(table):
        yield note
        return
    rows = lake.ledger.read()
    before = _TableBefore(lake, table, rows)
    origin = origin or Origin(rows.last_note)
    opened = before.opened(dates)
    lake.ledger.append(opened)
    try:
        yield note
    except Exception:
        if lake.version(table) == before.version:
            # Nothing was written, so nothing has changed.
            lake.ledger.append(before.reverted(opened))
        raise
    if note.written:
        lake.ledger.append(before.closed(note.written, dates, origin))


class _TableBefore:
    """The table and its notes before the write."""

    def __init__(self, lake: LakeWithLedger, table: Table, rows: LedgerRows) -> None:
        self._lake, self._table = lake, table
        self._dates, self._table_row = rows.dates(table), rows.table(table)
        self._by_heading = {heading: rows.dates(table, heading) for heading in table.headings}
        self._event_days = rows.dates(EVENTS)
        self._is_trusted = is_trusted(lake, table, rows)
        self.version = lake.version(table)
        self._noted_version = (self._table_row.delta_version or 0) if self._table_row else 0
        self._rows_by_date = {} if self._is_trusted else rows_by_date(lake, table)

    def opened(self, dates: DateRange | None) -> list[Row]:
        """Open the dates that will be replaced, or the whole table where it is not known which will change.

        Dates whose content the ledger does not know are opened as well.
        """
        if dates is None:
            table_row = self._table_row or Row(ledger_name(self._table), None)
            return [table_row._replace(is_open=True)]
        return [*self._unknown_dates(dates), *(self._row(day, is_open=True) for day in dates.days())]

    def reverted(self, opened: list[Row]) -> list[Row]:
        """Return the rows before they were opened. Dates without one stay open: not computed."""
        rows = {None: self._table_row, **self._dates}
        return [before for row in opened if (before := rows.get(row.computed_date))]

    def closed(self, written: WriteReport, dates: DateRange | None, origin: Origin) -> list[Row]:
        """Return the rows of the dates that have changed, and the table's own."""
        table_row = self._closed_table_row(written, origin)
        parameters = parameters_text(self._table, self._lake.settings, origin.extra)
        if dates is None:
            whole = table_row._replace(code_version=origin.code_version, parameters=parameters or None)
            return [whole, *self._touched_dates(written, origin)]
        closed = Row(
            ledger_name(self._table),
            None,
            read=origin.read,
            delta_version=written.version,
            delta_commit=table_row.delta_commit,
            code_version=origin.code_version,
            parameters=parameters or None,
            blocked_by=UNCHECKED if origin.is_checked_later else None,
        )
        by_day = written.rows_by_partition
        return [
            table_row,
            *(closed._replace(computed_date=day, rows=by_day.get(day, 0)) for day in dates.days()),
        ]

    def _closed_table_row(self, written: WriteReport, origin: Origin) -> Row:
        log = self._lake.log_since(self._table, max(self.version, 0))
        later = log.later if log else None
        # Databricks may commit a merge that inserts nothing.
        version = max([written.version, *(later or ())])
        log = self._lake.log_since(self._table, version)
        return Row(
            ledger_name(self._table),
            None,
            read=origin.read,
            # Where another writer came in between without a note, the table's content is not known.
            is_open=later is None or len(later) > 1,
            delta_version=version,
            delta_commit=log.commit if log else None,
        )

    def _unknown_dates(self, replaced: DateRange) -> Iterator[Row]:
        """Open the dates of an untrusted table, except those that are replaced anyway.

        They are open until they are computed; where the past is history, existing rows stay closed.
        """
        if self._is_trusted:
            return
        for day in sorted({*self._dates, *self._rows_by_date}):
            rows = self._rows_by_date.get(day, 0)
            if not replaced.start <= day <= replaced.end:
                is_history = self._table.keeps_past and rows > 0
                yield self._row(day, is_open=not is_history)._replace(rows=rows)

    def _row(self, day: dt.date, *, is_open: bool) -> Row:
        return Row(ledger_name(self._table), day, is_open=is_open)

    def _touched_dates(self, written: WriteReport, origin: Origin) -> Iterator[Row]:
        """Return rows for the dates that a merge, or a replacement of the whole table, has changed."""
        row = Row(ledger_name(self._table), None, read=origin.read, delta_version=written.version)
        if self._table.headings:
            for heading, days in self._days_by_heading().items():
                for day in sorted(days):
                    yield row._replace(table_name=ledger_name(self._table, heading), computed_date=day)
            return
        now = rows_by_date(self._lake, self._table)
        changed = set(written.rows_by_partition)
        if not self._is_trusted:
            changed = self._possibly_changed(now)
        for day in sorted(changed):
            yield row._replace(computed_date=day, rows=now.get(day, 0))

    def _possibly_changed(self, now: dict[dt.date, int]) -> set[dt.date]:
        """Return the dates that this writer, or one that died before its note, may have changed.

        All dates, if others wrote too.
        """
        before = {day: row.rows for day, row in self._dates.items()}
        writer_died = self._is_the_noted_table() and bool(self._table_row and self._table_row.is_open)
        is_one_commit = writer_died and self.version <= self._noted_version + 1
        days = {*before, *now}
        # A table that only gains rows has the same rows where it has as many.
        return {day for day in days if before.get(day) != now.get(day)} if is_one_commit else days

    def _days_by_heading(self) -> DaysByHeading:
        if self._is_the_noted_table() or self._table_row is None or self._table_row.delta_version is None:
            try:
                return changes_since(self._lake, self._noted_version)
            except Exception as error:  # noqa: BLE001 - each engine has its own error for a version that is gone
                log.warning("Users cannot be compared with version %s: %s", self._noted_version, error)
        days = {*self._event_days, *(day for rows in self._by_heading.values() for day in rows)}
        return {heading: set(days) for heading in self._table.headings}

    def _is_the_noted_table(self) -> bool:
        log = self._lake.log_since(self._table, self._noted_version)
        return bool(
            log and log.later is not None and self._table_row and log.commit == self._table_row.delta_commit
        )
