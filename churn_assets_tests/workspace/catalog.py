"""Unity Catalog's API over what the emulated metastore knows: looking, creating, and permissions."""

import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

from databricks.sdk.service.catalog import (
    CatalogsAPI,
    ExternalLocationsAPI,
    GrantsAPI,
    MetastoresAPI,
    SchemasAPI,
    TablesAPI,
    VolumesAPI,
)
from deltalake import DeltaTable

from churn_assets_tests.workspace.auth import USER
from churn_assets_tests.workspace.routing import ApiError, Call, Handler, Route, Violation
from churn_assets_tests.workspace.runtime.emulated_databricks.unity import Unity, UnityError

API = "/api/2.1/unity-catalog"
# Delta's own names for the types that Databricks calls otherwise, and its name for each in an answer.
TYPES = {"long": ("bigint", "LONG"), "integer": ("int", "INT")}

CREATED_WITH = {"name", "catalog_name", "schema_name", "comment", "volume_type", "managed_location"}
# Of a new account: no ``storage_root``.
METASTORE = {"metastore_id": "6f1d3c1e-0000-4000-8000-000000000001", "name": "metastore", "cloud": "aws"}


class Catalog:
    """The API of the metastore. Changes beyond creating are SQL's.

    Args:
        folder: of the workspace.

    Attributes:
        online: the copies in online stores, which are no Delta tables, by name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.online: dict[str, dict[str, Any]] = {}

    @cached_property
    def unity(self) -> Unity:
        """The metastore, which clusters and the warehouse share."""
        return Unity(self._folder)

    def routes(self) -> list[Route]:
        """Unity Catalog 2.1. A ``get`` may ask for what can only be browsed, which is nothing here."""
        return [
            Route("GET", f"{API}/metastore_summary", lambda _: METASTORE, MetastoresAPI.summary),
            Route("GET", f"{API}/catalogs", self._list("catalog", "catalogs"), CatalogsAPI.list),
            Route("GET", f"{API}/catalogs/{{name}}", self._get("catalog"), CatalogsAPI.get),
            Route("POST", f"{API}/catalogs", self._create("catalog"), CatalogsAPI.create),
            Route("GET", f"{API}/schemas", self._list("schema", "schemas"), SchemasAPI.list),
            Route("GET", f"{API}/schemas/{{full_name}}", self._get("schema"), SchemasAPI.get),
            Route("POST", f"{API}/schemas", self._create("schema"), SchemasAPI.create),
            Route("GET", f"{API}/volumes", self._list("volume", "volumes"), VolumesAPI.list),
            Route("GET", f"{API}/volumes/{{name}}", self._get("volume"), VolumesAPI.read),
            Route("POST", f"{API}/volumes", self._create("volume"), VolumesAPI.create),
            Route("GET", f"{API}/tables", self._list("table", "tables"), TablesAPI.list),
            Route("GET", f"{API}/tables/{{full_name}}", self._get("table"), TablesAPI.get),
            Route("GET", f"{API}/tables/{{full_name}}/exists", self._exists, TablesAPI.exists),
            Route(
                "GET",
                f"{API}/external-locations",
                self._list("external location", "external_locations"),
                ExternalLocationsAPI.list,
            ),
            Route(
                "GET",
                f"{API}/external-locations/{{name}}",
                self._get("external location"),
                ExternalLocationsAPI.get,
            ),
            Route("GET", f"{API}/permissions/{{securable_type}}/{{full_name}}", self._grants, GrantsAPI.get),
            Route(
                "PATCH", f"{API}/permissions/{{securable_type}}/{{full_name}}", self._update, GrantsAPI.update
            ),
        ]

    def _get(self, kind: str) -> Handler:
        def get(call: Call) -> dict[str, Any]:
            name = call.params.get("full_name") or call.params["name"]
            if kind == "table" and name in self.online:
                return {"full_name": name, **self.online[name]}
            return _answered(self._require(kind, name))

        return get

    def _list(self, kind: str, field: str) -> Handler:
        def listed(call: Call) -> dict[str, Any]:
            parent = ".".join(
                call.fields[name] for name in ("catalog_name", "schema_name") if name in call.fields
            )
            return {field: [_answered(securable) for securable in self.unity.all(kind, parent)]}

        return listed

    def _create(self, kind: str) -> Handler:
        def create(call: Call) -> dict[str, Any]:
            fields = dict(call.fields)
            if kind == "catalog" and "storage_root" in fields:
                fields["managed_location"] = fields.pop("storage_root")
            if unusual := fields.keys() - CREATED_WITH:
                raise Violation(f"{sorted(unusual)} of a new {kind} are not emulated.")
            if fields.pop("volume_type", "MANAGED") != "MANAGED":
                raise Violation("External volumes are not emulated.")
            parents = [fields.pop(name) for name in ("catalog_name", "schema_name") if name in fields]
            name = ".".join([*parents, fields.pop("name")])
            try:
                self.unity.create(kind, name, if_not_exists=False, **fields)
            except UnityError as error:
                status = 400 if "ALREADY_EXISTS" in error.code or error.code == "INVALID_STATE" else 404
                raise ApiError(status, error.code, str(error)) from error
            return _answered(self._require(kind, name))

        return create

    def _exists(self, call: Call) -> dict[str, Any]:
        return {"table_exists": self.unity.get("table", call.params["full_name"]) is not None}

    def _grants(self, call: Call) -> dict[str, Any]:
        kind = _kind(call)
        self._require(kind, call.params["full_name"])
        return self._assignments(kind, call.params["full_name"], call.fields.get("principal"))

    def _update(self, call: Call) -> dict[str, Any]:
        kind, name = _kind(call), call.params["full_name"]
        self._require(kind, name)
        for change in call.fields.get("changes") or []:
            add, remove = (
                {privilege.replace("_", " ") for privilege in change.get(field) or []}
                for field in ("add", "remove")
            )
            try:
                self.unity.grant(kind, name, change["principal"], add)
            except UnityError as error:
                raise Violation(str(error)) from error
            self.unity.revoke(kind, name, change["principal"], remove)
        return self._assignments(kind, name, None)

    def _assignments(self, kind: str, name: str, principal: str | None) -> dict[str, Any]:
        return {
            "privilege_assignments": [
                {"principal": who, "privileges": [privilege.replace(" ", "_") for privilege in privileges]}
                for who, privileges in self.unity.grants(kind, name).items()
                if principal in (None, who)
            ]
        }

    def _require(self, kind: str, name: str) -> dict[str, Any]:
        try:
            return self.unity.require(kind, name)
        except UnityError as error:
            code = f"{kind.upper().replace(' ', '_')}_DOES_NOT_EXIST"
            raise ApiError(404, code, f"{kind.capitalize()} '{name}' does not exist.") from error


def _kind(call: Call) -> str:
    kind = call.params["securable_type"].lower().replace("_", " ")
    if kind not in ("catalog", "schema", "volume", "table", "external location"):
        raise Violation(f"Permissions on {call.params['securable_type']} are not emulated.")
    return kind


def _answered(securable: dict[str, Any]) -> dict[str, Any]:
    """A securable as the API tells it."""
    parts = securable["name"].split(".")
    answer = {
        "name": parts[-1],
        "full_name": securable["name"],
        "comment": securable.get("comment", ""),
        "owner": USER,
        "created_at": securable["created_at"],
    }
    if len(parts) > 1:
        answer["catalog_name"] = parts[0]
    if len(parts) > 2:
        answer["schema_name"] = parts[1]
    match securable["kind"]:
        case "catalog" | "schema" if "managed_location" in securable:
            answer["storage_root"] = securable["managed_location"]
        case "volume":
            answer["volume_type"] = "MANAGED"
        case "external location":
            answer |= {"url": securable["url"], "credential_name": securable["credential"]}
        case "table":
            answer |= _table(securable)
    return answer


def table_id(name: str) -> str:
    """The id that the metastore gives a table, which is not the one in its Delta log."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _table(securable: dict[str, Any]) -> dict[str, Any]:
    delta = DeltaTable(securable["location"])
    partitions = delta.metadata().partition_columns
    columns = []
    for position, field in enumerate(delta.schema().fields):
        name = str(getattr(field.type, "type", field.type))
        text, type_name = TYPES.get(name, (name, name.upper()))
        column = {
            "name": field.name,
            "position": position,
            "type_text": text,
            "type_name": type_name,
            "nullable": field.nullable,
            "comment": field.metadata.get("comment", ""),
        }
        if field.name in partitions:
            column["partition_index"] = partitions.index(field.name)
        columns.append(column)
    key = {"name": "key", "child_columns": securable.get("primary_key")}
    return {
        **({"table_constraints": [{"primary_key_constraint": key}]} if key["child_columns"] else {}),
        "table_id": table_id(securable["name"]),
        "table_type": "MANAGED",
        "data_source_format": "DELTA",
        "columns": columns,
        "storage_location": securable["location"],
        "properties": securable["properties"],
    }
