"""Lists of three dates in a lake of their own."""

import pytest
from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import RETENTION_LIST
from churn_assets_tests.rows import D, day, frame

# The ids that a spreadsheet must not run, and one that is an innocent text.
SOURCES = {7: "=HYPERLINK(0)", 8: "ann@example.com", 9: "@SUM(1)"}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> FolderLakehouse:
    """Users 7 and 9 to contact and 8 of the control group, on D and the day before; on day -4, nobody."""
    root = tmp_path_factory.mktemp("lists") / "lake"
    settings = Settings(_env_file=None, lake_root=root)  # type: ignore[call-arg]  # pydantic-settings takes it
    lake = FolderLakehouse(settings, lambda: spark)
    rows = [
        (
            user,
            on,
            SOURCES[user],
            rank,
            group,
            0.5,
            -0.25,
            "medium",
            50.0,
            4.0 - rank,
            0.1,
            "Quiet, or not",
            None,
        )
        for on in (day(-1), D)
        for rank, (user, group) in enumerate([(7, "contact"), (8, "control"), (9, "contact")], start=1)
    ]
    written = [(*row, None, 1) for row in rows]
    lake.write(RETENTION_LIST, frame(spark, RETENTION_LIST, []), DateRange(day(-4), day(-4)))
    lake.write(RETENTION_LIST, frame(spark, RETENTION_LIST, written), DateRange(day(-1), D))
    return lake
