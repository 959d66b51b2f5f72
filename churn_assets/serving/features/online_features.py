"""Publishes the latest feature_date of ``gold.user_features`` for look-ups by user_id."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from churn_assets.dates import DateRange
from churn_assets.errors import EndpointError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.serving import shared_store
from churn_assets.serving.features.online_store import Published, publish
from churn_assets.tables import FEATURE_COLUMNS, LATEST_USER_FEATURES, USER_FEATURES

if TYPE_CHECKING:
    import pyarrow as pa


class LatestFeatures(NamedTuple):
    """The last date of ``gold.user_features``, the Delta version that holds it, and its number of users."""

    feature_date: dt.date
    delta_version: int
    users: int

    @property
    def data_version(self) -> str:
        """The data version that Dagster compares."""
        return f"{self.delta_version}/{self.feature_date}"


def latest(lake: Lakehouse) -> LatestFeatures:
    """Return the last date with features. This needs no engine if the lake is a folder.

    Raises:
        EndpointError: the table is empty.
    """
    version = lake.version(USER_FEATURES)
    users = {day: rows for day, rows in lake.partition_rows(USER_FEATURES).items() if rows}
    if not users:
        raise EndpointError(
            f"{USER_FEATURES} is empty, so there is nothing to publish. Materialise it first."
        )
    last = max(users)
    return LatestFeatures(last, version, users[last])


def publish_latest(lake: Lakehouse, latest: LatestFeatures, folder: Path) -> Published:
    """Publish the features of the latest date by user_id."""
    rows = lake.read(USER_FEATURES, DateRange(latest.feature_date, latest.feature_date))
    columns = [F.col(name).cast("double").alias(name) for name in FEATURE_COLUMNS]
    table: pa.Table = rows.select("user_id", *columns).toArrow()
    with shared_store.publishing(lake.settings, shared_store.ONLINE):
        published = publish(
            folder,
            table["user_id"].to_numpy(),
            table.select(FEATURE_COLUMNS).to_pandas().to_numpy(),
            FEATURE_COLUMNS,
            latest.feature_date,
            latest.delta_version,
            nullable={column.name for column in USER_FEATURES.columns if column.nullable},
        )
        if lake.settings.is_in_bucket:
            shared_store.share(lake.settings, published.version)
    return published


def write_latest(lake: Lakehouse, latest: LatestFeatures) -> int:
    """Let ``gold.latest_user_features`` hold the features of the latest date; return the number of users.

    Who has left the 30 days leaves it too: a copy of ``gold.user_features`` by user_id would know them still.
    """
    rows = lake.read(USER_FEATURES, DateRange(latest.feature_date, latest.feature_date))
    lake.write(LATEST_USER_FEATURES, rows.select(*LATEST_USER_FEATURES.column_names))
    return latest.users
