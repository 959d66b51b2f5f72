"""What a write's metadata says of late events."""

import datetime as dt

from churn_assets.lakehouse.late_data import SHOWN_DATES, gained_metadata
from churn_assets_tests.rows import day


def test_the_first_load_of_a_long_past_is_not_late() -> None:
    first = {day(-100): 5, day(0): 7}

    assert gained_metadata(first, first) == {
        "touched_dates": "2025-11-30, 2026-03-10",
        "rows_gained_by_date": {"2025-11-30": 5, "2026-03-10": 7},
        "late_rows": 0,
    }


def test_rows_of_a_day_before_the_last_one_are_late_by_the_days_between() -> None:
    held = {day(-3): 11, day(-1): 4, day(0): 100}
    gained = {day(-3): 1, day(-1): 3, day(0): 20}

    said = gained_metadata(gained, held)

    assert said["touched_dates"] == "2026-03-07, 2026-03-09 to 2026-03-10"
    assert said["late_dates"] == "2026-03-07, 2026-03-09"
    assert said["late_rows_by_date"] == {"2026-03-07": 1, "2026-03-09": 3}
    assert (said["late_rows"], said["max_days_late"], said["median_days_late"]) == (4, 3, 1.0)


def test_a_new_day_does_not_make_the_rows_of_the_last_one_late() -> None:
    held = {day(0): 10, day(1): 5}

    assert gained_metadata({day(0): 2, day(1): 5}, held)["late_rows"] == 0


def test_a_write_of_nothing_touches_no_date() -> None:
    assert gained_metadata({}, {day(0): 10}) == {
        "touched_dates": "none",
        "rows_gained_by_date": {},
        "late_rows": 0,
    }


def test_of_a_decade_only_the_last_dates_are_shown_and_all_are_counted() -> None:
    gained = {day(0) - dt.timedelta(days=number): 1 for number in range(1, 3651)}

    said = gained_metadata(gained, {**gained, day(0): 1})

    assert len(said["late_rows_by_date"]) == SHOWN_DATES
    assert "2026-03-09" in said["late_rows_by_date"]
    assert said["late_rows"] == 3650
