"""What a SQL warehouse says is in a table, beside what a folder lake has in it."""

import pandas as pd

from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import Table
from churn_assets_tests.end_to_end.conftest import Frame


def content(lake: Lakehouse, table: Table) -> Frame:
    """As ``House.content``, asked of the SQL warehouse."""
    columns = ", ".join(f"`{name}`" for name in table.content_columns)
    return pd.DataFrame(lake.query(f"SELECT {columns} FROM {{t}}", t=table))


def assert_same_rows(found: Frame, expected: Frame, table: Table) -> None:
    """Both have rows, and the same ones."""
    assert len(expected) > 0, table
    pd.testing.assert_frame_equal(
        _in_one_order(found, table), _in_one_order(expected, table), check_dtype=False, obj=str(table)
    )


def _in_one_order(frame: Frame, table: Table) -> Frame:
    # A warehouse sends decimals as text.
    decimals = [column.name for column in table.columns if column.type.startswith("decimal")]
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in decimals})
    ordered = frame[table.content_columns].sort_values(table.content_columns).reset_index(drop=True)
    # A null is None to one reader and NaN to the other.
    return ordered.astype(object).where(ordered.notna(), None)
