"""A few of the rows that were written, as a table in Markdown beside the write.

Dagster's UI shows Markdown of less than 1,000 characters where it stands. So the tables that people look at
for one thing show that: their columns, and the rows that come first in their order.
"""

import datetime as dt
from typing import Any, NamedTuple

import dagster as dg

from churn_assets import markdown
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import CHURN_PREDICTIONS, RETENTION_LIST, Table

ROWS = 5


class Shown(NamedTuple):
    """The columns of a preview, and the SQL order of its rows."""

    columns: tuple[str, ...]
    order: str


SHOWN: dict[Table, Shown] = {
    # The riskiest.
    CHURN_PREDICTIONS: Shown(
        ("user_id", "feature_date", "churn_probability", "predicted_churn", "model_version"),
        "churn_probability DESC, user_id",
    ),
    # Those of the highest expected gain.
    RETENTION_LIST: Shown(
        ("rank", "user_id", "assigned_group", "churn_probability", "risk_band", "expected_gain", "reason_1"),
        "rank",
    ),
}


def preview_metadata(lake: Lakehouse, table: Table, day: dt.date | None = None) -> dict[str, Any]:
    """Return the metadata entry ``preview``; empty where there is no row.

    Args:
        lake: where the table is.
        table: which; of the tables in ``SHOWN`` the first rows in their order, of others any.
        day: of its partition column; None for a table without dates.
    """
    shown = SHOWN.get(table)
    rows = _first_rows(lake, table, shown, day) if shown and day else lake.sample_rows(table, day, ROWS)
    if not rows:
        return {}
    columns = shown.columns if shown else table.column_names
    # Landed lines may hold anything.
    cells = [[markdown.cell(row[name]) for name in columns] for row in rows]
    return {"preview": dg.MetadataValue.md(markdown.table(columns, cells))}


def _first_rows(lake: Lakehouse, table: Table, shown: Shown, day: dt.date) -> list[dict[str, Any]]:
    return lake.query(
        f"SELECT {', '.join(shown.columns)} FROM {{rows}} "  # noqa: S608 - names of a contract, and a date
        f"WHERE {table.partition_column} = date'{day}' ORDER BY {shown.order} LIMIT {ROWS}",
        rows=table,
    )
