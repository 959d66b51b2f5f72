"""Whether what is served is behind what was computed: asked of history, registry and Delta logs alone.

No engine and no server starts for it, so that a run with nothing new stays quick.
"""

import datetime as dt
from pathlib import Path

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES, scored_by
from churn_assets.lakehouse.io_manager import DATA_VERSION_TAG
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.serving.features import online_features
from churn_assets.serving.features.online_store import POINTER
from churn_assets.tables import CHURN_PREDICTIONS


class Serving:
    """Looks at one lake and its history, for one Production version."""

    def __init__(self, lake: Lakehouse, instance: dg.DagsterInstance, production: str) -> None:
        self._lake = lake
        self._instance = instance
        self._production = production

    def scored_by_another(self, feature_date: dt.date) -> str | None:
        """The version that scored this date, if it is known and no longer Production."""
        version = scored_by(self._instance, feature_date)
        return None if version in ("unknown", self._production) else version

    def last_scored(self) -> dt.date | None:
        """The last date with predictions."""
        rows = self._lake.partition_rows(CHURN_PREDICTIONS)
        return max((day for day, count in rows.items() if count), default=None)

    def online_features_are_behind(self) -> bool:
        """Whether user_features has changed since it was published, or what was published is gone."""
        published = self._latest(ONLINE_USER_FEATURES)
        if published is None:
            return True
        folder = published.metadata.get("folder")
        if folder and not (Path(str(folder.value)) / POINTER).exists():
            return True
        return _data_version(published) != online_features.latest(self._lake).data_version

    def endpoint_is_behind(self) -> bool:
        """Whether Production, the predictions or the online features are newer than the last deployment."""
        deployed = self._latest(CHURN_PREDICTION_ENDPOINT)
        if deployed is None or _data_version(deployed) != self._production:
            return True
        predictions = self._instance.get_latest_storage_id_by_partition(
            asset_key(CHURN_PREDICTIONS), dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        upstream = [*predictions.values(), self._storage_id(ONLINE_USER_FEATURES)]
        return max(upstream) > self._storage_id(CHURN_PREDICTION_ENDPOINT)

    def _latest(self, key: dg.AssetKey) -> dg.AssetMaterialization | None:
        event = self._instance.get_latest_materialization_event(key)
        return event.asset_materialization if event else None

    def _storage_id(self, key: dg.AssetKey) -> int:
        records = self._instance.get_asset_records([key])
        return (records[0].asset_entry.last_materialization_storage_id if records else None) or 0


def _data_version(materialized: dg.AssetMaterialization) -> str | None:
    return (materialized.tags or {}).get(DATA_VERSION_TAG)
