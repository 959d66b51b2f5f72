"""Model Serving: endpoints whose versions are really loaded from an MLflow registry and asked.

Known differences from the real service: a build takes ``build_seconds`` and no container; an endpoint never
scales to zero; what it answers while it is not ready is not documented, here it is 400 INVALID_STATE;
inference tables are remembered, not written; traffic between several entities goes round in turn. Of
entities only registered models on CPU are known.
"""

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from databricks.sdk.service.serving import ServingEndpointsAPI

from churn_assets_tests.workspace import served_models
from churn_assets_tests.workspace.auth import USER
from churn_assets_tests.workspace.routing import Answer, ApiError, Call, Route, Violation, not_found

API = "/api/2.0/serving-endpoints"
SERVED = API + "/{name}/served-models/{served_model_name}"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
WORKLOAD_SIZES = ("Small", "Medium", "Large")
ENTITY_FIELDS = {"name", "entity_name", "entity_version", "workload_size", "scale_to_zero_enabled"}


@dataclass
class Build:
    """How a build ends: READY, UPDATE_FAILED or UPDATE_CANCELED; with what message and log."""

    end: str = "READY"
    message: str = ""
    log: Sequence[str] = ()


@dataclass
class Endpoint:
    """One endpoint: the configuration in force, the one being put in place, and how the last one ended."""

    name: str
    tags: dict[str, str]
    route_optimized: bool
    config: dict[str, Any] | None = None
    pending: dict[str, Any] | None = None
    update: str = "NOT_UPDATING"
    due: float = 0.0
    build: Build = field(default_factory=Build)
    ai_gateway: dict[str, Any] | None = None
    logs: dict[str, list[str]] = field(default_factory=dict)
    updates: int = 0
    queries: int = 0


class ServingEndpoints:
    """Endpoints by name.

    Attributes:
        registry_uri: of the MLflow registry that holds the versions, under the last part of their names.
        build_seconds: how long each update takes.
        builds: how the next updates end, in order; without one they succeed.
        catalogs: where inference tables may be; None: anywhere.
        endpoints: what there is.
    """

    def __init__(self) -> None:
        self.registry_uri = ""
        self.build_seconds = 0.1
        self.builds: list[Build] = []
        self.catalogs: set[str] | None = None
        self.endpoints: dict[str, Endpoint] = {}
        self._models: dict[tuple[str, str], Any] = {}
        self._lock = threading.RLock()

    def routes(self) -> list[Route]:
        """What the SDK's ``serving_endpoints`` calls."""
        api = ServingEndpointsAPI
        return [
            Route("GET", API, self._list),
            Route("POST", API, self._create, api.create),
            Route("GET", API + "/{name}", self._get),
            Route("DELETE", API + "/{name}", self._delete),
            Route("PUT", API + "/{name}/config", self._update, api.update_config),
            Route("PATCH", API + "/{name}/tags", self._patch_tags, api.patch),
            Route("PUT", API + "/{name}/ai-gateway", self._put_ai_gateway, api.put_ai_gateway),
            Route("GET", SERVED + "/build-logs", self._logs),
            Route("GET", SERVED + "/logs", self._logs),
            Route("POST", "/serving-endpoints/{name}/invocations", self._query, api.query),
        ]

    def _list(self, _call: Call) -> dict[str, Any]:
        with self._lock:
            return {"endpoints": [self._described(self._current(name)) for name in self.endpoints]}

    def _get(self, call: Call) -> dict[str, Any]:
        with self._lock:
            return self._described(self._current(call.params["name"]))

    def _create(self, call: Call) -> dict[str, Any]:
        _acts_on(call.fields, {"name", "config", "tags", "route_optimized"}, "create")
        name = call.fields["name"]
        if not NAME.fullmatch(name):
            raise Violation(f"Endpoint name {name!r} may hold letters, digits, dashes and underscores only.")
        with self._lock:
            if name in self.endpoints:
                raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Endpoint with name '{name}' already exists.")
            config = self._checked(call.fields.get("config") or {})
            tags = {tag["key"]: tag.get("value", "") for tag in call.fields.get("tags") or []}
            endpoint = Endpoint(name, tags, bool(call.fields.get("route_optimized")))
            self.endpoints[name] = endpoint
            return self._begin(endpoint, config)

    def _update(self, call: Call) -> dict[str, Any]:
        _acts_on(call.fields, {"served_entities", "traffic_config"}, "update_config")
        with self._lock:
            endpoint = self._current(call.params["name"])
            if endpoint.update == "IN_PROGRESS":
                raise ApiError(
                    409,
                    "RESOURCE_CONFLICT",
                    f"Endpoint '{endpoint.name}' is currently being updated; try again later.",
                )
            return self._begin(endpoint, self._checked(call.fields))

    def _delete(self, call: Call) -> None:
        with self._lock:
            self._current(call.params["name"])
            del self.endpoints[call.params["name"]]

    def _patch_tags(self, call: Call) -> list[dict[str, str]]:
        with self._lock:
            endpoint = self._current(call.params["name"])
            endpoint.tags |= {tag["key"]: tag.get("value", "") for tag in call.fields.get("add_tags") or []}
            for key in call.fields.get("delete_tags") or []:
                endpoint.tags.pop(key, None)
            return _as_list(endpoint.tags)

    def _put_ai_gateway(self, call: Call) -> dict[str, Any]:
        # The rest is kept, and without effect. A PUT replaces: what is not sent is gone.
        kept = {"fallback_config", "guardrails", "rate_limits", "usage_tracking_config"}
        _acts_on(call.fields, {"inference_table_config", *kept}, "put_ai_gateway")
        table = call.fields["inference_table_config"]
        with self._lock:
            endpoint = self._current(call.params["name"])
            if self.catalogs is not None and table["catalog_name"] not in self.catalogs:
                raise ApiError(403, "PERMISSION_DENIED", f"No CREATE TABLE on {table['catalog_name']}.")
            endpoint.ai_gateway = {name: value for name, value in call.fields.items() if value is not None}
            return endpoint.ai_gateway

    def _logs(self, call: Call) -> dict[str, str]:
        with self._lock:
            logs = self._current(call.params["name"]).logs
        served_name = call.params["served_model_name"]
        if served_name not in logs:
            raise not_found("Served model", served_name)
        return {"logs": "\n".join(logs[served_name])}

    def _query(self, call: Call) -> Answer:
        with self._lock:
            endpoint = self._current(call.params["name"])
            if endpoint.config is None:
                raise ApiError(400, "INVALID_STATE", f"Endpoint '{endpoint.name}' is not ready.")
            endpoint.queries += 1
            entity = _routed(endpoint.config, endpoint.queries)
            model = self._models[entity["entity_name"], entity["entity_version"]]
        _acts_on(call.fields, {"dataframe_records", "dataframe_split", "inputs"}, "an invocation")
        headers = {"content-type": "application/json", "served-model-name": entity["name"]}
        return Answer(served_models.predictions(model, call.fields), headers=headers)

    def _current(self, name: str) -> Endpoint:
        """The endpoint, after whatever has become due."""
        if name not in self.endpoints:
            raise not_found("Endpoint", name)
        endpoint = self.endpoints[name]
        if endpoint.update == "IN_PROGRESS" and time.monotonic() >= endpoint.due and endpoint.pending:
            self._end(endpoint, endpoint.pending)
        return endpoint

    def _begin(self, endpoint: Endpoint, config: dict[str, Any]) -> dict[str, Any]:
        endpoint.updates += 1
        endpoint.build = self.builds.pop(0) if self.builds else Build()
        endpoint.pending = config | {
            "config_version": ((endpoint.config or {}).get("config_version") or 0) + 1,
            "start_time": time.time_ns() // 1_000_000,
        }
        endpoint.update = "IN_PROGRESS"
        endpoint.due = time.monotonic() + self.build_seconds
        for entity in endpoint.pending["served_entities"]:
            entity["state"] = {
                "deployment": "DEPLOYMENT_CREATING",
                "deployment_state_message": "Building.",
            }
            endpoint.logs[entity["name"]] = ["Building container for model.", *endpoint.build.log]
        return self._described(endpoint)

    def _end(self, endpoint: Endpoint, pending: dict[str, Any]) -> None:
        if endpoint.build.end == "READY":
            endpoint.config = {key: value for key, value in pending.items() if key != "start_time"}
            endpoint.pending, endpoint.update = None, "NOT_UPDATING"
            deployment, message = "DEPLOYMENT_READY", ""
        else:
            endpoint.update = endpoint.build.end
            failed = endpoint.build.end == "UPDATE_FAILED"
            deployment = "DEPLOYMENT_FAILED" if failed else "DEPLOYMENT_ABORTED"
            message = endpoint.build.message
        for entity in pending["served_entities"]:
            entity["state"] = {"deployment": deployment, "deployment_state_message": message}

    def _checked(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration, if the service would take it; its versions are loaded from the registry."""
        _acts_on(config, {"served_entities", "traffic_config"}, "config")
        entities = [dict(entity) for entity in config.get("served_entities") or []]
        if not 1 <= len(entities) <= 10:
            raise Violation(f"{len(entities)} served entities; an endpoint has 1 to 10.")
        for entity in entities:
            _acts_on(entity, ENTITY_FIELDS, "a served entity")
            if entity.get("workload_size") not in WORKLOAD_SIZES:
                raise Violation(
                    f"workload_size {entity.get('workload_size')!r}; expected one of {WORKLOAD_SIZES}."
                )
            if "scale_to_zero_enabled" not in entity:
                raise Violation("Missing required field: scale_to_zero_enabled.")
            entity.setdefault(
                "name", f"{entity['entity_name'].rpartition('.')[2]}-{entity['entity_version']}"
            )
            self._load(entity["entity_name"], entity["entity_version"])
        names = [entity["name"] for entity in entities]
        traffic = config.get("traffic_config") or {
            "routes": [{"served_model_name": names[0], "traffic_percentage": 100}]
        }
        routed = [route["served_model_name"] for route in traffic["routes"]]
        if len(set(names)) != len(names) or sorted(routed) != sorted(names):
            raise Violation(f"Routes lead to {routed}, served entities are {names}.")
        if sum(route["traffic_percentage"] for route in traffic["routes"]) != 100:
            raise Violation("Traffic percentages must sum up to 100.")
        return {"served_entities": entities, "traffic_config": traffic}

    def _load(self, entity_name: str, version: str) -> None:
        if (entity_name, version) not in self._models:
            if not version.isdigit():
                raise Violation(
                    f"entity_version {version!r} is no number; aliases and stages are not served."
                )
            self._models[entity_name, version] = served_models.load(self.registry_uri, entity_name, version)

    def _described(self, endpoint: Endpoint) -> dict[str, Any]:
        return {
            "name": endpoint.name,
            "id": f"{abs(hash(endpoint.name)):032x}",
            "creator": USER,
            "state": {
                "ready": "READY" if endpoint.config else "NOT_READY",
                "config_update": endpoint.update,
            },
            "tags": _as_list(endpoint.tags),
            "route_optimized": endpoint.route_optimized,
            "permission_level": "CAN_MANAGE",
            **({"config": endpoint.config} if endpoint.config else {}),
            **({"pending_config": endpoint.pending} if endpoint.pending else {}),
            **({"ai_gateway": endpoint.ai_gateway} if endpoint.ai_gateway else {}),
        }


def _routed(config: Mapping[str, Any], turn: int) -> Mapping[str, Any]:
    """The entity whose turn it is among a hundred requests."""
    routes = config["traffic_config"]["routes"]
    names = [route["served_model_name"] for route in routes for _ in range(route["traffic_percentage"])]
    return next(entity for entity in config["served_entities"] if entity["name"] == names[turn % 100])


def _acts_on(fields: Mapping[str, Any], known: set[str], where: str) -> None:
    if ignored := [name for name, value in fields.items() if name not in known and value is not None]:
        raise Violation(f"{where} with {ignored} is not emulated.")


def _as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
