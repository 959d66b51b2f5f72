"""Reads lists of whom to contact from ``gold.retention_list``; in folders without an engine."""

import datetime as dt
from typing import Any, Literal

from churn_assets.errors import LakeError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import RETENTION_LIST

Group = Literal["contact", "control", "all"]


def computed_dates(lake: Lakehouse) -> list[dt.date]:
    """Return the dates that have a list, in order, also those whose list names nobody."""
    rows = lake.ledger.read().dates(RETENTION_LIST)
    return sorted(day for day, row in rows.items() if not row.is_open)


def last_list(lake: Lakehouse) -> dt.date:
    """Return the last date that has a list.

    Raises:
        LakeError: none has.
    """
    dates = computed_dates(lake)
    if not dates:
        raise LakeError(
            f"{lake.table_name(RETENTION_LIST)} has no list of any date yet. It is made after the scores, "
            "once there is a Production model: churn run"
        )
    return dates[-1]


def require_list(lake: Lakehouse, day: dt.date) -> None:
    """Refuse a date without a list.

    Raises:
        LakeError: it has none; the message names the dates next to it that have one.
    """
    dates = computed_dates(lake)
    if day in dates:
        return
    last_list(lake)
    before, after = [one for one in dates if one < day][-1:], [one for one in dates if one > day][:1]
    near = " and ".join(str(one) for one in (*before, *after))
    raise LakeError(
        f"There is no list of {day}; the nearest are of {near}. Lists are made of the newest date only, of "
        f"past ones when asked for: churn backfill --lists --from {day} --to {day}"
    )


def rows_of_list(lake: Lakehouse, day: dt.date, group: Group = "contact") -> list[dict[str, Any]]:
    """Return one date's rows by rank, each with the columns of the contract."""
    count = lake.partition_rows(RETENTION_LIST).get(day, 0)
    rows = lake.sample_rows(RETENTION_LIST, day, limit=count) if count else []
    chosen = [
        {name: row[name] for name in RETENTION_LIST.column_names}
        for row in rows
        if group in ("all", row["assigned_group"])
    ]
    return sorted(chosen, key=lambda row: row["rank"])
