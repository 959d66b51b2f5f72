"""What every asset that is a table says of itself, taken from its contract."""

from typing import Any

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.lakehouse.io_manager import column_metadata
from churn_assets.settings import Settings
from churn_assets.tables import Table

# Assets and specs; a type checker cannot choose among dg.asset's overloads where arguments are unpacked.
Assets = list[Any]

OWNERS = ["team:churn"]

# The engine, the lake that the I/O manager writes, and what takes the step to a cluster where there is one.
ON_SPARK = {"pyspark", "lakehouse", "pyspark_step_launcher"}

GROUPS = {"landing": "bronze", "clean": "silver", "gold": "gold"}


def retries(settings: Settings) -> dg.RetryPolicy | None:
    """For what fails around a step: a cluster that is lost, a workspace that does not answer.

    Only where steps run on machines of others. In one process what fails is this machine or the code, and
    ``churn run``, the sensors and the daily job each try again in their own time.
    """
    if settings.deployment != "databricks":
        return None
    return dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)


def table_spec(table: Table, settings: Settings) -> dict[str, Any]:
    """Arguments that ``AssetOut`` and ``asset`` share: key, group, description, kinds, owners, metadata."""
    physical = f"{getattr(settings, table.catalog)}.{table.schema}.{table.name}"
    return {
        "key": asset_key(table),
        "group_name": GROUPS[table.schema],
        "description": table.comment,
        "kinds": {"delta", "pyspark"},
        "owners": OWNERS,
        "metadata": {
            "dagster/table_name": physical,
            "write_mode": table.write_mode.value,
            "key": ", ".join(table.key) or "none",
            **column_metadata(table),
        },
    }


def table_asset(table: Table, settings: Settings) -> dict[str, Any]:
    """Arguments of an asset that returns a DataFrame for the lake to write."""
    return {
        **table_spec(table, settings),
        "io_manager_key": "lake_io",
        "required_resource_keys": ON_SPARK,
        "pool": pool(table),
        "retry_policy": retries(settings),
    }


def pool(table: Table) -> str:
    """The pool of one slot that lets one run at a time write the table."""
    return "__".join(asset_key(table).path)
