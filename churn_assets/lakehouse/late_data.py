"""How late new rows arrived, from the log of a write: no row is read for it."""

import datetime as dt
from collections.abc import Mapping
from statistics import median
from typing import Any

from churn_assets.dates import contiguous_ranges

# More dates than this say nothing to a reader, and make the history larger.
SHOWN_DATES = 60


def gained_metadata(gained: Mapping[dt.date, int], rows_after: Mapping[dt.date, int]) -> dict[str, Any]:
    """Return what a merge brought, by date, and how late it was, as metadata.

    A row is late where the table already had rows of a later date before the write; its days late are counted
    from the last of those dates. So neither the first load of a long past is late, nor yesterday's file that
    comes today.

    Args:
        gained: rows that each date gained.
        rows_after: rows that each date has after the write.

    Returns:
        touched_dates (as ranges), rows_gained_by_date, late_rows; where there are any, also late_dates,
        late_rows_by_date, max_days_late and median_days_late (of the late rows).
    """
    before = [day for day, rows in rows_after.items() if rows > gained.get(day, 0)]
    last = max(before, default=dt.date.min)
    late = {day: rows for day, rows in sorted(gained.items()) if rows and day < last}
    metadata: dict[str, Any] = {
        "touched_dates": _as_text(gained),
        "rows_gained_by_date": _shown(gained),
        "late_rows": sum(late.values()),
    }
    if late:
        days_late = [(last - day).days for day, rows in late.items() for _ in range(rows)]
        metadata |= {
            "late_dates": _as_text(late),
            "late_rows_by_date": _shown(late),
            "max_days_late": max(days_late),
            "median_days_late": float(median(days_late)),
        }
    return metadata


def _as_text(days: Mapping[dt.date, int]) -> str:
    return (
        ", ".join(str(dates) for dates in contiguous_ranges(day for day, rows in days.items() if rows))
        or "none"
    )


def _shown(rows: Mapping[dt.date, int]) -> dict[str, int]:
    nonempty = sorted((day, count) for day, count in rows.items() if count)
    return {day.isoformat(): count for day, count in nonempty[-SHOWN_DATES:]}
