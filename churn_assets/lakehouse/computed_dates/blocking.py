"""The barrier: dates that fail a blocking check are read by nobody until they pass it, whoever asks."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from churn_assets.dates import DateRange
from churn_assets.errors import BlockedError
from churn_assets.event_days import ranges
from churn_assets.lakehouse.computed_dates.rows import UNCHECKED, Row, parsed
from churn_assets.tables import GATED, Table

if TYPE_CHECKING:
    from churn_assets.lakehouse.lake import Lakehouse


def note_checks(
    lake: "Lakehouse",
    table: Table,
    dates: DateRange | None,
    passed: Mapping[str, bool],
    failing: Collection[dt.date],
) -> None:
    """Note what blocking checks say.

    Args:
        lake: where the ledger is.
        table: the contract.
        dates: those that were looked at; all that the table holds, without it.
        passed: by the name of each check that looked, whether it has passed.
        failing: the dates whose rows are why some have not.
    """
    noted = []
    for row in _rows(lake, table, dates):
        before = set(row.blocked_by.split(", ")) if row.blocked_by else set()
        fails = {name for name, good in passed.items() if not good and row.computed_date in failing}
        now = (before - {UNCHECKED, *passed}) | fails
        if now != before:
            noted.append(row._replace(blocked_by=", ".join(sorted(now)) or None))
    if noted:
        lake.ledger.put(noted)


def blocked(lake: "Lakehouse", table: Table, dates: DateRange | None = None) -> str | None:
    """Why the table, or these dates of it, may not be read, in a sentence; None where they may."""
    if table not in GATED:
        return None
    rows = list(_rows(lake, table, dates))
    failing = [row for row in rows if row.blocked_by]
    if failing:
        checks = sorted({str(row.blocked_by) for row in failing})
        days = ranges(row.computed_date for row in failing if row.computed_date)
        return (
            f"{table.name} of {days} fails its checks ({', '.join(checks)}). Their page in Dagster has such "
            "rows: mend what is behind them, then: churn run"
        )
    wanted = {name: str(getattr(lake.settings, name)) for name in table.parameters}
    others = [row for row in rows if row.rows and row.parameters and _differ(parsed(row.parameters), wanted)]
    if others:
        days = ranges(row.computed_date for row in others if row.computed_date)
        return f"{table.name} of {days} was made with {others[0].parameters}. Compute it again: churn run"
    return None


def require_readable(lake: "Lakehouse", table: Table, dates: DateRange | None = None) -> None:
    """Refuse to read what fails a blocking check.

    Raises:
        BlockedError: says which dates, which checks, and what to do.
    """
    if reason := blocked(lake, table, dates):
        raise BlockedError(reason)


def _rows(lake: "Lakehouse", table: Table, dates: DateRange | None) -> Iterable[Row]:
    first, last = dates or DateRange(dt.date.min, dt.date.max)
    return [row for day, row in lake.ledger.known().dates(table).items() if first <= day <= last]


def _differ(made_with: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return any(made_with.get(name) != value for name, value in wanted.items())
