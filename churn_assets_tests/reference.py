"""Silver and Gold worked out a second time, by plain Python and pandas and from the design alone.

It shares no code with ``churn_assets``, holds everything in memory and reads only lines like those of
``rows.line``. Its tables are lists of tuples in the columns of the contracts, in ascending order.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd

from churn_assets.tables import ALL_FEATURES

# A pandas DataFrame, whose own annotations know neither its sort_values nor its groupby.
Frame = Any
CONTENT = ["user_id", "event_ts", "event_type", "country"]


class Ingestion(NamedTuple):
    """What one ingestion took in: its moment, and each file's lines."""

    at: dt.datetime
    files: dict[str, list[str]]


class Silver(NamedTuple):
    """Rows of ``clean.events`` and of ``clean.quarantined_events``."""

    events: Frame
    quarantined: Frame


def silver(ingestions: list[Ingestion]) -> Silver:
    """Type, deduplicate and quarantine all that ever landed, one ingestion after the other."""
    events: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for ingestion in ingestions:
        rows = [
            {**_typed(line, ingestion.at), "_raw": line, "_source_file": file, "_ingested_at": ingestion.at}
            for file, lines in ingestion.files.items()
            for line in lines
        ]
        _refuse_other_sources(rows, events)
        events += _new_events(rows, {event["event_id"] for event in events})
        stays = {event["event_id"]: event for event in events}
        for row in rows:
            if row["reason"] is None and _are_two_events(row, stays[row["event_id"]]):
                row["reason"] = "conflicting_duplicate"
        bad += [row for row in rows if row["reason"]]
    quarantined, accepted = _frame(bad), _frame(events)
    quarantined["occurrence"] = quarantined.groupby(["_source_file", "_raw"]).cumcount() + 1
    return Silver(accepted.assign(event_date=[ts.date() for ts in accepted["event_ts"]]), quarantined)


def _content(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in CONTENT)


def _are_two_events(one: dict[str, Any], other: dict[str, Any]) -> bool:
    amounts = {one["amount"], other["amount"]} - {None}
    return _content(one) != _content(other) or len(amounts) > 1


def _refuse_other_sources(rows: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """Give those good rows a reason that name another source id than their user has."""
    sources = {event["user_id"]: event["source_user_id"] for event in events if event["source_user_id"]}
    named: dict[int, set[str]] = {}
    for row in rows:
        if row["reason"] is None and row["source_user_id"]:
            named.setdefault(row["user_id"], set()).add(row["source_user_id"])
    _mark(rows, sources)
    ids: dict[str, set[Any]] = {event["event_id"]: set() for event in events}
    for row in rows:
        if row["reason"] is None:
            ids.setdefault(row["event_id"], set()).add(_content(row))
    known = {event["event_id"] for event in events}
    for row in sorted(rows, key=lambda row: row["source_user_id"] or ""):
        certain = row["reason"] is None and len(ids[row["event_id"]]) == 1
        if certain and row["source_user_id"] and row["event_id"] not in known:
            sources.setdefault(row["user_id"], row["source_user_id"])
    _mark(rows, sources)
    for row in rows:
        # Of several that nothing decides between, none is kept.
        if row["reason"] is None and len(named.get(row["user_id"], ())) > 1 and row["user_id"] not in sources:
            row["source_user_id"] = None


def _mark(rows: list[dict[str, Any]], sources: dict[int, str]) -> None:
    for row in rows:
        known = sources.get(row["user_id"])
        if row["reason"] is None and row["source_user_id"] and known and row["source_user_id"] != known:
            row["reason"] = "conflicting_source_user_id"


def _new_events(rows: list[dict[str, Any]], known: set[str]) -> list[dict[str, Any]]:
    good = [row for row in rows if row["reason"] is None and row["event_id"] not in known]
    order = ("user_id", "event_ts", "event_type", "country")
    # The smallest content; of equal ones, an amount and a source id before none.
    good.sort(
        key=lambda row: (
            [_nulls_first(row[name]) for name in order],
            row["amount"] is None,
            row["amount"] or 0,
            not row["source_user_id"],
            row["source_user_id"] or "",
        )
    )
    return list({row["event_id"]: row for row in reversed(good)}.values())


class Visit(NamedTuple):
    """What features know of one event."""

    date: dt.date
    is_purchase: bool
    amount: Decimal | None


def _by_user(events: Frame) -> list[tuple[int, list[Visit]]]:
    """Each user's events, in the order of users."""
    # No groupby: pandas takes a millisecond a group, and there are ten thousands.
    found: dict[int, list[Visit]] = {}
    columns = [events[name] for name in ("user_id", "event_date", "event_type", "amount")]
    for user_id, date, kind, amount in zip(*columns, strict=True):
        found.setdefault(user_id, []).append(Visit(date, kind == "purchase", amount))
    return sorted(found.items())


def user_daily_activity(events: Frame) -> Frame:
    """user_id, event_date, events, purchases, amount of every day."""
    rows = []
    for user_id, visits in _by_user(events):
        for date in sorted({visit.date for visit in visits}):
            of_day = [visit for visit in visits if visit.date == date]
            bought = sum(visit.is_purchase for visit in of_day)
            rows.append((user_id, date, len(of_day), bought, _total(visit.amount for visit in of_day)))
    columns = pd.Index(["user_id", "event_date", "events", "purchases", "amount"])
    return pd.DataFrame(rows, columns=columns, dtype=object)


def user_monthly_activity(events: Frame, days: list[dt.date]) -> list[tuple[Any, ...]]:
    """user_id, month_end_date, active_day_bits, events, purchases, last_purchase_date, amount."""
    rows = []
    for end in (day for day in days if (day + dt.timedelta(1)).month != day.month):
        is_in_month = [end.replace(day=1) <= date <= end for date in events["event_date"]]
        for user_id, of_user in events[is_in_month].groupby("user_id"):
            bits = sum(2 ** (number - 1) for number in {date.day for date in of_user["event_date"]})
            bought = of_user[of_user["event_type"] == "purchase"]["event_date"]
            last = max(bought) if len(bought) else None
            rows.append((user_id, end, bits, len(of_user), len(bought), last, _total(of_user["amount"])))
    return sorted(rows)


def _total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    found = [amount for amount in amounts if amount is not None]
    return sum(found, Decimal(0)) if found else None


def users(events: Frame) -> Frame:
    """user_id, first_seen_date, last_seen_date, country, source_user_id."""
    seen = events.groupby("user_id")["event_date"].agg(["min", "max"])
    placed = events[events["country"].notna() & (events["country"] != "")]
    latest = placed.sort_values(["event_ts", "event_id"]).groupby("user_id")["country"].last()
    source = events[events["source_user_id"].notna()].groupby("user_id")["source_user_id"].first()
    table = seen.join(latest).join(source).reset_index()
    table.columns = ["user_id", "first_seen_date", "last_seen_date", "country", "source_user_id"]
    texts = {"country": object, "source_user_id": object}
    return table.astype(texts).where(table.notna(), None)


def daily_summary(events: Frame, days: list[dt.date]) -> list[tuple[Any, ...]]:
    """event_date, events, active_users, new_users, purchases."""
    first_days = events.groupby("user_id")["event_date"].min()
    rows = []
    for day in days:
        of_day = events[events["event_date"] == day]
        if len(of_day):
            purchases = int((of_day["event_type"] == "purchase").sum())
            rows.append(
                (day, len(of_day), of_day["user_id"].nunique(), int((first_days == day).sum()), purchases)
            )
    return rows


def user_features(events: Frame, days: list[dt.date]) -> list[tuple[Any, ...]]:
    """user_id, feature_date and all features of the contract, in its order, from the events themselves."""
    names = [column.name for column in ALL_FEATURES]
    return [
        (past.user_id, past.day, *(FEATURES[name](past) for name in names)) for past in _pasts(events, days)
    ]


class Past:
    """What is known of a user at the end of a day."""

    def __init__(self, user_id: int, day: dt.date, visits: list[Visit]) -> None:
        self.user_id, self.day, self.visits = user_id, day, visits
        self.active = sorted({visit.date for visit in visits})
        self.gaps = [float((later - earlier).days) for earlier, later in pairwise(self.active)]
        self.mean_gap = sum(self.gaps) / len(self.gaps) if self.gaps else None
        self.purchases = [visit.date for visit in visits if visit.is_purchase]

    def within(self, window: int, dates: Iterable[dt.date]) -> int:
        """How many of the dates are among the last so many days."""
        return sum((self.day - date).days < window for date in dates)

    def gap_deviation(self) -> float | None:
        """Of a sample."""
        if self.mean_gap is None or len(self.gaps) < 2:
            return None
        return math.sqrt(sum((gap - self.mean_gap) ** 2 for gap in self.gaps) / (len(self.gaps) - 1))

    def amount(self, window: int | None = None) -> float | None:
        """Of the last so many days, or of all."""
        total = _total(
            visit.amount for visit in self.visits if window is None or self.within(window, [visit.date])
        )
        return None if total is None else float(total)


# Each feature a second time, as plainly as it can be said.
FEATURES: dict[str, Callable[[Past], float | None]] = {
    "event_count_30d": lambda past: past.within(30, (visit.date for visit in past.visits)),
    "active_days_30d": lambda past: past.within(30, past.active),
    "days_since_last_event": lambda past: (past.day - past.active[-1]).days,
    "purchase_count_30d": lambda past: past.within(30, past.purchases),
    "account_age_days": lambda past: (past.day - past.active[0]).days,
    "rolling_7d_events": lambda past: past.within(7, (visit.date for visit in past.visits)),
    "active_days_90d": lambda past: past.within(90, past.active),
    "active_days_365d": lambda past: past.within(365, past.active),
    "active_days_total": lambda past: len(past.active),
    "event_count_total": lambda past: len(past.visits),
    "purchase_count_total": lambda past: len(past.purchases),
    "mean_gap_days": lambda past: past.mean_gap,
    "gap_std_days": Past.gap_deviation,
    "longest_gap_days": lambda past: max(past.gaps, default=None),
    "overdue_ratio": lambda past: past.mean_gap and (past.day - past.active[-1]).days / past.mean_gap,
    "days_since_last_purchase": lambda past: (
        (past.day - max(past.purchases)).days if past.purchases else None
    ),
    "amount_30d": lambda past: past.amount(30),
    "amount_total": Past.amount,
}


def _pasts(events: Frame, days: list[dt.date]) -> Iterator[Past]:
    """The past of each day's users who came within the 30 days up to it."""
    for user_id, visits in _by_user(events):
        for day in sorted(days):
            known = [visit for visit in visits if visit.date <= day]
            if known and (day - max(visit.date for visit in known)).days <= 29:
                yield Past(user_id, day, known)


def churn_labels(
    events: Frame, days: list[dt.date], horizon_days: int, event_types: tuple[str, ...] = ()
) -> list[tuple[Any, ...]]:
    """user_id, feature_date, label."""
    counts = [not event_types or kind in event_types for kind in events["event_type"]]
    active = set(zip(events["user_id"][counts], events["event_date"][counts], strict=True))
    return [
        (
            past.user_id,
            past.day,
            int(
                not any(
                    (past.user_id, past.day + dt.timedelta(ahead)) in active
                    for ahead in range(1, horizon_days + 1)
                )
            ),
        )
        for past in _pasts(events, days)
    ]


def _frame(rows: list[dict[str, Any]]) -> Frame:
    return pd.DataFrame(rows, dtype=object)


def _typed(line: str, ingested_at: dt.datetime) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(["event_id", *CONTENT, "source_user_id", "amount", "reason"])
    try:
        landed = json.loads(line)
    except ValueError:
        return row | {"reason": "corrupt"}
    row |= {name: None if value is None else str(value) for name, value in landed.items() if name in row}
    row["amount"] = _amount(row["amount"])
    row["reason"] = _reason(row)
    if row["reason"] is None:
        row["user_id"] = int(row["user_id"])
        moment = row["event_ts"] = _moment(row["event_ts"])
        if moment and moment < dt.datetime(2000, 1, 1, tzinfo=dt.UTC):
            row["reason"] = "implausible_event_ts"
        if moment and moment > ingested_at + dt.timedelta(hours=1):
            row["reason"] = "future_event_ts"
    return row


def _reason(row: dict[str, Any]) -> str | None:
    if not (row["event_id"] or "").strip():
        return "missing_event_id"
    if not (row["user_id"] or "").strip():
        return "missing_user_id"
    if not re.fullmatch(r"0|-?[1-9]\d*", row["user_id"]) or not -(2**63) <= int(row["user_id"]) < 2**63:
        return "bad_user_id"
    return None if _moment(row["event_ts"]) else "bad_event_ts"


def _amount(text: str | None) -> Decimal | None:
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)", (text or "").strip()):
        return None
    return Decimal(text or "").quantize(Decimal("0.01"), ROUND_HALF_UP)


def _moment(text: str | None) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _nulls_first(value: Any) -> tuple[bool, Any]:
    return value is not None, "" if value is None else value
