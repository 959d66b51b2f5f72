"""Databricks' API for serving endpoints, for the one endpoint of this server."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.serving.published.state import VERSION_NUMBER, Config, Entity, StateFolder
from churn_assets.serving.scoring.replies import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    ReplyError,
    UnavailableError,
    refusal,
    reply,
)
from churn_assets.serving.server.access import Access
from churn_assets.serving.server.messages import (
    ConfigBody,
    ConfigDetails,
    EndpointDetails,
    EndpointList,
    EntityDetails,
    EntityState,
    Logs,
    RouteDetails,
)
from churn_assets.serving.server.openapi import DescribedRoute, Operation

API = "/api/2.0/serving-endpoints"

Answer = Callable[[Request], Awaitable[Any]]

# A configuration names one or two versions.
MAX_CONFIG_BYTES = 64 * 1024


class Management:
    """The routes that show the endpoint, which the scoring token may see, and that update its configuration.

    As on Databricks, where CAN QUERY gets an endpoint and only CAN MANAGE updates it:
    https://docs.databricks.com/aws/en/security/auth/access-control/#serving-endpoint-acls
    """

    def __init__(self, state: StateFolder, access: Access, is_loaded: Callable[[], bool]) -> None:
        self._state = state
        self._access = access
        self._is_loaded = is_loaded

    def routes(self) -> list[DescribedRoute]:
        """Return the routes."""
        endpoint = API + "/{name}"
        served_model = endpoint + "/served-models/{served}"
        logs = Operation(summary="The log of a served entity", reply=Logs)
        return [
            DescribedRoute(
                API,
                self._with_token(self._list),
                Operation(summary="The endpoints, in Databricks' shape", reply=EndpointList),
            ),
            DescribedRoute(
                endpoint,
                self._with_token(self._get),
                Operation(summary="The endpoint, in Databricks' shape", reply=EndpointDetails),
            ),
            DescribedRoute(
                endpoint + "/config",
                self._with_admin_token(self._put_config),
                Operation(
                    summary="Start an update to another configuration; the endpoint's state shows its end",
                    bodies=(ConfigBody,),
                    reply=EndpointDetails,
                    errors=(ConflictError, UnavailableError),
                ),
                "PUT",
            ),
            DescribedRoute(served_model + "/build-logs", self._with_admin_token(self._logs), logs),
            DescribedRoute(served_model + "/logs", self._with_admin_token(self._logs), logs),
        ]

    def _with_token(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        return self._checked(self._access.require_token, answer)

    def _with_admin_token(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        return self._checked(self._access.require_admin_token, answer)

    @staticmethod
    def _checked(
        require: Callable[[Request], None], answer: Answer
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                require(request)
                name = request.path_params.get("name", ENDPOINT_NAME)
                if name != ENDPOINT_NAME:
                    raise NotFoundError(
                        f"There is no endpoint {name[:100]!r}; this server has {ENDPOINT_NAME}."
                    )
                return reply(await answer(request))
            except ReplyError as error:
                return refusal(error)

        return endpoint

    async def _list(self, request: Request) -> EndpointList:
        return {"endpoints": [self._details(request)]}

    async def _get(self, request: Request) -> EndpointDetails:
        return self._details(request)

    async def _put_config(self, request: Request) -> EndpointDetails:
        try:
            body = msgspec.json.decode(await self._access.body(request, MAX_CONFIG_BYTES), type=ConfigBody)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequestError(f"{error}. Expected served_entities.") from error
        config = _config(body)
        try:
            is_taken = self._state.request_update(config)
        except OSError as error:
            raise UnavailableError(
                f"The update cannot be written to {self._state.folder}: {error.strerror}."
            ) from error
        if not is_taken:
            raise ConflictError(f"{ENDPOINT_NAME} is being updated; wait until it is NOT_UPDATING.")
        return self._details(request)

    async def _logs(self, request: Request) -> Logs:
        endpoint = self._state.read()
        served = request.path_params["served"]
        config = endpoint.config
        known = [entity.served_name for entity in config.entities] if config else []
        if endpoint.update == "UPDATE_FAILED":
            return {"logs": f"{endpoint.message}\n"}
        if served not in known:
            raise NotFoundError(
                f"{served[:100]!r} is not served; expected {' or '.join(known) or 'nothing'}."
            )
        return {"logs": f"{served} was loaded and answered.\n"}

    def _details(self, request: Request) -> EndpointDetails:
        # In this order: an update that is no longer pending is in the endpoint that is read after it.
        pending, endpoint = self._state.pending_update(), self._state.read()
        update = "IN_PROGRESS" if pending else endpoint.update
        details: EndpointDetails = {
            "id": ENDPOINT_NAME,
            "name": ENDPOINT_NAME,
            "creation_timestamp": endpoint.created_at,
            "last_updated_timestamp": endpoint.updated_at,
            "state": {"ready": "READY" if endpoint.config else "NOT_READY", "config_update": update},
            "route_optimized": False,
            "permission_level": "CAN_MANAGE" if self._access.is_admin(request) else "CAN_QUERY",
        }
        if endpoint.config:
            loaded = "" if self._is_loaded() else "Scaled to zero"
            state: EntityState = {"deployment": "DEPLOYMENT_READY", "deployment_state_message": loaded}
            details["config"] = _config_details(
                endpoint.config, endpoint.config_version, endpoint.updated_at, state
            )
        if pending:
            state = {"deployment": "DEPLOYMENT_CREATING", "deployment_state_message": ""}
            details["pending_config"] = {
                **_config_details(pending, endpoint.config_version + 1, endpoint.updated_at, state),
                "start_time": endpoint.updated_at,
            }
        return details


def _config(body: ConfigBody) -> Config:
    """Return the entity that answers all requests, and the shadow, if any, that answers none."""
    entities = body.served_entities
    for entity in entities:
        # isdigit() accepts digits of other scripts, and 07 would be a second name of 7.
        if not re.fullmatch(VERSION_NUMBER, entity.entity_version):
            raise BadRequestError(
                f"entity_version is {entity.entity_version[:50]!r}; expected the number of a version."
            )
    shares = _shares(body)
    answering = [entity for entity, share in zip(entities, shares, strict=True) if share == 100]
    silent = [entity for entity, share in zip(entities, shares, strict=True) if share == 0]
    if len(answering) != 1 or len(silent) > 1 or len(entities) != len(answering) + len(silent):
        raise BadRequestError(
            f"served_entities get {shares} % of the requests; expected one with 100 %, "
            "and at most one with 0 %, which scores in the shadow."
        )
    return Config(answering[0], silent[0] if silent else None)


def _shares(body: ConfigBody) -> list[int]:
    """Return the percentage of the requests that each entity gets."""
    entities = body.served_entities
    if not body.traffic_config:
        return [100] if len(entities) == 1 else [0] * len(entities)
    shares = {
        route.served_entity_name or route.served_model_name: route.traffic_percentage
        for route in body.traffic_config.routes
    }
    unknown = shares.keys() - {entity.served_name for entity in entities}
    if unknown:
        raise BadRequestError(f"traffic_config names {sorted(unknown)}, which served_entities does not have.")
    return [shares.get(entity.served_name, 0) for entity in entities]


def _config_details(config: Config, version: int, created_at: int, state: EntityState) -> ConfigDetails:
    entities = config.entities
    return {
        "served_entities": [_entity_details(entity, created_at, state) for entity in entities],
        "traffic_config": {
            "routes": [_route_details(entity, 100 if entity is config.serving else 0) for entity in entities]
        },
        "config_version": version,
    }


def _entity_details(entity: Entity, created_at: int, state: EntityState) -> EntityDetails:
    return {
        "entity_name": entity.entity_name,
        "entity_version": entity.entity_version,
        "name": entity.served_name,
        "workload_size": entity.workload_size,
        "scale_to_zero_enabled": entity.scale_to_zero_enabled,
        "creation_timestamp": created_at,
        "state": state,
    }


def _route_details(entity: Entity, percentage: int) -> RouteDetails:
    return {
        "served_model_name": entity.served_name,
        "served_entity_name": entity.served_name,
        "traffic_percentage": percentage,
    }
