"""What a SQL warehouse says is in a table, beside what a folder lake has in it."""

import datetime as dt
from collections.abc import Callable

import pandas as pd

from churn_assets.automation.staleness.plan import BY_MODEL
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import DELIVERIES, PREDICTION_OUTCOMES, RETENTION_LIST, TABLES, Table
from churn_assets_tests.end_to_end.conftest import Frame


def content(lake: Lakehouse, table: Table) -> Frame:
    """As ``House.content``, asked of the SQL warehouse."""
    columns = ", ".join(f"`{name}`" for name in table.content_columns)
    return pd.DataFrame(lake.query(f"SELECT {columns} FROM {{t}}", t=table))


def assert_same_rows(found: Frame, expected: Frame, table: Table) -> None:
    """Both have rows, and the same ones; of deliveries none, as no list is handed to anybody here."""
    if table is DELIVERIES:
        assert len(found) == len(expected) == 0
        return
    assert len(expected) > 0, table
    pd.testing.assert_frame_equal(
        _in_one_order(found, table), _in_one_order(expected, table), check_dtype=False, obj=str(table)
    )


def assert_as_after_the_first_model(
    lake: Lakehouse, expected: Callable[[Table], Frame], last_day: dt.date
) -> None:
    """Each table of the job is a folder lake's, after the night that trained its first model.

    Args:
        lake: the job's.
        expected: what a folder lake has in a table, of all dates at once.
        last_day: the last complete feature_date.
    """
    for table in TABLES:
        rows = expected(table)
        if table in BY_MODEL:
            # Each night scores the last date; the others' labels were known before there was a model.
            rows = rows[rows["feature_date"] == last_day]
        if table is PREDICTION_OUTCOMES:
            assert lake.partition_rows(table) == {}
        else:
            found = content(lake, table)
            if table is RETENTION_LIST:
                # In the first night there is no score of the week before.
                assert found["probability_change"].isna().all()
                rows = rows.assign(probability_change=None)
            assert_same_rows(found, rows, table)


def _in_one_order(frame: Frame, table: Table) -> Frame:
    # A warehouse sends decimals as text.
    decimals = [column.name for column in table.columns if column.type.startswith("decimal")]
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in decimals})
    ordered = frame[table.content_columns].sort_values(table.content_columns).reset_index(drop=True)
    # A null is None to one reader and NaN to the other.
    return ordered.astype(object).where(ordered.notna(), None)
