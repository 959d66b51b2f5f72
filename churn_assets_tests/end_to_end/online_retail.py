"""The gold tables of Online Retail, worked out from the CSV files by numpy: users by days, and running sums.

It shares no code with ``churn_assets``, not even the importer.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# A pandas DataFrame, whose own annotations know neither its sort_values nor its groupby.
Frame = Any
FOLDER = Path(__file__).parents[3] / "shared" / "data" / "online-retail"
MAPPING: dict[str, Any] = {
    "user_id": "CustomerID",
    "event_ts": "InvoiceDate",
    "event_type": "(CASE WHEN InvoiceNo LIKE 'C%' THEN 'cancellation' ELSE 'purchase' END)",
    "country": "Country",
    "amount": "(CAST(Quantity AS DECIMAL(18,3)) * CAST(UnitPrice AS DECIMAL(18,3)))",
}
HORIZON = 30


@dataclass(frozen=True)
class OnlineRetail:
    """Lines of the files; gold tables with columns as in the contracts, rows in the order of their keys."""

    lines: int
    lines_without_user: int
    tables: dict[str, Frame]


def calculate(files: list[Path]) -> OnlineRetail:
    """Work out every gold table that has no model in it."""
    lines: Frame = pd.concat([pd.read_csv(file, dtype=str, keep_default_na=False) for file in files])
    events: Frame = lines[lines["CustomerID"] != ""].copy()
    events["user_id"] = events["CustomerID"].astype(float).astype("int64")
    events["moment"] = pd.to_datetime(events["InvoiceDate"])
    events["day"] = events["moment"].dt.normalize()
    events["bought"] = ~events["InvoiceNo"].str.startswith("C")
    # Halves away from 0; prices have up to three places.
    thousandths = events["Quantity"].astype("int64") * (
        events["UnitPrice"].astype(float) * 1000
    ).round().astype("int64")
    events["cents"] = np.sign(thousandths) * ((abs(thousandths) + 5) // 10)

    users = np.sort(events["user_id"].unique())
    days = pd.date_range(events["day"].min(), events["day"].max())
    row = np.searchsorted(users, events["user_id"])
    column = (events["day"] - days[0]).dt.days.to_numpy()
    count = np.zeros((len(users), len(days)), dtype="int64")
    bought = np.zeros_like(count)
    np.add.at(count, (row, column), 1)
    np.add.at(bought, (row, column), events["bought"].to_numpy().astype("int64"))
    cents = np.zeros_like(count)
    np.add.at(cents, (row, column), events["cents"].to_numpy())

    first = (count > 0).argmax(axis=1)
    dates = np.array([day.date() for day in days])
    tables = {
        "user_daily_activity": _activity(users, dates, count, bought, cents),
        "daily_summary": _summary(dates, count, bought, first),
        "user_features": _features(users, dates, count, bought, cents, first),
        "users": _users(users, dates, count, first, events),
    }
    tables["churn_labels"] = _labels(users, dates, count, tables["user_features"])
    tables["churn_labels, purchases"] = _labels(users, dates, bought, tables["user_features"])
    return OnlineRetail(len(lines), int((lines["CustomerID"] == "").sum()), tables)


def _activity(
    users: np.ndarray, dates: np.ndarray, count: np.ndarray, bought: np.ndarray, cents: np.ndarray
) -> pd.DataFrame:
    there, when = np.nonzero(count)
    return _sorted(
        user_id=users[there],
        event_date=dates[when],
        events=count[there, when],
        purchases=bought[there, when],
        amount=cents[there, when] / 100,
    )


def _summary(dates: np.ndarray, count: np.ndarray, bought: np.ndarray, first: np.ndarray) -> pd.DataFrame:
    trading = np.nonzero(count.sum(axis=0))[0]
    return _sorted(
        event_date=dates[trading],
        events=count.sum(axis=0)[trading],
        active_users=(count > 0).sum(axis=0)[trading],
        new_users=np.bincount(first, minlength=len(dates))[trading],
        purchases=bought.sum(axis=0)[trading],
    )


def _features(  # noqa: PLR0917 - a matrix each
    users: np.ndarray,
    dates: np.ndarray,
    count: np.ndarray,
    bought: np.ndarray,
    cents: np.ndarray,
    first: np.ndarray,
) -> pd.DataFrame:
    month = _window(count, 30)
    active, when = np.nonzero(month)
    last = np.maximum.accumulate(np.where(count > 0, np.arange(len(dates)), -1), axis=1)
    bought_last = np.maximum.accumulate(np.where(bought > 0, np.arange(len(dates)), -1), axis=1)[active, when]
    gaps = _gaps(count)
    mean_gap = gaps["mean"][active, when]
    return _sorted(
        user_id=users[active],
        feature_date=dates[when],
        event_count_30d=month[active, when],
        active_days_30d=_window((count > 0).astype("int64"), 30)[active, when],
        days_since_last_event=when - last[active, when],
        purchase_count_30d=_window(bought, 30)[active, when],
        account_age_days=when - first[active],
        rolling_7d_events=_window(count, 7)[active, when],
        active_days_90d=_window((count > 0).astype("int64"), 90)[active, when],
        active_days_365d=_window((count > 0).astype("int64"), 365)[active, when],
        active_days_total=np.cumsum(count > 0, axis=1)[active, when],
        event_count_total=np.cumsum(count, axis=1)[active, when],
        purchase_count_total=np.cumsum(bought, axis=1)[active, when],
        mean_gap_days=mean_gap,
        gap_std_days=gaps["std"][active, when],
        longest_gap_days=gaps["max"][active, when],
        overdue_ratio=(when - last[active, when]) / mean_gap,
        days_since_last_purchase=np.where(bought_last < 0, np.nan, when - bought_last),
        amount_30d=_window(cents, 30)[active, when] / 100,
        amount_total=np.cumsum(cents, axis=1)[active, when] / 100,
    )


def _gaps(count: np.ndarray) -> dict[str, np.ndarray]:
    """Of the days between active days up to each day, by pandas: mean, std and max; NaN with too few."""
    user, day = np.nonzero(count)
    gap = pd.Series(day, dtype=float).groupby(user).diff()
    later = gap.notna().to_numpy()
    expanding = gap.loc[later].groupby(user[later]).expanding()
    found = {}
    for name in ("mean", "std", "max"):
        # As of each active day from the second on, and until the next.
        matrix = np.full(count.shape, np.nan)
        matrix[user[later], day[later]] = getattr(expanding, name)().to_numpy()
        found[name] = pd.DataFrame(matrix).ffill(axis=1).to_numpy()
    return found


def _users(
    users: np.ndarray, dates: np.ndarray, count: np.ndarray, first: np.ndarray, events: Frame
) -> pd.DataFrame:
    last = count.shape[1] - 1 - (count[:, ::-1] > 0).argmax(axis=1)
    # Which of two countries at one moment wins depends on event ids, which this calculation does not know.
    latest = events["moment"] == events.groupby("user_id")["moment"].transform("max")
    countries = events[latest].groupby("user_id")["Country"].agg(lambda found: "|".join(sorted(set(found))))
    return _sorted(
        user_id=users,
        first_seen_date=dates[first],
        last_seen_date=dates[last],
        country=countries.reindex(users).to_numpy(),
    )


def _labels(users: np.ndarray, dates: np.ndarray, count: np.ndarray, features: Frame) -> pd.DataFrame:
    ahead = np.zeros_like(count)
    ahead[:, : len(dates) - HORIZON] = _window(count, HORIZON)[:, HORIZON:]
    mature = features[features["feature_date"] <= dates[-1] - dt.timedelta(days=HORIZON)]
    rows = np.searchsorted(users, mature["user_id"])
    columns = np.searchsorted(dates, mature["feature_date"])
    return _sorted(
        user_id=mature["user_id"].to_numpy(),
        feature_date=mature["feature_date"].to_numpy(),
        label=(ahead[rows, columns] == 0).astype("int64"),
    )


def _window(values: np.ndarray, days: int) -> np.ndarray:
    """For each day, the sum over it and the ``days - 1`` before it."""
    running = np.cumsum(values, axis=1)
    running[:, days:] = running[:, days:] - running[:, :-days].copy()
    return running


def _sorted(**columns: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    # By what is a row's key in each of them.
    return frame.sort_values(list(columns)[:2], ignore_index=True)
