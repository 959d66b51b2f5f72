"""What a date's list comes to, for Dagster and for the command line."""

import datetime as dt
from typing import Any

from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import CONTACT, RETENTION_LIST, RISK_BANDS


def list_metadata(lake: Lakehouse, day: dt.date) -> dict[str, Any]:
    """Return counts by group and band, and the expected gain of the contacts."""
    counted = lake.query(
        "SELECT assigned_group, risk_band, count(*) AS users, sum(expected_gain) AS gain "  # noqa: S608 - a date
        f"FROM {{lists}} WHERE feature_date = date'{day}' GROUP BY assigned_group, risk_band",
        lists=RETENTION_LIST,
    )
    contacts = [row for row in counted if row["assigned_group"] == CONTACT]
    return {
        "contacts": sum(row["users"] for row in contacts),
        "control": sum(row["users"] for row in counted) - sum(row["users"] for row in contacts),
        "expected_gain": round(sum(row["gain"] for row in contacts), 2),
        **{
            f"contacts_{band}": sum(row["users"] for row in contacts if row["risk_band"] == band)
            for band in RISK_BANDS
        },
    }
