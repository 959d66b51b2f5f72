"""Running sums against a plain count: no engine."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark import cloudpickle

from churn_assets.tables import USER_FEATURES
from churn_assets.transforms import running
from churn_assets.transforms.features import ARROW_TYPES, EPOCH, first_whole_day
from churn_assets.transforms.spans import NEVER
from churn_assets_tests import reference
from churn_assets_tests.rows import D, day, nulls_first, rounded

TYPES = {column.name: ARROW_TYPES[column.type] for column in USER_FEATURES.columns}

# user_id, days before D, whether it is a purchase, cents
Event = tuple[int, int, bool, int | None]


def parts(events: list[Event], whole_from: dt.date = dt.date.min) -> pa.Table:
    """Days, and before ``whole_from`` months, as the engine adds them up."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    first_seen: dict[int, int] = {}
    for user, ago, is_purchase, cents in events:
        date = day(-ago)
        first_seen[user] = min(first_seen.get(user, _number(date)), _number(date))
        first = date if date >= whole_from else date.replace(day=1)
        row = rows.setdefault(
            (user, _number(first)),
            {"bits": 0, "events": 0, "purchases": 0, "cents": 0.0, "with": 0, "last": NEVER},
        )
        row["bits"] |= 1 << (date - first).days
        row["events"] += 1
        row["purchases"] += is_purchase
        row["cents"] += cents or 0
        row["with"] |= cents is not None
        row["last"] = max(row["last"], _number(date) if is_purchase else NEVER)
    return pa.table(
        {
            "user_id": pa.array([user for user, _ in rows], pa.int64()),
            "first_day": pa.array([first for _, first in rows], pa.int64()),
            "active_day_bits": pa.array([row["bits"] for row in rows.values()], pa.int64()),
            "events": pa.array([row["events"] for row in rows.values()], pa.int64()),
            "purchases": pa.array([row["purchases"] for row in rows.values()], pa.int64()),
            "cents": pa.array([row["cents"] for row in rows.values()], pa.float64()),
            "with_amount": pa.array([row["with"] for row in rows.values()], pa.int64()),
            "last_purchase": pa.array([row["last"] for row in rows.values()], pa.int64()),
            "first_seen": pa.array([first_seen[user] for user, _ in rows], pa.int64()),
        }
    )


def known(events: list[Event], *, whole_from: dt.date = dt.date.min, dates: int = 1) -> list[tuple[Any, ...]]:
    """Rows of user_features of D and the dates before it, by user and date."""
    last = _number(D)
    table = running.known_of(parts(events, whole_from), last - dates + 1, last, TYPES)
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return sorted(rounded(rows), key=nulls_first)


def counted(events: list[Event], dates: int = 1) -> list[tuple[Any, ...]]:
    """The same from the events one by one."""
    frame = pd.DataFrame(
        [
            (user, day(-ago), "purchase" if bought else None, None if cents is None else Decimal(cents) / 100)
            for user, ago, bought, cents in events
        ],
        columns=pd.Index(["user_id", "event_date", "event_type", "amount"]),
        dtype=object,
    )
    return rounded(reference.user_features(frame, [day(-ago) for ago in range(dates)]))


def _number(date: dt.date) -> int:
    return (date - EPOCH).days


logs = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.one_of(st.integers(0, 45), st.integers(0, 900)),
        st.booleans(),
        st.one_of(st.none(), st.integers(-10_000, 10_000)),
    ),
    min_size=1,
    max_size=30,
)
hundred = settings(max_examples=100, derandomize=True, database=None)


@hundred
@given(log=logs)
def test_every_column_of_a_random_log_equals_a_plain_count(log: list[Event]) -> None:
    assert known(log) == counted(log)


@hundred
@given(log=logs, dates=st.one_of(st.integers(1, 70), st.integers(270, 420)))
def test_months_in_place_of_days_change_no_column(log: list[Event], dates: int) -> None:
    first = day(1 - dates)

    assert known(log, whole_from=first_whole_day(first), dates=dates) == known(log, dates=dates)


@hundred
@given(log=logs, later=logs)
def test_what_happens_after_a_date_changes_no_column(log: list[Event], later: list[Event]) -> None:
    after = [(user, -1 - ago, bought, cents) for user, ago, bought, cents in later]

    assert known(log + after) == known(log)


def test_dates_of_a_range_are_those_one_by_one() -> None:
    log: list[Event] = [(1, 40, True, 500), (1, 12, False, None), (1, 3, False, 250), (2, 31, False, None)]

    assert known(log, dates=35) == counted(log, dates=35)


def test_nobody_with_a_day_in_the_last_thirty_gives_no_row() -> None:
    assert known([(1, 30, False, None)]) == []


def test_amounts_are_added_without_a_rounding_error() -> None:
    log: list[Event] = [(1, ago, False, 10) for ago in range(30)] * 1000

    found = dict(zip(TYPES, known(log)[0], strict=True))
    assert (found["amount_30d"], found["amount_total"]) == (3000.0, 3000.0)


def test_what_lies_before_the_first_day_of_the_user_is_not_seen_yet() -> None:
    days = parts([(1, 5, False, None), (1, 0, False, None)])
    from_today = days.set_column(8, "first_seen", pa.array([_number(D)] * 2, pa.int64()))

    found = running.known_of(from_today, _number(D) - 5, _number(D), TYPES)

    assert found["feature_date"].to_pylist() == [D]


def test_whom_users_do_not_know_has_no_age_and_is_not_dropped() -> None:
    days = parts([(1, 0, False, None)])
    unknown = days.set_column(8, "first_seen", pa.array([None], pa.int64()))

    assert running.known_of(unknown, _number(D), _number(D), TYPES)["account_age_days"].to_pylist() == [None]


def test_users_of_any_id_are_kept_apart() -> None:
    far_apart: list[Event] = [(user, 0, False, None) for user in (-(2**63), -1, 0, 2**63 - 1)]

    assert [row[0] for row in known(far_apart)] == [-(2**63), -1, 0, 2**63 - 1]
    assert all(np.array([row[10] for row in known(far_apart)]) == 1)


def test_a_worker_without_this_package_can_work_them_out(tmp_path) -> None:
    first = last = _number(D)
    travels = tmp_path / "known.pickle"
    log = parts([(1, 2, True, 100)])
    travels.write_bytes(cloudpickle.dumps(lambda: running.known_of(log, first, last, TYPES)))
    program = (
        "import pickle, sys; sys.modules['churn_assets'] = None;"
        f"print(pickle.load(open({str(travels)!r}, 'rb'))()['days_since_last_purchase'].to_pylist())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[2]\n"
