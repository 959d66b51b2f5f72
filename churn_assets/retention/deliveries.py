"""Hands lists over, each date once to each target, and knows from ``gold.deliveries`` what is left to do.

A row is written before an attempt and one after it. A run that dies in between leaves it open whether the
list was taken: the next one sends it again, under the same key and unchanged, for the receiver to drop.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.retention.lists import computed_dates, rows_of_list
from churn_assets.retention.targets import Handover, NotTakenError, Target, targets
from churn_assets.tables import DELIVERIES, RETENTION_LIST

SENDING, DELIVERED, FAILED = "sending", "delivered", "failed"

Row = dict[str, Any]
Clock = Callable[[], dt.datetime]


@dataclass(frozen=True)
class Delivery:
    """What is known of one date and target: its last row, and whether any row says that it was taken."""

    feature_date: dt.date
    target: str
    is_delivered: bool
    last: Row


def records(lake: Lakehouse) -> list[Row]:
    """Return the rows of ``gold.deliveries`` in their order."""
    if lake.version(DELIVERIES) < 0:
        return []
    count = lake.details(DELIVERIES).rows
    rows = lake.sample_rows(DELIVERIES, limit=count) if count else []
    return sorted(rows, key=lambda row: row["delivery"])


def deliveries(rows: Iterable[Row]) -> dict[tuple[dt.date, str], Delivery]:
    """Return what the rows say of each date and target."""
    known: dict[tuple[dt.date, str], Delivery] = {}
    for row in rows:
        key = (row["feature_date"], row["target"])
        before = known.get(key)
        was_delivered = before is not None and before.is_delivered
        known[key] = Delivery(*key, was_delivered or row["status"] == DELIVERED, row)
    return known


def attempted_dates(lake: Lakehouse) -> set[dt.date]:
    """Return the dates whose list somebody has, or may have: it stays as it is."""
    return {row["feature_date"] for row in records(lake)}


def due(lake: Lakehouse, rows: Sequence[Row] | None = None) -> list[tuple[dt.date, Target]]:
    """Return what is to be handed over: dates in order, each with its target.

    A target gets each date from its first one on, which is the newest when it is first named; lists of the
    past that are made later are history, and go to nobody.
    """
    wanted = targets(lake.settings)
    if not wanted:
        return []
    known = deliveries(records(lake) if rows is None else rows)
    dates = computed_dates(lake)
    found = []
    for target in wanted:
        own = {day: one for (day, name), one in known.items() if name == target.name}
        last = max(own, default=None)
        for day in dates if last else dates[-1:]:
            is_new = last is None or day > last
            if is_new or (day in own and not own[day].is_delivered):
                found.append((day, target))
    return sorted(found, key=lambda one: one[0])


def handover(lake: Lakehouse, day: dt.date) -> Handover:
    """Return the contacts of a date, for any target; the control group is nobody's to contact."""
    return Handover(day, f"{lake.table_name(RETENTION_LIST)}/{day}", rows_of_list(lake, day))


def attempts(
    lake: Lakehouse, note: Callable[[list[Row]], None], clock: Clock = lambda: dt.datetime.now(dt.UTC)
) -> list[Row]:
    """Hand over what is due, one list after the other; one that is not taken stops no other.

    Args:
        lake: lists, and what was delivered.
        note: writes rows for good before it returns.
        clock: says when.

    Returns:
        The rows that say how each ended. All are noted but the last, which is left to the caller to write.
    """
    before = records(lake)
    work = [(target, handover(lake, day)) for day, target in due(lake, before)]
    number = max((row["delivery"] for row in before), default=0)
    announced = [
        _row(number + place, one, target, SENDING, clock()) for place, (target, one) in enumerate(work, 1)
    ]
    if announced:
        note(announced)
    number += len(announced)
    ended: list[Row] = []
    for place, (target, one) in enumerate(work, 1):
        ended.append(_attempt(number + place, one, target, clock))
        # At once: what a death leaves without its end is sent again.
        if place < len(work):
            note(ended[-1:])
    return ended


def _attempt(number: int, one: Handover, target: Target, clock: Clock) -> Row:
    try:
        target.send(one)
    except NotTakenError as error:
        return _row(number, one, target, FAILED, clock(), str(error))
    return _row(number, one, target, DELIVERED, clock())


def _row(  # noqa: PLR0913, PLR0917 - the columns
    number: int, one: Handover, target: Target, status: str, now: dt.datetime, reason: str | None = None
) -> Row:
    return {
        "delivery": number,
        "feature_date": one.feature_date,
        "target": target.name,
        "status": status,
        "rows": len(one.rows),
        "digest": one.digest,
        "attempted_at": now,
        "delivered_at": now if status == DELIVERED else None,
        "reason": reason,
    }


def undelivered(lake: Lakehouse) -> list[str]:
    """Return a line for each list that a target should have and has not taken, oldest first."""
    rows = records(lake)
    known = deliveries(rows)
    lines = []
    for day, target in due(lake, rows):
        one = known.get((day, target.name))
        why = "not sent yet" if one is None else one.last["reason"] or "its run ended before the answer"
        lines.append(f"The list of {day} is not with the {target.name}: {why}. Sent again by: churn run")
    return lines
