"""The whole asset graph of one deployment: its assets, checks, jobs, schedules, sensors and resources."""

from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster_shared.utils.warnings import disable_dagster_warnings

from churn_assets.assets.bronze import bronze_assets
from churn_assets.assets.by_date import by_date_specs
from churn_assets.assets.checks import asset_checks
from churn_assets.assets.common import retries
from churn_assets.assets.drift import drift_assets
from churn_assets.assets.endpoint import endpoint_assets, endpoint_schedules
from churn_assets.assets.gold import gold_assets
from churn_assets.assets.model import model_assets
from churn_assets.assets.outcomes import outcome_assets
from churn_assets.assets.predictions import prediction_assets
from churn_assets.assets.promotions import promotion_assets
from churn_assets.assets.reasons import reason_assets
from churn_assets.assets.retention import retention_assets
from churn_assets.assets.silver import silver_assets
from churn_assets.assets.treatments import treatment_assets
from churn_assets.automation.alerts.alerts import alert_sensors
from churn_assets.automation.maintenance.weekly import maintenance_job, maintenance_schedule
from churn_assets.automation.runs.jobs import INGEST
from churn_assets.automation.staleness.freshness import with_freshness
from churn_assets.automation.triggers.conditions import (
    added_assets_sensor,
    automation_sensor,
    with_conditions,
)
from churn_assets.automation.triggers.date_watch import date_sensors
from churn_assets.automation.triggers.schedules import pipeline_job, pipeline_schedule
from churn_assets.automation.triggers.sensors import sensors
from churn_assets.resources import launched, resources
from churn_assets.settings import Settings


def build_defs(settings: Settings, **overrides: Any) -> dg.Definitions:
    """Build the graph.

    Args:
        settings: which deployment, and where everything is.
        overrides: resources by key, in place of those of the deployment.
    """
    assets = [
        *bronze_assets(settings),
        *silver_assets(settings),
        *by_date_specs(settings),
        *gold_assets(settings),
        *model_assets(settings),
        *prediction_assets(settings),
        *reason_assets(settings),
        *drift_assets(settings),
        *retention_assets(settings),
        *outcome_assets(settings),
        *promotion_assets(settings),
        *treatment_assets(settings),
        *endpoint_assets(retries(settings)),
    ]
    ours = [key for asset in assets for key in _keys(asset)]
    pipeline = pipeline_job(settings, lambda: build_defs(settings, **overrides))
    maintenance = maintenance_job(settings)
    return dg.Definitions(
        assets=launched(settings, with_conditions(with_freshness(with_code(assets), settings), settings)),
        asset_checks=launched(settings, asset_checks()),
        jobs=[INGEST, pipeline, maintenance],
        schedules=[*endpoint_schedules(), pipeline_schedule(pipeline), maintenance_schedule(maintenance)],
        sensors=[
            *alert_sensors(settings),
            *date_sensors(settings),
            *sensors(settings),
            automation_sensor(ours),
            added_assets_sensor(ours),
        ],
        resources={**resources(settings), **overrides},
        # One process a run: its steps share an engine that has started.
        executor=dg.in_process_executor,
    )


def with_code(assets: list[Any]) -> list[Any]:
    """Return the assets with links to their code, which the UI opens in an editor."""
    # It is beta, and each run's log need not say so.
    with disable_dagster_warnings():
        return list(dg.with_source_code_references(assets))


def _keys(asset: dg.AssetsDefinition | dg.AssetSpec) -> Iterable[dg.AssetKey]:
    return [asset.key] if isinstance(asset, dg.AssetSpec) else asset.keys
