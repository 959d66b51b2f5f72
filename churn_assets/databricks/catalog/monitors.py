"""Quality monitors of Unity Catalog: profiles and drift of a table by day, with a dashboard, by Databricks.

They are beside the platform's own drift checks, for who looks at a workspace and not at Dagster. A monitor is
paid for each time it computes, on serverless compute: once a day, after the nightly scores.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from databricks.sdk.errors import NotFound
from databricks.sdk.errors.base import DatabricksError

from churn_assets.databricks.client import patiently
from churn_assets.errors import one_line
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.catalog import MonitorInfo

FOLDER = "/Workspace/Shared/churn/monitors"
# An hour after the predictions of the night are due.
DAILY = "0 0 8 * * ?"
BY_DAY = ["1 day"]


def monitors(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return what is monitored by the table's full name: predictions as an inference log, features by day."""
    from databricks.sdk.service.catalog import (
        MonitorInferenceLog,
        MonitorInferenceLogProblemType,
        MonitorTimeSeries,
    )

    log = MonitorInferenceLog(
        timestamp_col="feature_date",
        granularities=BY_DAY,
        model_id_col="model_version",
        prediction_col="predicted_churn",
        problem_type=MonitorInferenceLogProblemType.PROBLEM_TYPE_CLASSIFICATION,
    )
    gold = f"{settings.main_catalog}.gold"
    return {
        f"{gold}.{CHURN_PREDICTIONS.name}": {"inference_log": log},
        f"{gold}.{USER_FEATURES.name}": {
            "time_series": MonitorTimeSeries(timestamp_col="feature_date", granularities=BY_DAY)
        },
    }


def set_up(
    client: "WorkspaceClient", settings: Settings, progress: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Make the monitors that are missing, and give those that differ what they should have.

    Returns:
        A line for each that could not be made: monitors are not offered everywhere, and nothing needs them.
    """
    notes = []
    for table, profile in monitors(settings).items():
        progress(f"quality monitor of {table}")
        try:
            _ensure(client, table, profile)
        except NotFound as error:
            notes.append(f"{table} has no quality monitor: {one_line(error)}. Run: churn setup --databricks")
        except DatabricksError as error:
            notes.append(
                f"{table} has no quality monitor: {one_line(error, with_class=True)}. It takes ownership of "
                "the table, serverless compute, and a region that has monitors; all else works without."
            )
    return notes


def _ensure(client: "WorkspaceClient", table: str, profile: dict[str, Any]) -> None:
    from databricks.sdk.service.catalog import MonitorCronSchedule

    api, schema = client.quality_monitors, table.rpartition(".")[0]
    schedule = MonitorCronSchedule(quartz_cron_expression=DAILY, timezone_id="UTC")
    try:
        found = patiently(lambda: api.get(table))
    except NotFound:
        patiently(
            lambda: api.create(
                table, f"{FOLDER}/{table}", output_schema_name=schema, schedule=schedule, **profile
            )
        )
        return
    if not _has(found, profile):
        # Who has another schedule keeps it, but an update without one would take it away.
        kept = found.schedule or schedule
        patiently(lambda: api.update(table, output_schema_name=schema, schedule=kept, **profile))


def _has(found: "MonitorInfo", profile: dict[str, Any]) -> bool:
    return all(getattr(found, name) == config for name, config in profile.items())
