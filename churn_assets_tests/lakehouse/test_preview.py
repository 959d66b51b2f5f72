"""A few of the rows that were written are shown beside the write."""

import pytest
from pyspark.sql import SparkSession

from churn_assets import markdown
from churn_assets.dates import DateRange
from churn_assets.lakehouse.io_manager import column_metadata, row_count_metadata
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.previews import ROWS, SHOWN, preview_metadata
from churn_assets.tables import CHURN_PREDICTIONS, LANDED_EVENTS, USER_FEATURES, USERS, Table
from churn_assets_tests.rows import NOON, D, day, frame


def preview(*arguments) -> str:
    return str(preview_metadata(*arguments)["preview"].value)


def test_of_a_range_the_preview_has_the_riskiest_of_one_date(lake: Lakehouse, spark: SparkSession) -> None:
    rows = [(user, on, user / 10, user > 4, NOON, 1) for user in range(1, 9) for on in (day(-1), D)]
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, rows), DateRange(day(-1), D))

    lines = preview(lake, CHURN_PREDICTIONS, D).splitlines()

    assert lines == [
        "| user_id | feature_date | churn_probability | predicted_churn | model_version |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {user} | `2026-03-10` | `{user / 10}` | {user > 4} | 1 |" for user in (8, 7, 6, 5, 4)),
    ]


@pytest.mark.parametrize("table", SHOWN, ids=lambda table: table.name)
def test_what_people_look_at_is_short_enough_to_be_shown_where_it_stands(table: Table) -> None:
    columns = SHOWN[table].columns
    longest = markdown.table(columns, [["1234567890123456789"] * (len(columns) - 1)] * ROWS)

    assert set(columns) <= set(table.column_names)
    assert len(longest) < 1000


def test_the_row_count_is_of_all_dates(lake: Lakehouse, spark: SparkSession) -> None:
    for on in (day(-1), D):
        rows = [(user, on, 0.5, True, NOON, 1) for user in (1, 2, 3)]
        lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, rows), DateRange(on, on))
    lake.write(USERS, frame(spark, USERS, [(1, D, D, None)]))

    assert row_count_metadata(lake, CHURN_PREDICTIONS) == {"dagster/row_count": 6}
    assert row_count_metadata(lake, USERS) == {"dagster/row_count": 1}


def test_a_table_without_dates_has_a_preview_and_one_without_rows_has_none(
    lake: Lakehouse, spark: SparkSession
) -> None:
    lake.read(USERS)
    assert preview_metadata(lake, USERS) == {}

    lake.write(USERS, frame(spark, USERS, [(1, D, D, None)]))
    assert preview(lake, USERS).splitlines()[2] == "| 1 | `2026-03-10` | `2026-03-10` |  |  |"


def test_a_line_that_landed_cannot_break_the_table(lake: Lakehouse, spark: SparkSession) -> None:
    raw = "a | b `c` <script>" + "x" * 100
    lake.write(
        LANDED_EVENTS, frame(spark, LANDED_EVENTS, [(*[None] * 5, raw, None, None, NOON, "a.json", D)])
    )

    (row,) = preview(lake, LANDED_EVENTS).splitlines()[2:]

    assert row.replace("\\|", "").count("|") == len(LANDED_EVENTS.columns) + 1
    assert "`a \\| b 'c' <script>xxx" in row
    assert "x" * 80 not in row


def test_ranges_of_the_contract_are_constraints_of_the_columns() -> None:
    columns = {
        column.name: column for column in column_metadata(USER_FEATURES)["dagster/column_schema"].columns
    }

    assert columns["days_since_last_event"].constraints.other == ["at least 0", "at most 29"]
    assert columns["user_id"].constraints.other == []
