"""Permissions of jobs, clusters and the like: remembered, not enforced."""

from typing import Any

from databricks.sdk.service.iam import PermissionsAPI

from churn_assets_tests.workspace.auth import USER
from churn_assets_tests.workspace.routing import ApiError, Call, Route, Violation

PATH = "/api/2.0/permissions/{request_object_type}/{request_object_id}"
LEVELS = {
    "jobs": {"CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"},
    "clusters": {"CAN_ATTACH_TO", "CAN_RESTART", "CAN_MANAGE"},
    "instance-pools": {"CAN_ATTACH_TO", "CAN_MANAGE"},
    "serving-endpoints": {"CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"},
    "registered-models": {"CAN_READ", "CAN_EDIT", "CAN_MANAGE"},
    "sql/warehouses": {"CAN_VIEW", "CAN_MONITOR", "CAN_USE", "CAN_MANAGE"},
    "directories": {"CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE"},
    "files": {"CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE"},
}
WHO = ("user_name", "group_name", "service_principal_name")


class Permissions:
    """Access lists by object type and id.

    Attributes:
        granted: levels by (type, id) and then by user, group or service principal.
    """

    def __init__(self) -> None:
        self.granted: dict[tuple[str, str], dict[tuple[str, str], str]] = {}

    def routes(self) -> list[Route]:
        """Permissions API 2.0."""
        return [
            Route("GET", PATH, self._get, PermissionsAPI.get),
            Route("PATCH", PATH, self._update, PermissionsAPI.update),
            Route("PUT", PATH, self._set, PermissionsAPI.set),
        ]

    def grant(self, kind: str, identifier: str, entries: list[dict[str, Any]]) -> None:
        """Add entries to an access list.

        Raises:
            ApiError: the level does not exist for such an object.
        """
        if kind not in LEVELS:
            raise Violation(f"Permissions of {kind} are not emulated.")
        granted = self.granted.setdefault((kind, identifier), {("user_name", USER): "IS_OWNER"})
        for entry in entries:
            who = [name for name in WHO if entry.get(name)]
            if len(who) != 1:
                raise ApiError(400, "INVALID_PARAMETER_VALUE", f"An entry names one of {WHO}, not {who}.")
            if entry.get("permission_level") not in LEVELS[kind]:
                level = entry.get("permission_level")
                raise ApiError(
                    400, "INVALID_PARAMETER_VALUE", f"{level} is not one of {sorted(LEVELS[kind])}."
                )
            # https://docs.databricks.com/aws/en/jobs/privileges: "… the owner of a job … can't be a group".
            if kind == "jobs" and entry["permission_level"] == "IS_OWNER" and who[0] == "group_name":
                raise ApiError(400, "INVALID_PARAMETER_VALUE", "A group cannot be the owner of a job.")
            granted[who[0], entry[who[0]]] = entry["permission_level"]

    def _get(self, call: Call) -> dict[str, Any]:
        kind, identifier = call.params["request_object_type"], call.params["request_object_id"]
        self.grant(kind, identifier, [])
        entries = [
            {who: name, "all_permissions": [{"permission_level": level, "inherited": False}]}
            for (who, name), level in self.granted[kind, identifier].items()
        ]
        return {"object_id": f"/{kind}/{identifier}", "object_type": kind, "access_control_list": entries}

    def _update(self, call: Call) -> dict[str, Any]:
        kind, identifier = call.params["request_object_type"], call.params["request_object_id"]
        self.grant(kind, identifier, call.fields.get("access_control_list") or [])
        return self._get(call)

    def _set(self, call: Call) -> dict[str, Any]:
        self.granted.pop((call.params["request_object_type"], call.params["request_object_id"]), None)
        return self._update(call)
