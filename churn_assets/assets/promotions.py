"""The asset ``model_promotions``: the champions, each with the time and the cause of its promotion."""

import datetime as dt
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame

from churn_assets.assets.common import Assets, table_asset
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import MODEL_PROMOTIONS

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def promotion_assets(settings: Settings) -> Assets:
    """Return the promotions asset."""

    @dg.asset(
        **table_asset(MODEL_PROMOTIONS, settings),
        deps=[CHURN_PREDICTION_MODEL],
    )
    def model_promotions(context: dg.AssetExecutionContext) -> DataFrame:
        from churn_assets.model.registry import promotions

        lake: Lakehouse = context.resources.lakehouse
        recorded = recorded_promotions(lake)
        added = promotions.new_rows(settings, recorded)
        context.add_output_metadata(_champion(settings, [*recorded, *added]))
        return _as_frame(lake, added)

    return [model_promotions]


def promotion_rows(lake: Lakehouse, recorded: list[dict[str, Any]]) -> DataFrame:
    """Return the rows that the registry's tags add to those that are recorded."""
    from churn_assets.model.registry import promotions

    return _as_frame(lake, promotions.new_rows(lake.settings, recorded))


def _as_frame(lake: Lakehouse, rows: list[dict[str, Any]]) -> DataFrame:
    return lake.spark.createDataFrame(
        [tuple(row[name] for name in MODEL_PROMOTIONS.column_names) for row in rows],
        ", ".join(f"{column.name} {column.type}" for column in MODEL_PROMOTIONS.columns),
    )


def recorded_promotions(lake: Lakehouse) -> list[dict[str, Any]]:
    """Read the rows of ``model_promotions`` in their order, ``promoted_at`` in UTC; empty without a table."""
    if lake.version(MODEL_PROMOTIONS) < 0:
        return []
    # Microseconds, because PySpark collects timestamps in the machine's own zone.
    rows = lake.query(
        "SELECT *, unix_micros(promoted_at) AS promoted_us FROM {promotions} ORDER BY promotion",
        promotions=MODEL_PROMOTIONS,
    )
    return [
        {
            **{name: row[name] for name in MODEL_PROMOTIONS.column_names},
            "promoted_at": EPOCH + dt.timedelta(microseconds=int(row["promoted_us"])),
        }
        for row in rows
    ]


def _champion(settings: Settings, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return metadata of the present champion, from the last row unless the alias has been removed."""
    from churn_assets.model.registry import registry

    production = registry.production_version(settings)
    if production is None:
        return {"champion": "none"}
    last = rows[-1]
    return {
        "champion": str(production.version),
        "champion_since": dg.MetadataValue.timestamp(last["promoted_at"]),
        "cause": last["cause"],
        "reason": last["reason"],
    }
