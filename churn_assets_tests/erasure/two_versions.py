"""A table with two versions of two dates, and a person in all of them."""

import datetime as dt

from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.erasure.people import People
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import USER_DAILY_ACTIVITY

FIRST = dt.date(2026, 3, 1)
DATES = DateRange(FIRST, dt.date(2026, 3, 2))
PERSON = 4815162342
PEOPLE = People(frozenset({PERSON}), frozenset())
COLUMNS = "user_id bigint, event_date date, events bigint, purchases bigint, amount decimal(28,2)"


def write(lake: FolderLakehouse, spark: SparkSession) -> None:
    """User 1 and the person on both dates, first without a purchase and then with one."""
    for purchases in (0, 1):
        rows = [(user, day, 2, purchases, None) for day in DATES.days() for user in (1, PERSON)]
        lake.write(USER_DAILY_ACTIVITY, spark.createDataFrame(rows, COLUMNS), DATES)
