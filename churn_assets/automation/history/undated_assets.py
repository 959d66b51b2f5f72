"""What Dagster's history says of assets without dates: what they read last, and which model is Production."""

import datetime as dt
from typing import NamedTuple

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import scored_by
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.history.log_reader import (
    latest_metadata,
    latest_record,
    latest_storage_id,
    latest_tags,
    storage_ids_by_partition,
)
from churn_assets.lakehouse.io_manager import DATA_VERSION_TAG
from churn_assets.tables import CHURN_PREDICTIONS, MODEL_PROMOTIONS, Table

# What model_promotions calls the version that is Production, in its metadata.
CHAMPION = "champion"


def is_behind(instance: dg.DagsterInstance, table: Table, upstream: Table) -> bool:
    """Whether the last materialisation read another data version of its upstream than there is now."""
    tag = f"dagster/input_data_version/{asset_key(upstream).to_user_string()}"
    read = latest_tags(instance, asset_key(table)).get(tag)
    return read is None or read != latest_tags(instance, asset_key(upstream)).get(DATA_VERSION_TAG)


class Production(NamedTuple):
    """The Production version as an asset recorded it last, and the storage id of that record."""

    version: str
    id: int


def production_model(instance: dg.DagsterInstance) -> Production | None:
    """Return the Production version as far as the event log knows it, None where none is recorded yet.

    Either the last training recorded it, or, where the alias was moved since, model_promotions did. Sensors
    ask here and not the registry: MLflow alone takes seconds to import.
    """
    recorded = []
    if training := latest_record(instance, CHURN_PREDICTION_MODEL):
        materialization = training.asset_materialization
        tags = (materialization.tags or {}) if materialization else {}
        recorded.append((training.storage_id, tags.get(DATA_VERSION_TAG, "none")))
    if champion := noted_champion(instance):
        recorded.append((latest_storage_id(instance, asset_key(MODEL_PROMOTIONS)), champion))
    id_, version = max(recorded, default=(0, "none"))
    return None if version == "none" else Production(version, id_)


def noted_champion(instance: dg.DagsterInstance) -> str | None:
    """Return the version that model_promotions last recorded as Production, None where it recorded none."""
    champion = latest_metadata(instance, asset_key(MODEL_PROMOTIONS)).get(CHAMPION)
    return None if champion is None else str(champion.value)


def scored_by_another(instance: dg.DagsterInstance, day: dt.date, production: Production) -> bool:
    """Whether a date's scores are older than the Production version and were made by another version.

    Scores that are newer were made by what was Production then: the log need not know of it yet.
    """
    id_ = storage_ids_by_partition(instance, asset_key(CHURN_PREDICTIONS)).get(day.isoformat())
    if id_ is None or id_ > production.id:
        return False
    return scored_by(instance, day) not in ("unknown", production.version)


def last_scores_are_of_production(instance: dg.DagsterInstance) -> bool:
    """Whether there is a Production model, and the last scored date has no scores of an earlier version."""
    production = production_model(instance)
    scored_days = storage_ids_by_partition(instance, asset_key(CHURN_PREDICTIONS))
    if production is None or not scored_days:
        return False
    return not scored_by_another(instance, dt.date.fromisoformat(max(scored_days)), production)
