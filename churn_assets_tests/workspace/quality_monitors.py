"""Quality monitors: remembered, with the service's refusals, and never computed.

* One profile of three; a table has one monitor, and the caller owns the table
  (docs.databricks.com/api/workspace/qualitymonitors/create, and the SDK's text of it).
* Time windows: "5 minutes", "30 minutes", "1 hour", "1 day", "<n> week(s)", "1 month", "1 year"; the
  timestamp column is one that ``to_timestamp`` takes (…/lakehouse-monitoring/create-monitor-api).
* What a workspace without monitors answers is not documented: here 400 FEATURE_DISABLED.
"""

import re
from collections.abc import Callable
from typing import Any

from databricks.sdk.service.catalog import QualityMonitorsAPI
from deltalake import DeltaTable

from churn_assets_tests.workspace.routing import ApiError, Call, Route, Violation, not_found
from churn_assets_tests.workspace.runtime.emulated_databricks.unity import Unity

PATH = "/api/2.1/unity-catalog/tables/{table_name}/monitor"
PROFILES = ("inference_log", "time_series", "snapshot")
WINDOW = re.compile(r"5 minutes|30 minutes|1 hour|1 day|\d+ weeks?|1 month|1 year")
TIMES = ("date", "timestamp", "timestamp_ntz", "string")


class QualityMonitors:
    """The monitors by the table's full name.

    Args:
        unity: the metastore.

    Attributes:
        monitors: what there is.
        enabled: whether the workspace has monitors.
        owners: who owns the tables; None: everybody who asks.
    """

    def __init__(self, unity: Callable[[], Unity]) -> None:
        self._unity = unity
        self.monitors: dict[str, dict[str, Any]] = {}
        self.enabled = True
        self.owners: set[str] | None = None

    def routes(self) -> list[Route]:
        """Unity Catalog 2.1."""
        api = QualityMonitorsAPI
        return [
            Route("GET", PATH, self._get),
            Route("POST", PATH, self._create, api.create),
            Route("PUT", PATH, self._update, api.update),
        ]

    def _get(self, call: Call) -> dict[str, Any]:
        self._require_available()
        name = call.params["table_name"]
        if name not in self.monitors:
            raise not_found("Monitor for table", name)
        return self.monitors[name]

    def _create(self, call: Call) -> dict[str, Any]:
        self._require_available()
        name = call.params["table_name"]
        self._require_owner(call)
        if name in self.monitors:
            raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"A monitor for table {name} already exists.")
        if not call.fields["assets_dir"].startswith("/"):
            raise Violation("assets_dir must be an absolute workspace path.")
        self.monitors[name] = self._checked(call) | {
            "table_name": name,
            "status": "MONITOR_STATUS_PENDING",
            "monitor_version": "0",
            "assets_dir": call.fields["assets_dir"],
            "profile_metrics_table_name": f"{name}_profile_metrics",
            "drift_metrics_table_name": f"{name}_drift_metrics",
        }
        return self.monitors[name]

    def _update(self, call: Call) -> dict[str, Any]:
        self._get(call)
        self._require_owner(call)
        name = call.params["table_name"]
        kept = {
            key: value for key, value in self.monitors[name].items() if key not in (*PROFILES, "schedule")
        }
        self.monitors[name] = kept | self._checked(call)
        return self.monitors[name]

    def _checked(self, call: Call) -> dict[str, Any]:
        fields = call.fields
        if unusual := fields.keys() - {*PROFILES, "assets_dir", "output_schema_name", "schedule"}:
            raise Violation(f"{sorted(unusual)} of a monitor are not emulated.")
        table = self._unity().get("table", call.params["table_name"])
        if table is None:
            raise not_found("Table", call.params["table_name"])
        if not self._unity().get("schema", fields["output_schema_name"]):
            raise ApiError(
                404, "SCHEMA_DOES_NOT_EXIST", f"Schema '{fields['output_schema_name']}' does not exist."
            )
        profiles = [name for name in PROFILES if fields.get(name) is not None]
        if len(profiles) != 1:
            raise Violation(f"A monitor has one of {PROFILES}, and this one {profiles}.")
        config = fields[profiles[0]]
        types = {
            field.name: str(getattr(field.type, "type", field.type))
            for field in DeltaTable(table["location"]).schema().fields
        }
        for key, column in config.items():
            if key.endswith("_col") and column not in types:
                raise ApiError(
                    400, "INVALID_PARAMETER_VALUE", f"Column {column} does not exist in the table."
                )
        if "timestamp_col" in config and types[config["timestamp_col"]] not in TIMES:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"{config['timestamp_col']} is no timestamp.")
        if bad := [one for one in config.get("granularities", []) if not WINDOW.fullmatch(one)]:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Granularities {bad} are not supported.")
        return {
            name: fields[name] for name in (*profiles, "output_schema_name", "schedule") if name in fields
        }

    def _require_available(self) -> None:
        if not self.enabled:
            raise ApiError(400, "FEATURE_DISABLED", "Lakehouse monitoring is not enabled for this workspace.")

    def _require_owner(self, call: Call) -> None:
        if self.owners is not None and call.user not in self.owners:
            name = call.params["table_name"]
            raise ApiError(403, "PERMISSION_DENIED", f"User is not an owner of Table '{name}'.")
