"""How a write of the lake notes itself: its dates as open before it commits, and closed after.

A writer that dies in between has changed the table's version or left its dates open: either way they count as
not computed. What a writer finds that the ledger does not know, it notes as well.
"""

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from churn_assets.dates import DateRange
from churn_assets.lakehouse.commits import WriteReport
from churn_assets.lakehouse.computed_dates.arrivals import Headings, changes_since
from churn_assets.lakehouse.computed_dates.looking import held, is_believed
from churn_assets.lakehouse.computed_dates.rows import UNCHECKED, Known, Row, is_noted, name, parameters
from churn_assets.tables import EVENTS, Table

if TYPE_CHECKING:
    from churn_assets.lakehouse.lake import Lakehouse


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Where rows come from: the last note when reading them began, the code, and what else they depend on."""

    read: int
    code_version: str | None = None
    more: dict[str, object] = field(default_factory=dict)
    # Whether the run checks the rows before anybody may read them.
    is_checked_later: bool = False


@dataclass
class Note:
    """Of a write that is under way; ``written`` is for who writes to fill in."""

    written: WriteReport | None = None


@contextmanager
def noting(lake: "Lakehouse", table: Table, dates: DateRange | None, origin: Origin | None) -> Iterator[Note]:
    """Note the write that happens inside."""
    note = Note()
    if not is_noted(table):
        yield note
        return
    known = lake.ledger.known()
    before = _Before(lake, table, known)
    origin = origin or Origin(known.number)
    opened = before.opened(dates)
    lake.ledger.put(opened)
    try:
        yield note
    except Exception:
        if lake.version(table) == before.version:
            # Nothing was written: all is as it was.
            lake.ledger.put(before.as_they_were(opened))
        raise
    if note.written:
        lake.ledger.put(before.closed(note.written, dates, origin))


class _Before:
    """The table and its notes as a writer finds them."""

    def __init__(self, lake: "Lakehouse", table: Table, known: Known) -> None:
        self._lake, self._table = lake, table
        self._dates, self._own = known.dates(table), known.table(table)
        self._by_heading = {heading: known.dates(table, heading) for heading in table.headings}
        self._days = known.dates(EVENTS)
        self._believed = is_believed(lake, table, known)
        self.version = lake.version(table)
        self._noted_version = (self._own.delta_version or 0) if self._own else 0
        self._held = {} if self._believed else held(lake, table)

    def opened(self, dates: DateRange | None) -> list[Row]:
        """The dates that will be replaced, or the table where nobody knows which will change.

        And those of which nobody knows what they hold.
        """
        if dates is None:
            own = self._own or Row(name(self._table), None)
            return [own._replace(is_open=True)]
        return [*self._unknown(dates), *(self._row(day, is_open=True) for day in dates.days())]

    def as_they_were(self, opened: list[Row]) -> list[Row]:
        """The rows before they were opened; where there were none, the dates stay open: not computed."""
        rows = {None: self._own, **self._dates}
        return [found for row in opened if (found := rows.get(row.computed_date))]

    def closed(self, written: WriteReport, dates: DateRange | None, origin: Origin) -> list[Row]:
        """What has changed, and what the table is now."""
        table_row = self._table_row(written, origin)
        if dates is None:
            return [table_row, *self._touched(written, origin)]
        text = parameters(self._table, self._lake.settings, origin.more)
        closed = Row(
            name(self._table),
            None,
            read=origin.read,
            delta_version=written.version,
            delta_commit=table_row.delta_commit,
            code_version=origin.code_version,
            parameters=text or None,
            blocked_by=UNCHECKED if origin.is_checked_later else None,
        )
        by_day = written.rows_by_partition
        return [
            table_row,
            *(closed._replace(computed_date=day, rows=by_day.get(day, 0)) for day in dates.days()),
        ]

    def _table_row(self, written: WriteReport, origin: Origin) -> Row:
        log = self._lake.log_since(self._table, max(self.version, 0))
        later = log.later if log else None
        # Databricks may commit a merge that inserts nothing.
        version = max([written.version, *(later or ())])
        log = self._lake.log_since(self._table, version)
        return Row(
            name(self._table),
            None,
            read=origin.read,
            # Where somebody else wrote meanwhile, and has not noted it, nobody knows what the table holds.
            is_open=later is None or len(later) > 1,
            delta_version=version,
            delta_commit=log.commit if log else None,
        )

    def _unknown(self, but: DateRange) -> Iterator[Row]:
        """The dates of a table that nobody can believe, but for those that are replaced anyway.

        They are open until somebody computes them; where the past is history, what is there stays.
        """
        if self._believed:
            return
        for day in sorted({*self._dates, *self._held}):
            rows = self._held.get(day, 0)
            if not but.start <= day <= but.end:
                is_history = self._table.keeps_past and rows > 0
                yield self._row(day, is_open=not is_history)._replace(rows=rows)

    def _row(self, day: dt.date, *, is_open: bool) -> Row:
        return Row(name(self._table), day, is_open=is_open)

    def _touched(self, written: WriteReport, origin: Origin) -> Iterator[Row]:
        """The dates that a merge, or a replacement of the whole table, has changed."""
        row = Row(name(self._table), None, read=origin.read, delta_version=written.version)
        if self._table.headings:
            for heading, days in self._headings().items():
                for day in sorted(days):
                    yield row._replace(table_name=name(self._table, heading), computed_date=day)
            return
        now = held(self._lake, self._table)
        changed = set(written.rows_by_partition)
        if not self._believed:
            changed = self._changed_unnoticed(now)
        for day in sorted(changed):
            yield row._replace(computed_date=day, rows=now.get(day, 0))

    def _changed_unnoticed(self, now: dict[dt.date, int]) -> set[dt.date]:
        """What this writer and one that died before its note may have changed: all, if others wrote too."""
        was = {day: row.rows for day, row in self._dates.items()}
        died = self._is_the_noted_table() and bool(self._own and self._own.is_open)
        one_commit = died and self.version <= self._noted_version + 1
        both = {*was, *now}
        # A table that only gains rows has the same rows where it has as many.
        return {day for day in both if was.get(day) != now.get(day)} if one_commit else both

    def _headings(self) -> Headings:
        if self._is_the_noted_table() or self._own is None or self._own.delta_version is None:
            try:
                return changes_since(self._lake, self._noted_version)
            except Exception as gone:  # noqa: BLE001 - each engine says in its own way that a version is gone
                log.warning("Users cannot be compared with version %s: %s", self._noted_version, gone)
        days = {*self._days, *(day for rows in self._by_heading.values() for day in rows)}
        return {heading: set(days) for heading in self._table.headings}

    def _is_the_noted_table(self) -> bool:
        log = self._lake.log_since(self._table, self._noted_version)
        return bool(log and log.later is not None and self._own and log.commit == self._own.delta_commit)
