"""Contacts, which people import, and what they brought."""

from typing import Any

import dagster as dg
from pyspark.sql import DataFrame

from churn_assets.asset_keys import asset_key
from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import Assets, table_asset, table_spec
from churn_assets.assets.gold import reading
from churn_assets.assets.uplift import rows_to_learn_from
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.retention.ranking import ranking_in_force
from churn_assets.retention.save_rate import save_rate_in_force
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    OF_ALL,
    QUARANTINED_TREATMENTS,
    RETENTION_LIST,
    TREATMENT_OUTCOMES,
    TREATMENTS,
    USER_FEATURES,
    USERS,
)
from churn_assets.transforms import treatments as transforms

# What the outcomes are made of, and the entry of their metadata with the Delta version of each.
MADE_OF = (TREATMENTS, RETENTION_LIST, CHURN_LABELS)
READ_VERSIONS = "versions_read"


def treatment_assets(settings: Settings) -> Assets:
    """Return the treatments, which ``churn import --treatments`` writes, and their outcomes."""

    @dg.asset(
        **table_asset(TREATMENT_OUTCOMES, settings),
        ins={
            "treatments": reading(TREATMENTS),
            "listed": reading(RETENTION_LIST),
            "labels": reading(CHURN_LABELS),
            "features": reading(USER_FEATURES),
        },
        code_version=code_version(
            transforms.treatment_counts, settings.horizon_days, code_version(transforms.assigned_users)
        ),
    )
    def treatment_outcomes(
        context: dg.AssetExecutionContext,
        treatments: DataFrame,
        listed: DataFrame,
        labels: DataFrame,
        features: DataFrame,
    ) -> DataFrame:
        lake: Lakehouse = context.resources.lakehouse
        versions = versions_read(lake)
        rows = _rows(listed, treatments, labels, settings.horizon_days)
        for row in rows[:1]:
            row.update(_uplift_gain(row, listed, labels, features))
        context.add_output_metadata({READ_VERSIONS: versions, **_metadata(settings, rows)})
        return _as_frame(lake, rows)

    imported = [
        dg.AssetSpec(**table_spec(table, settings), deps=[asset_key(USERS)])
        for table in (TREATMENTS, QUARANTINED_TREATMENTS)
    ]
    return [*imported, treatment_outcomes]


def versions_read(lake: Lakehouse) -> str:
    """Return the Delta versions of what the outcomes are made of, as their metadata records them."""
    return ", ".join(f"{table.name} {lake.version(table)}" for table in MADE_OF)


def _rows(
    listed: DataFrame, treatments: DataFrame, labels: DataFrame, horizon_days: int
) -> list[dict[str, Any]]:
    # Not above: scipy.stats takes half a second to import, and most processes measure nothing.
    import pandas as pd

    from churn_assets.retention import outcomes

    counts = transforms.treatment_counts(listed, treatments, labels, horizon_days).collect()
    [use] = transforms.treatment_use(listed, treatments, horizon_days).collect()
    later = listed.count() - listed.select("user_id").distinct().count()
    columns = ("risk_band", "month", "is_contact", "channel", "churned", "users")
    dates = ("first_feature_date", "last_feature_date")
    frame = pd.DataFrame({name: [row[name] for row in counts] for name in (*columns, *dates)})
    return outcomes.outcome_rows(frame, {**use.asDict(), "later_listings": later})


def _uplift_gain(
    of_all: dict[str, Any], listed: DataFrame, labels: DataFrame, features: DataFrame
) -> dict[str, Any]:
    """Return what is said of uplift in the row of all users: nothing without a save rate."""
    if of_all["save_rate"] is None:
        return {"uplift_reason": of_all["reason"]}
    from churn_assets.retention.uplift import compared

    return compared(rows_to_learn_from(of_all, listed, labels, features), of_all["reached"])._asdict()


def _as_frame(lake: Lakehouse, rows: list[dict[str, Any]]) -> DataFrame:
    return lake.spark.createDataFrame(
        [tuple(row[name] for name in TREATMENT_OUTCOMES.column_names) for row in rows],
        ", ".join(f"{column.name} {column.type}" for column in TREATMENT_OUTCOMES.columns),
    )


def _metadata(settings: Settings, rows: list[dict[str, Any]]) -> dict[str, Any]:
    of_all = next((row for row in rows if row["dimension"] == OF_ALL), None)
    says = {
        "save_rate": save_rate_in_force(settings, of_all).says,
        "ranking": ranking_in_force(settings, of_all).says,
    }
    if of_all is None:
        return says
    counts = ("contact_users", "contacted_users", "control_users", "contacted_control_users")
    use = ("treatments", "treatments_not_listed", "treatments_outside_horizon", "treatments_repeated")
    return {**says, **{name: of_all[name] for name in (*counts, *use)}}
