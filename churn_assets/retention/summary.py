"""What a date's list comes to, for Dagster and for the command line."""

import datetime as dt
from typing import Any

from churn_assets import markdown
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import CONTACT, RETENTION_LIST, RISK_BANDS

FIRST_ROWS = 5


def list_metadata(lake: Lakehouse, day: dt.date) -> dict[str, Any]:
    """Return counts by group and band, the expected gain of the contacts, and the first rows."""
    import dagster as dg

    counted = lake.query(
        "SELECT assigned_group, risk_band, count(*) AS users, sum(expected_gain) AS gain "  # noqa: S608 - a date
        f"FROM {{lists}} WHERE feature_date = date'{day}' GROUP BY assigned_group, risk_band",
        lists=RETENTION_LIST,
    )
    first = lake.query(
        f"SELECT * FROM {{lists}} WHERE feature_date = date'{day}' AND rank <= {FIRST_ROWS} ORDER BY rank",  # noqa: S608 - a date
        lists=RETENTION_LIST,
    )
    contacts = [row for row in counted if row["assigned_group"] == CONTACT]
    metadata: dict[str, Any] = {
        "contacts": sum(row["users"] for row in contacts),
        "control": sum(row["users"] for row in counted) - sum(row["users"] for row in contacts),
        "expected_gain": round(sum(row["gain"] for row in contacts), 2),
        **{
            f"contacts_{band}": sum(row["users"] for row in contacts if row["risk_band"] == band)
            for band in RISK_BANDS
        },
    }
    if first:
        cells = [[markdown.cell(row[name]) for name in RETENTION_LIST.column_names] for row in first]
        metadata["preview"] = dg.MetadataValue.md(markdown.table(RETENTION_LIST.column_names, cells))
    return metadata
