"""Silver and Gold worked out a second time, by plain pandas and from the design alone.

It shares no code with ``churn_assets``, holds everything in memory and reads only lines like those of
``rows.line``. Its tables are lists of tuples in the columns of the contracts, in ascending order.
"""

import datetime as dt
import json
import re
from typing import Any, NamedTuple

import pandas as pd

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
    """Type, deduplicate and quarantine all that ever landed, at once."""
    rows: Frame = _frame(
        [
            {**_typed(line, ingestion.at), "_raw": line, "_source_file": file, "_ingested_at": ingestion.at}
            for ingestion in ingestions
            for file, lines in ingestion.files.items()
            for line in lines
        ]
    )
    good = rows[rows["reason"].isna()].copy()
    good["arrival"] = [
        (
            row["_ingested_at"],
            row["user_id"],
            row["event_ts"],
            *map(_nulls_first, (row["event_type"], row["country"])),
        )
        for _, row in good.iterrows()
    ]
    events = good.sort_values("arrival").drop_duplicates("event_id")
    content = {row["event_id"]: tuple(row[CONTENT]) for _, row in events.iterrows()}
    lost = [index for index, row in good.iterrows() if tuple(row[CONTENT]) != content[row["event_id"]]]
    rows.loc[lost, "reason"] = "conflicting_duplicate"
    bad = rows[rows["reason"].notna()].copy()
    bad["occurrence"] = bad.groupby(["_source_file", "_raw"]).cumcount() + 1
    return Silver(events.assign(event_date=[ts.date() for ts in events["event_ts"]]), bad)


def user_daily_activity(events: Frame) -> Frame:
    """user_id, event_date, events, purchases of every day."""
    events = events.assign(is_purchase=(events["event_type"] == "purchase").astype(int))
    days = events.groupby(["user_id", "event_date"])["is_purchase"].agg(["size", "sum"])
    return days.rename(columns={"size": "events", "sum": "purchases"}).reset_index()


def users(events: Frame) -> Frame:
    """user_id, first_seen_date, last_seen_date, country."""
    seen = events.groupby("user_id")["event_date"].agg(["min", "max"])
    placed = events[events["country"].notna() & (events["country"] != "")]
    latest = placed.sort_values(["event_ts", "event_id"]).groupby("user_id")["country"].last()
    table = seen.join(latest).reset_index()
    table.columns = ["user_id", "first_seen_date", "last_seen_date", "country"]
    return table.astype({"country": object}).where(table.notna(), None)


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
    """user_id, feature_date and the six features, from the events themselves."""
    rows = []
    for day in days:
        known = events[events["event_date"] <= day]
        for user_id, of_user in known.groupby("user_id"):
            age = [(day - date).days for date in of_user["event_date"]]
            recent = [days_ago for days_ago in age if days_ago <= 29]
            if not recent:
                continue
            bought = sum(
                days_ago <= 29 and kind == "purchase"
                for days_ago, kind in zip(age, of_user["event_type"], strict=True)
            )
            in_week = sum(days_ago <= 6 for days_ago in recent)
            rows.append((user_id, day, len(recent), len(set(recent)), min(recent), bought, max(age), in_week))
    return sorted(rows)


def churn_labels(events: Frame, days: list[dt.date], horizon_days: int) -> list[tuple[Any, ...]]:
    """user_id, feature_date, label."""
    active = {(row["user_id"], row["event_date"]) for _, row in events.iterrows()}
    return [
        (
            user_id,
            day,
            int(
                not any(
                    (user_id, day + dt.timedelta(ahead)) in active for ahead in range(1, horizon_days + 1)
                )
            ),
        )
        for user_id, day, *_ in user_features(events, days)
    ]


def _frame(rows: list[dict[str, Any]]) -> Frame:
    return pd.DataFrame(rows, dtype=object)


def _typed(line: str, ingested_at: dt.datetime) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(["event_id", *CONTENT, "reason"])
    try:
        landed = json.loads(line)
    except ValueError:
        return row | {"reason": "corrupt"}
    row |= {name: None if value is None else str(value) for name, value in landed.items() if name in row}
    row["reason"] = _reason(row)
    if row["reason"] is None:
        row["user_id"] = int(row["user_id"])
        moment = row["event_ts"] = _moment(row["event_ts"])
        if moment and moment > ingested_at + dt.timedelta(hours=1):
            row["reason"] = "future_event_ts"
    return row


def _reason(row: dict[str, Any]) -> str | None:
    if not (row["event_id"] or "").strip():
        return "missing_event_id"
    if not (row["user_id"] or "").strip():
        return "missing_user_id"
    if not re.fullmatch(r"[+-]?\d+", row["user_id"]) or not -(2**63) <= int(row["user_id"]) < 2**63:
        return "bad_user_id"
    return None if _moment(row["event_ts"]) else "bad_event_ts"


def _moment(text: str | None) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _nulls_first(value: str | None) -> tuple[bool, str]:
    return value is not None, value or ""
