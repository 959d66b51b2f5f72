"""Whether what is served is behind what was computed, by history, registry and Delta logs alone.

It starts no engine and no server, so that a run with nothing new stays quick.
"""

import datetime as dt

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES, scored_by
from churn_assets.automation.history.log_reader import (
    latest_materialization,
    latest_storage_id,
    storage_ids_by_partition,
)
from churn_assets.lakehouse.io_manager import DATA_VERSION_TAG
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.serving.endpoint import online_folder
from churn_assets.serving.features import online_features
from churn_assets.serving.versions import POINTER
from churn_assets.tables import CHURN_PREDICTIONS


class Serving:
    """The scores, online features and endpoint of one lake, compared with its Production version."""

    def __init__(self, lake: Lakehouse, instance: dg.DagsterInstance, production: str) -> None:
        self._lake = lake
        self._instance = instance
        self._production = production

    def scored_by_another(self, feature_date: dt.date) -> str | None:
        """Return the version that scored this date, if it is known and no longer Production."""
        version = scored_by(self._instance, feature_date)
        return None if version in ("unknown", self._production) else version

    def last_scored(self) -> dt.date | None:
        """Return the last date with predictions, None if there is none."""
        rows = self._lake.partition_rows(CHURN_PREDICTIONS)
        return max((day for day, count in rows.items() if count), default=None)

    def online_features_are_behind(self) -> bool:
        """Whether user_features has changed since it was published, or what was published is gone."""
        published = latest_materialization(self._instance, ONLINE_USER_FEATURES)
        if published is None:
            return True
        # Not where it was published, as the lake may have been moved or copied since.
        if "folder" in published.metadata and not (online_folder(self._lake.settings) / POINTER).exists():
            return True
        return _data_version(published) != online_features.latest(self._lake).data_version

    def endpoint_is_behind(self) -> bool:
        """Whether Production, the predictions or the online features are newer than the last deployment."""
        deployed = latest_materialization(self._instance, CHURN_PREDICTION_ENDPOINT)
        if deployed is None or _data_version(deployed) != self._production:
            return True
        predictions = storage_ids_by_partition(self._instance, asset_key(CHURN_PREDICTIONS))
        upstream = [*predictions.values(), latest_storage_id(self._instance, ONLINE_USER_FEATURES)]
        return max(upstream) > latest_storage_id(self._instance, CHURN_PREDICTION_ENDPOINT)


def _data_version(materialization: dg.AssetMaterialization) -> str | None:
    return (materialization.tags or {}).get(DATA_VERSION_TAG)
