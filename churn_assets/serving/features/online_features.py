"""From the table to the online store: the latest feature_date alone, and only what lookups need."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from churn_assets.dates import DateRange
from churn_assets.errors import EndpointError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.serving.features.online_store import Published, publish
from churn_assets.tables import FEATURE_COLUMNS, USER_FEATURES

if TYPE_CHECKING:
    import pyarrow as pa


class LatestFeatures(NamedTuple):
    """The last date of ``gold.user_features``, and the Delta version that it was seen in."""

    feature_date: dt.date
    delta_version: int

    @property
    def data_version(self) -> str:
        """As Dagster compares it."""
        return f"{self.delta_version}/{self.feature_date}"


def latest(lake: Lakehouse) -> LatestFeatures:
    """Look for the last date with features; needs no engine where the lake is folders.

    Raises:
        EndpointError: there are no features yet.
    """
    version = lake.version(USER_FEATURES)
    days = [day for day, rows in lake.partition_rows(USER_FEATURES).items() if rows]
    if not days:
        raise EndpointError(
            f"{USER_FEATURES} is empty, so there is nothing to publish. Materialise it first."
        )
    return LatestFeatures(max(days), version)


def publish_latest(lake: Lakehouse, found: LatestFeatures, folder: Path) -> Published:
    """Publish the features of the date that ``latest`` found, by user_id."""
    rows = lake.read(USER_FEATURES, DateRange(found.feature_date, found.feature_date))
    columns = [F.col(name).cast("double").alias(name) for name in FEATURE_COLUMNS]
    table: pa.Table = rows.select("user_id", *columns).toArrow()
    return publish(
        folder,
        table["user_id"].to_numpy(),
        table.select(FEATURE_COLUMNS).to_pandas().to_numpy(),
        FEATURE_COLUMNS,
        found.feature_date,
        found.delta_version,
        nullable={column.name for column in USER_FEATURES.columns if column.nullable},
    )
