"""The barrier: nothing reads dates that fail a blocking check until they pass it."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping

from churn_assets.dates import DateRange
from churn_assets.errors import BlockedError
from churn_assets.event_days import ranges
from churn_assets.lakehouse.computed_dates.lake_with_ledger import LakeWithLedger
from churn_assets.lakehouse.computed_dates.rows import UNCHECKED, Row, parse_parameters
from churn_assets.tables import GATED, Table


def note_checks(
    lake: LakeWithLedger,
    table: Table,
    dates: DateRange | None,
    passed: Mapping[str, bool],
    failing: Collection[dt.date],
) -> None:
    """Note the results of blocking checks.

    Args:
        lake: where the ledger is.
        table: the contract.
        dates: the dates that were checked; without them, all dates of the table.
        passed: whether each check that ran has passed, by its name.
        failing: the dates whose rows made checks fail.
    """
    noted = []
    for row in _rows(lake, table, dates):
        before = set(row.blocked_by.split(", ")) if row.blocked_by else set()
        failed = {name for name, is_good in passed.items() if not is_good and row.computed_date in failing}
        now = (before - {UNCHECKED, *passed}) | failed
        if now != before:
            noted.append(row._replace(blocked_by=", ".join(sorted(now)) or None))
    if noted:
        lake.ledger.append(noted)


def blocked(lake: LakeWithLedger, table: Table, dates: DateRange | None = None) -> str | None:
    """Return a sentence on why the table, or these dates of it, must not be read; None where they may be."""
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
    outdated = [
        row
        for row in rows
        if row.rows and row.parameters and _differ(parse_parameters(row.parameters), wanted)
    ]
    if outdated:
        days = ranges(row.computed_date for row in outdated if row.computed_date)
        return f"{table.name} of {days} was made with {outdated[0].parameters}. Compute it again: churn run"
    return None


def require_readable(lake: LakeWithLedger, table: Table, dates: DateRange | None = None) -> None:
    """Refuse to read rows that fail a blocking check.

    Raises:
        BlockedError: says which dates, which checks, and what to do.
    """
    if reason := blocked(lake, table, dates):
        raise BlockedError(reason)


def _rows(lake: LakeWithLedger, table: Table, dates: DateRange | None) -> Iterable[Row]:
    first, last = dates or DateRange(dt.date.min, dt.date.max)
    return [row for day, row in lake.ledger.read().dates(table).items() if first <= day <= last]


def _differ(made_with: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return any(made_with.get(name) != value for name, value in wanted.items())
