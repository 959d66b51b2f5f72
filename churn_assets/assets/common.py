"""Arguments that all assets of tables share, taken from their contracts."""

from typing import Any

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.lakehouse.io_manager import column_metadata
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DELIVERIES,
    FEATURE_DRIFT,
    MODEL_PROMOTIONS,
    PREDICTION_OUTCOMES,
    QUARANTINED_TREATMENTS,
    RETENTION_LIST,
    TREATMENT_OUTCOMES,
    TREATMENTS,
    Table,
)

# Assets and specs. Any, as type checkers cannot choose among dg.asset's overloads for unpacked arguments.
Assets = list[Any]

OWNERS = ["team:churn"]

# The engine, the lake that the I/O manager writes, and the launcher of steps on a cluster where there is one.
ON_SPARK = {"pyspark", "lakehouse", "pyspark_step_launcher"}

# The medallion tier of each schema. Dagster's UI has an icon for each of them, as for these kinds.
TIERS = {"landing": "bronze", "clean": "silver", "gold": "gold"}
DELTA = "deltalake"

# A table's group is its tier, but for Gold's after the model: the graph of groups has no cycle, so that the
# UI draws the groups from left to right.
LATER_GROUPS = {
    "predictions": (CHURN_PREDICTIONS, CHURN_REASONS),
    "retention": (RETENTION_LIST, DELIVERIES, TREATMENTS, QUARANTINED_TREATMENTS, TREATMENT_OUTCOMES),
    "monitoring": (FEATURE_DRIFT, PREDICTION_OUTCOMES, MODEL_PROMOTIONS),
}


def retries(settings: Settings) -> dg.RetryPolicy | None:
    """Return the retries for failures around a step: a lost cluster, a workspace that does not answer.

    None where steps run in this process: there the machine or the code fails, and ``churn run``, the sensors
    and the daily job each try again in their own time.
    """
    if settings.deployment != "databricks":
        return None
    return dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)


def table_spec(table: Table, settings: Settings) -> dict[str, Any]:
    """Return what ``AssetOut`` and ``asset`` share: all that is said of a table itself."""
    catalog, tier = getattr(settings, table.catalog), TIERS[table.schema]
    folder = settings.lake_root / catalog / table.schema / table.name
    return {
        "key": asset_key(table),
        "group_name": group(table),
        # The UI names a node by the last part of its key: three are "events".
        "description": f"{tier.capitalize()}: {table.comment}",
        "kinds": {DELTA, "pyspark", tier},
        "tags": {"dagster/storage_kind": DELTA, **tags(tier, is_personal=bool(table.personal_columns))},
        "owners": OWNERS,
        "metadata": {
            "dagster/table_name": f"{catalog}.{table.schema}.{table.name}",
            **({} if settings.deployment == "databricks" else {"dagster/uri": str(folder)}),
            "write_mode": table.write_mode.value,
            "key": ", ".join(table.key) or "none",
            **column_metadata(table),
        },
    }


def group(table: Table) -> str:
    """Return the name of the table's group."""
    later = (name for name, grouped in LATER_GROUPS.items() if table in grouped)
    return next(later, TIERS[table.schema])


def tags(tier: str = "", *, is_personal: bool) -> dict[str, str]:
    """Return the tags by which assets are found: the tier, and whether rows or lines are of persons."""
    return {**({"tier": tier} if tier else {}), "personal_data": "yes" if is_personal else "no"}


def table_asset(table: Table, settings: Settings) -> dict[str, Any]:
    """Return the arguments of an asset that returns a DataFrame for the lake to write."""
    return {
        **table_spec(table, settings),
        "io_manager_key": "lake_io",
        "required_resource_keys": ON_SPARK,
        "pool": pool(table),
        "retry_policy": retries(settings),
    }


def pool(table: Table) -> str:
    """Return the name of the one-slot pool that lets one run at a time write the table."""
    return "__".join(asset_key(table).path)


def is_written(context: dg.AssetCheckExecutionContext, table: Table) -> bool:
    """Tell whether the run of a check writes its table; else the check is executed alone."""
    return asset_key(table) in context.job_def.asset_layer.selected_asset_keys
