"""Checks of whether the tables can be trusted."""

import dagster as dg

from churn_assets.assets.checks.conservation import readable_amounts, row_conservation
from churn_assets.assets.checks.contract import contract_checks
from churn_assets.assets.checks.performance import expected_performance, performance
from churn_assets.assets.checks.retention import retention_checks
from churn_assets.assets.drift import drift_checks
from churn_assets.tables import ASSET_TABLES

__all__ = ["asset_checks"]


def asset_checks() -> list[dg.AssetChecksDefinition]:
    """Return all checks of the graph, except those that an asset's own step yields."""
    return [
        row_conservation(),
        readable_amounts(),
        *(contract_checks(table) for table in ASSET_TABLES),
        expected_performance(),
        drift_checks(),
        performance(),
        retention_checks(),
    ]
