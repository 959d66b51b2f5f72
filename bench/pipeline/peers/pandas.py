"""The pipeline in pandas as most people would write it: all in memory, one feature date after the other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from bench.pipeline.job import ACTIVITY, BRONZE, FEATURES, QUARANTINE, SILVER, USERS, Job, Stages
from churn_assets.contracts import Table

# A pandas DataFrame, whose own annotations lose it at the first filter.
Frame = Any

FIELDS = ("event_id", "user_id", "event_ts", "event_type", "country", "amount")
MONEY = pa.decimal128(28, 2)


def stages(job: Job) -> Stages:
    """What does each stage."""
    return {
        "bronze": lambda: bronze(job),
        "silver": lambda: silver(job),
        "users": lambda: users(job),
        "activity": lambda: activity(job),
        "features": lambda: features(job),
    }


def bronze(job: Job) -> None:
    """Every line as it landed, with its file and the moment."""
    now = pd.Timestamp.now("UTC").as_unit("us")
    parts = []
    for file in job.files():
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
        parts.append(pd.DataFrame({"_raw": lines, "_source_file": file}))
    rows = pd.concat(parts, ignore_index=True).assign(_ingested_at=now, _processing_date=now.date())
    write_deltalake(job.path(BRONZE), _arrow(rows), mode="append", partition_by="_processing_date")


def silver(job: Job) -> None:
    """New events, one an event_id, and the lines that are none."""
    lines = _read(job, BRONZE)
    parsed = pd.DataFrame([_fields(line) for line in lines["_raw"]], columns=pd.Index(["is_json", *FIELDS]))
    rows: Frame = pd.concat([lines, parsed], axis=1)
    moments = pd.to_datetime(rows["event_ts"], format="%Y-%m-%dT%H:%M:%S.%fZ", utc=True, errors="coerce")
    rows["event_ts"] = moments.dt.as_unit("us")
    rows["reason"] = np.select(
        [
            ~rows["is_json"],
            rows["event_id"].isna(),
            rows["user_id"].isna(),
            rows["event_ts"].isna(),
            rows["event_ts"] < pd.Timestamp("2000-01-01", tz="UTC"),
            rows["event_ts"] > rows["_ingested_at"] + pd.Timedelta(hours=1),
        ],
        [
            "corrupt",
            "missing_event_id",
            "missing_user_id",
            "bad_event_ts",
            "implausible_event_ts",
            "future_event_ts",
        ],
        default="",
    )
    bad = rows.loc[rows["reason"] != "", ["reason", "event_id", "_raw", "_source_file", "_ingested_at"]]
    write_deltalake(job.path(QUARANTINE), _arrow(bad), mode="append")
    events = rows.loc[rows["reason"] == "", [*FIELDS, "_ingested_at"]].drop_duplicates("event_id")
    if DeltaTable.is_deltatable(job.path(SILVER)):
        events = events[~events["event_id"].isin(_read(job, SILVER)["event_id"])]
    events["user_id"] = events["user_id"].astype("int64")
    events["event_date"] = events["event_ts"].dt.date
    write_deltalake(job.path(SILVER), _arrow(events), mode="append", partition_by="event_date")


def _fields(line: str) -> tuple[Any, ...]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return (False, *(None for _ in FIELDS))
    return (True, *(found.get(name) for name in FIELDS))


def users(job: Job) -> None:
    """Each user's first and last day and latest country."""
    events = _read(job, SILVER).sort_values("event_ts")
    found = events.groupby("user_id", as_index=False).agg(
        first_seen_date=("event_date", "min"),
        last_seen_date=("event_date", "max"),
        country=("country", "last"),
    )
    write_deltalake(job.path(USERS), _arrow(found), mode="overwrite")


def activity(job: Job) -> None:
    """What each user did on each day."""
    events = _read(job, SILVER)
    events["is_purchase"] = events["event_type"] == "purchase"
    days = events.groupby(["user_id", "event_date"], as_index=False).agg(
        events=("event_id", "size"),
        purchases=("is_purchase", "sum"),
        amount=("amount", lambda amounts: amounts.sum(min_count=1)),
    )
    table = _arrow(days)
    # Cents are exact in doubles of this size, once they are rounded.
    amount = pa.array(days["amount"].round(2), from_pandas=True).cast(MONEY, safe=False)
    table = table.set_column(table.column_names.index("amount"), "amount", amount)
    write_deltalake(job.path(ACTIVITY), table, mode="overwrite", partition_by="event_date")


def features(job: Job) -> None:
    """What was known of each user at the end of each date."""
    days = _read(job, ACTIVITY).astype({"amount": "float64"}).sort_values(["user_id", "event_date"])
    days["event_date"] = pd.to_datetime(days["event_date"])
    days["gap"] = days.groupby("user_id")["event_date"].diff().dt.days
    days["purchase_date"] = days["event_date"].where(days["purchases"] > 0)
    found = [_of_date(days, date) for date in pd.date_range(*job.dates)]
    write_deltalake(
        job.path(FEATURES),
        _arrow(pd.concat(found, ignore_index=True)),
        mode="overwrite",
        partition_by="feature_date",
    )


def _of_date(days: Frame, date: pd.Timestamp) -> Frame:
    known = days[days["event_date"] <= date]

    def last(count: int) -> Frame:
        return known[known["event_date"] > date - pd.Timedelta(days=count)]

    month = last(30).groupby("user_id")
    found = month.agg(
        event_count_30d=("events", "sum"),
        active_days_30d=("events", "size"),
        last_day=("event_date", "max"),
        purchase_count_30d=("purchases", "sum"),
    )
    ever = known[known["user_id"].isin(found.index)].groupby("user_id")
    found["amount_30d"] = month["amount"].sum(min_count=1)
    found["rolling_7d_events"] = last(7).groupby("user_id")["events"].sum()
    found["rolling_7d_events"] = found["rolling_7d_events"].fillna(0).astype("int64")
    found["active_days_90d"] = last(90).groupby("user_id").size()
    found["active_days_365d"] = last(365).groupby("user_id").size()
    found["active_days_total"] = ever.size()
    found["event_count_total"] = ever["events"].sum()
    found["purchase_count_total"] = ever["purchases"].sum()
    found["account_age_days"] = (date - ever["event_date"].min()).dt.days
    found["mean_gap_days"] = ever["gap"].mean()
    found["gap_std_days"] = ever["gap"].std()
    found["longest_gap_days"] = ever["gap"].max()
    found["days_since_last_event"] = (date - found["last_day"]).dt.days
    found["overdue_ratio"] = found["days_since_last_event"] / found["mean_gap_days"]
    found["days_since_last_purchase"] = (date - ever["purchase_date"].max()).dt.days.astype("Int64")
    found["amount_total"] = ever["amount"].sum(min_count=1)
    found["feature_date"] = date.date()
    return found.reset_index()[FEATURES.column_names]


def _read(job: Job, table: Table) -> Frame:
    return DeltaTable(job.path(table)).to_pandas()


def _arrow(frame: Frame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)
