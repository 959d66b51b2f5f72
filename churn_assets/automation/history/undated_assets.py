"""What Dagster's event log knows of assets that have no date: what they read last, and who is Production."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import dagster as dg
from dagster import DagsterEventType

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import scored_by
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.lakehouse.io_manager import DATA_VERSION_TAG
from churn_assets.tables import CHURN_PREDICTIONS, MODEL_PROMOTIONS, Table

# What model_promotions calls the version that is Production, in its metadata.
CHAMPION = "champion"


def is_behind(instance: dg.DagsterInstance, table: Table, upstream: Table) -> bool:
    """Whether the last materialisation read another data version of its upstream than there is now."""
    tag = f"dagster/input_data_version/{asset_key(upstream).to_user_string()}"
    read = _latest_tags(instance, asset_key(table)).get(tag)
    return read is None or read != _latest_tags(instance, asset_key(upstream)).get(DATA_VERSION_TAG)


class Production(NamedTuple):
    """The Production version as an asset found it last, and where in the event log that stands."""

    version: str
    id: int


def production_model(instance: dg.DagsterInstance) -> Production | None:
    """The Production version as far as the event log knows; None where none has been found yet.

    Either the last training says it, or, where the alias was moved since, model_promotions. A tick asks here
    and not the registry: MLflow alone takes seconds to import.
    """
    found = []
    for record in _latest_records(instance, CHURN_PREDICTION_MODEL):
        version = _tags(record).get(DATA_VERSION_TAG, "none")
        found.append((record.storage_id, version))
    if noted := noted_champion(instance):
        found.append((latest_id(instance, asset_key(MODEL_PROMOTIONS)), noted))
    id_, version = max(found, default=(0, "none"))
    return None if version == "none" else Production(version, id_)


def noted_champion(instance: dg.DagsterInstance) -> str | None:
    """What model_promotions found to be Production last; None where it was never materialised."""
    for record in _latest_records(instance, asset_key(MODEL_PROMOTIONS)):
        metadata = record.asset_materialization.metadata if record.asset_materialization else {}
        if CHAMPION in metadata:
            return str(metadata[CHAMPION].value)
    return None


def scored_by_another(instance: dg.DagsterInstance, day: dt.date, production: Production) -> bool:
    """Whether the scores of this date are from before the Production version, and another version's.

    What was scored after that was scored by what was Production then: the log need not know of it yet.
    """
    id_ = _score_ids(instance).get(day.isoformat())
    if id_ is None or id_ > production.id:
        return False
    return scored_by(instance, day) not in ("unknown", production.version)


def last_scores_are_of_production(instance: dg.DagsterInstance) -> bool:
    """Whether there is a Production model, and the last date that has scores has none of an earlier one."""
    production, scored = production_model(instance), _score_ids(instance)
    if production is None or not scored:
        return False
    return not scored_by_another(instance, dt.date.fromisoformat(max(scored)), production)


def latest_id(instance: dg.DagsterInstance, key: dg.AssetKey) -> int:
    """The storage id of an asset's last materialisation, 0 without one."""
    records = instance.get_asset_records([key])
    return (records[0].asset_entry.last_materialization_storage_id if records else None) or 0


def _tags(record: dg.EventLogRecord) -> Mapping[str, str]:
    materialized = record.asset_materialization
    return (materialized.tags or {}) if materialized else {}


def _score_ids(instance: dg.DagsterInstance) -> Mapping[str, int]:
    return instance.get_latest_storage_id_by_partition(
        asset_key(CHURN_PREDICTIONS), DagsterEventType.ASSET_MATERIALIZATION
    )


def _latest_records(instance: dg.DagsterInstance, key: dg.AssetKey) -> Sequence[dg.EventLogRecord]:
    return instance.fetch_materializations(key, limit=1).records


def _latest_tags(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str]:
    event = instance.get_latest_materialization_event(key)
    return (event.asset_materialization.tags or {}) if event and event.asset_materialization else {}
