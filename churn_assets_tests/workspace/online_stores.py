"""Online feature stores: tables that are copied there by key, and the pipelines that copy.

Refused, as the service refuses it:

* A source without a primary key, with NULL allowed in its key, or without the change data feed; a store that
  is not AVAILABLE (docs.databricks.com/aws/en/machine-learning/feature-store/online-feature-store,
  "Prerequisites for publishing to online stores"). The texts are not documented.
* A capacity that is none of CU_1, CU_2, CU_4, CU_8; a name of a table that does not have three parts; a mode
  that databricks-sdk 0.60 does not know (its ``OnlineStore`` and ``PublishSpec``).
* A name with an underscore, as a store has a DNS name; an online table with its source's name, or one that
  exists: published twice, it "already exists" (public notebooks that do so, seen in November 2026).
* An update of a pipeline beside another: "If there is already an active update for the pipeline, the request
  will fail" (databricks-sdk's ``pipelines.start_update``).

A copy takes no time, unless ``busy`` says so. Postgres, in which the service keeps it, is not there.
"""

import re
import secrets
from typing import Any

from databricks.sdk.service.ml import FeatureStoreAPI
from databricks.sdk.service.pipelines import PipelinesAPI
from deltalake import DeltaTable

from churn_assets_tests.workspace.catalog import Catalog
from churn_assets_tests.workspace.routing import ApiError, Call, Route, Violation, not_found

API = "/api/2.0/feature-store"
CAPACITIES = ("CU_1", "CU_2", "CU_4", "CU_8")
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


class OnlineStores:
    """All online stores and online tables of the workspace.

    Args:
        catalog: Unity Catalog, which knows the tables.

    Attributes:
        stores: their records by name.
        tables: the rows of each online table by key, as they were last copied.
        enabled: whether the workspace has online stores.
        busy: how many requests for an update find another one active.
        updates: the pipelines that were updated, in order.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._sources: dict[str, tuple[str, str]] = {}
        self.stores: dict[str, dict[str, Any]] = {}
        self.tables: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self.enabled = True
        self.busy = 0
        self.updates: list[str] = []

    def routes(self) -> list[Route]:
        """Feature Store API 2.0, and of Pipelines what starts a copy."""
        stores = f"{API}/online-stores"
        fields = {"name": str, "capacity": str}
        return [
            Route("POST", stores, self._create, fields=fields),
            Route("GET", f"{stores}/{{name}}", self._get, FeatureStoreAPI.get_online_store),
            Route(
                "POST",
                f"{API}/tables/{{source_table_name}}/publish",
                self._publish,
                FeatureStoreAPI.publish_table,
            ),
            Route(
                "POST", "/api/2.0/pipelines/{pipeline_id}/updates", self._update, PipelinesAPI.start_update
            ),
        ]

    def _create(self, call: Call) -> dict[str, Any]:
        self._require_enabled()
        name = call.fields["name"]
        if not NAME.fullmatch(name):
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"The name {name} is no DNS label.")
        if call.fields["capacity"] not in CAPACITIES:
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"capacity must be one of {CAPACITIES}.")
        if name in self.stores:
            raise ApiError(409, "RESOURCE_ALREADY_EXISTS", f"Online store {name} already exists.")
        self.stores[name] = {**call.fields, "state": "AVAILABLE", "read_replica_count": 0}
        return self.stores[name]

    def _get(self, call: Call) -> dict[str, Any]:
        self._require_enabled()
        if call.params["name"] not in self.stores:
            raise not_found("Online store", call.params["name"])
        return self.stores[call.params["name"]]

    def _publish(self, call: Call) -> dict[str, Any]:
        self._require_enabled()
        spec, source = call.fields["publish_spec"], call.params["source_table_name"]
        name, store = spec["online_table_name"], spec["online_store"]
        table = self._catalog.unity.get("table", source)
        if table is None:
            raise not_found("Table", source)
        if store not in self.stores:
            raise not_found("Online store", store)
        if name.count(".") != 2:
            raise Violation(f"online_table_name {name!r} does not have three parts.")
        if self.stores[store]["state"] != "AVAILABLE":
            raise _refused(f"Online store {store} is not AVAILABLE.")
        if name == source or name in self.tables or self._catalog.unity.get("table", name):
            raise ApiError(409, "RESOURCE_ALREADY_EXISTS", f"Table '{name}' already exists.")
        key = table.get("primary_key")
        if not key:
            raise _refused(f"Table {source} has no primary key.")
        nullable = {field.name for field in DeltaTable(table["location"]).schema().fields if field.nullable}
        if nullable & set(key):
            raise _refused(f"Primary key columns {key} of {source} may be NULL.")
        if table["properties"].get("delta.enableChangeDataFeed") != "true":
            raise _refused(f"Change data feed is not enabled on {source}.")
        pipeline_id = secrets.token_hex(16)
        self._sources[pipeline_id] = (source, name)
        self._catalog.online[name] = {"table_type": "FOREIGN", "pipeline_id": pipeline_id}
        self._copy(pipeline_id)
        return {"online_table_name": name, "pipeline_id": pipeline_id}

    def _update(self, call: Call) -> dict[str, Any]:
        pipeline_id = call.params["pipeline_id"]
        if pipeline_id not in self._sources:
            raise not_found("Pipeline", pipeline_id)
        if call.fields:
            raise Violation(f"An update with {sorted(call.fields)} is not emulated.")
        if self.busy:
            self.busy -= 1
            raise ApiError(409, "RESOURCE_CONFLICT", f"An active update already exists for {pipeline_id}.")
        self._copy(pipeline_id)
        self.updates.append(pipeline_id)
        return {"update_id": secrets.token_hex(16)}

    def _copy(self, pipeline_id: str) -> None:
        source, name = self._sources[pipeline_id]
        table = self._catalog.unity.require("table", source)
        rows = DeltaTable(table["location"]).to_pyarrow_table().to_pylist()
        self.tables[name] = {tuple(row[column] for column in table["primary_key"]): row for row in rows}

    def _require_enabled(self) -> None:
        if not self.enabled:
            raise ApiError(400, "FEATURE_DISABLED", "Online stores are not enabled for this workspace.")


def _refused(message: str) -> ApiError:
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)
