"""The difference between Unity Catalog and what the deployment needs, by its API: no warehouse has to run."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from databricks.sdk.errors import NotFound, PermissionDenied

from churn_assets.databricks.catalog import model_owner
from churn_assets.databricks.catalog.sql import (
    WITHOUT_STORAGE,
    Grant,
    catalogs,
    external_location,
    grants,
    managed_location,
    volumes,
)
from churn_assets.databricks.client import patiently
from churn_assets.lakehouse.ddl import (
    differences,
    managed_primary_key,
    managed_properties,
    managed_tables,
    schemas,
)
from churn_assets.settings import Settings
from churn_assets.tables import Table

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


def missing(client: "WorkspaceClient", settings: Settings) -> list[str]:
    """List what is missing or different, one line each.

    The contents of a missing object are not listed as well.
    """
    return list(_Check(client, settings).problems())


class _Check:
    def __init__(self, client: "WorkspaceClient", settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._absent: set[str] = set()

    def problems(self) -> Iterator[str]:
        location = external_location(self._settings)
        if location and location.credential:
            yield from self._there("external location", location.name, self._client.external_locations.get)
        for name in catalogs(self._settings):
            yield from self._there("catalog", name, self._client.catalogs.get)
            if name in self._absent and not managed_location(self._settings, name) and self._lacks_storage():
                yield f"{name} needs a place, as {WITHOUT_STORAGE}"
        for name in schemas(self._settings):
            yield from self._there("schema", name, self._client.schemas.get)
        for name in volumes(self._settings):
            yield from self._there("volume", name, self._client.volumes.read)
        for table in managed_tables(self._settings):
            name = f"{getattr(self._settings, table.catalog)}.{table.schema}.{table.name}"
            yield from self._there(
                "table", name, self._client.tables.get, lambda info, t=table: _table(t, info)
            )
        for grant in grants(self._settings):
            yield from self._granted(grant)
        yield from self._model()

    def _there(
        self,
        kind: str,
        name: str,
        get: Callable[[str], Any],
        compare: Callable[[Any], list[str]] = lambda _: [],
    ) -> Iterator[str]:
        if self._lies_in_something_absent(name):
            return
        try:
            differing = compare(patiently(lambda: get(name)))
        except NotFound:
            self._absent.add(name)
            yield f"{kind} {name} is missing"
        except PermissionDenied:
            self._absent.add(name)
            yield f"{kind} {name} cannot be seen by this user"
        else:
            if differing:
                yield f"{kind} {name}: {'; '.join(differing)}"

    def _model(self) -> Iterator[str]:
        gold = f"{self._settings.main_catalog}.gold"
        if gold in self._absent or self._lies_in_something_absent(gold):
            return
        if problem := model_owner.problem(self._client, self._settings):
            yield problem

    def _lacks_storage(self) -> bool:
        try:
            return not patiently(self._client.metastores.summary).storage_root
        except PermissionDenied:
            return False

    def _granted(self, grant: Grant) -> Iterator[str]:
        if grant.name in self._absent or self._lies_in_something_absent(grant.name):
            return
        kind = grant.kind.lower().replace(" ", "_")
        path = f"/api/2.1/unity-catalog/permissions/{kind}/{grant.name}"
        try:
            # Not by grants.get, which drops what the SDK does not know, such as CREATE_MODEL_VERSION.
            answer: Any = patiently(
                lambda: self._client.api_client.do("GET", path, query={"principal": grant.principal})
            )
        except PermissionDenied:
            yield f"grants on {grant.kind.lower()} {grant.name} cannot be seen by this user"
            return
        has = {
            privilege.replace("_", " ")
            for assignment in answer.get("privilege_assignments", [])
            for privilege in assignment.get("privileges", [])
            if assignment["principal"] == grant.principal
        }
        lacking = [privilege for privilege in grant.privileges if privilege not in has]
        if lacking and "ALL PRIVILEGES" not in has:
            yield f"{grant.principal} lacks {', '.join(lacking)} on {grant.kind.lower()} {grant.name}"

    def _lies_in_something_absent(self, name: str) -> bool:
        parts = name.split(".")
        return any(".".join(parts[:depth]) in self._absent for depth in range(1, len(parts)))


def _table(table: Table, info: Any) -> list[str]:
    columns = sorted(info.columns or [], key=lambda column: column.position)
    partitions = sorted(
        (column for column in columns if column.partition_index is not None),
        key=lambda column: column.partition_index,
    )
    differing = differences(
        table, {column.name: column.type_text for column in columns}, [column.name for column in partitions]
    )
    properties = info.properties or {}
    differing += [
        f"property {key} is {properties.get(key, 'not set')} instead of {value}"
        for key, value in managed_properties(table).items()
        if properties.get(key) != value
    ]
    constraints = [constraint.primary_key_constraint for constraint in info.table_constraints or []]
    primary_key = next((key.child_columns for key in constraints if key), [])
    if (wanted := managed_primary_key(table)) and list(wanted) != primary_key:
        differing.append(f"its primary key is {primary_key or 'not set'} instead of {list(wanted)}")
    return differing
