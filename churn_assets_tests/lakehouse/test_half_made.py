"""Tables in folders that a kill left without their first commit."""

import pytest
from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.errors import LakeError
from churn_assets.lakehouse import half_made
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import USER_DAILY_ACTIVITY
from churn_assets_tests.rows import D, frame


def test_a_table_whose_first_commit_never_came_is_made_anew(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    location = lake.location(USER_DAILY_ACTIVITY)
    (location / "_delta_log").mkdir(parents=True)
    (location / "part-0.parquet").write_text("half a file")

    rows = frame(spark, USER_DAILY_ACTIVITY, [(1, D, 4, 1)])
    lake.write(USER_DAILY_ACTIVITY, rows, DateRange(D, D))

    assert [tuple(row) for row in lake.read(USER_DAILY_ACTIVITY).collect()] == [(1, D, 4, 1, None)]
    aside = location.with_name(".user_daily_activity.half-made-1")
    assert [file.name for file in sorted(aside.iterdir())] == ["_delta_log", "part-0.parquet"]


def test_a_log_that_has_lost_all_but_a_checkpoint_is_left_alone(lake: FolderLakehouse) -> None:
    location = lake.location(USER_DAILY_ACTIVITY)
    (location / "old").mkdir(parents=True)
    (location / "_delta_log").mkdir()
    (location / "_delta_log" / "0.checkpoint.parquet").write_text("commits")

    with pytest.raises(LakeError, match=r"has lost commits of its log\. Restore .*_delta_log from a backup"):
        half_made.put_aside(location)

    assert (location / "old").exists()
