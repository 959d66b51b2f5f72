"""Databricks' pages about endpoints, of the one endpoint that this server has."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from churn_assets.serving.contract import ENDPOINT_NAME
from churn_assets.serving.published.state import Config, Entity, StateFolder
from churn_assets.serving.scoring.replies import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    ReplyError,
    refusal,
    reply,
)
from churn_assets.serving.server.access import Access

API = "/api/2.0/serving-endpoints"

VERSION_NUMBER = "[1-9][0-9]{0,17}"


class _Entity(msgspec.Struct):
    """What is understood of a served entity; the rest of Databricks' fields means nothing here."""

    entity_name: str
    entity_version: str
    name: str = ""
    workload_size: str = "Small"
    scale_to_zero_enabled: bool = True


class _Route(msgspec.Struct):
    traffic_percentage: int
    served_model_name: str = ""
    served_entity_name: str = ""


class _Traffic(msgspec.Struct):
    routes: list[_Route]


class _Wanted(msgspec.Struct):
    served_entities: list[_Entity]
    traffic_config: _Traffic | UnsetType | None = UNSET


class Management:
    """Shows the endpoint, and takes another configuration for it."""

    def __init__(self, state: StateFolder, access: Access, is_loaded: Callable[[], bool]) -> None:
        self._state = state
        self._access = access
        self._is_loaded = is_loaded

    def routes(self) -> list[Route]:
        """The pages."""
        one = API + "/{name}"
        logs = one + "/served-models/{served}"
        return [
            Route(API, self._page(self._list)),
            Route(one, self._page(self._get)),
            Route(one + "/config", self._page(self._put_config), methods=["PUT"]),
            Route(logs + "/build-logs", self._page(self._logs)),
            Route(logs + "/logs", self._page(self._logs)),
        ]

    def _page(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def page(request: Request) -> Response:
            try:
                self._access.require_token(request)
                name = request.path_params.get("name", ENDPOINT_NAME)
                if name != ENDPOINT_NAME:
                    raise NotFoundError(
                        f"There is no endpoint {name[:100]!r}; this server has {ENDPOINT_NAME}."
                    )
                return reply(await answer(request))
            except ReplyError as error:
                return refusal(error)

        return page

    async def _list(self, _request: Request) -> dict[str, Any]:
        return {"endpoints": [self._described()]}

    async def _get(self, _request: Request) -> dict[str, Any]:
        return self._described()

    async def _put_config(self, request: Request) -> dict[str, Any]:
        try:
            wanted = msgspec.json.decode(await self._access.body(request), type=_Wanted)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequestError(f"{error}. Expected served_entities.") from error
        if not self._state.ask(_config(wanted)):
            raise ConflictError(f"{ENDPOINT_NAME} is being updated; wait until it is NOT_UPDATING.")
        return self._described()

    async def _logs(self, request: Request) -> dict[str, Any]:
        endpoint = self._state.read()
        served = request.path_params["served"]
        config = endpoint.config
        known = [entity.served_name for entity in (config.serving, config.shadow) if entity] if config else []
        if endpoint.update == "UPDATE_FAILED":
            return {"logs": f"{endpoint.message}\n"}
        if served not in known:
            raise NotFoundError(
                f"{served[:100]!r} is not served; expected {' or '.join(known) or 'nothing'}."
            )
        return {"logs": f"{served} was loaded and answered.\n"}

    def _described(self) -> dict[str, Any]:
        # In this order: what is no longer wanted has been published by the time of the second look.
        wanted, endpoint = self._state.wanted(), self._state.read()
        update = "IN_PROGRESS" if wanted else endpoint.update
        described: dict[str, Any] = {
            "id": ENDPOINT_NAME,
            "name": ENDPOINT_NAME,
            "creation_timestamp": endpoint.created_at,
            "last_updated_timestamp": endpoint.updated_at,
            "state": {"ready": "READY" if endpoint.config else "NOT_READY", "config_update": update},
            "route_optimized": False,
            "permission_level": "CAN_MANAGE",
        }
        if endpoint.config:
            loaded = "" if self._is_loaded() else "Scaled to zero"
            described["config"] = {
                **_in_databricks_words(endpoint.config, endpoint.updated_at, loaded),
                "config_version": endpoint.config_version,
            }
        if wanted:
            described["pending_config"] = {
                **_in_databricks_words(wanted, endpoint.updated_at, "", "DEPLOYMENT_CREATING"),
                "config_version": endpoint.config_version + 1,
                "start_time": endpoint.updated_at,
            }
        return described


def _config(wanted: _Wanted) -> Config:
    """One entity that answers with all requests, and perhaps one that answers none: the shadow."""
    entities = [
        Entity(
            given.entity_name,
            given.entity_version,
            given.name,
            given.workload_size,
            given.scale_to_zero_enabled,
        )
        for given in wanted.served_entities
    ]
    for entity in entities:
        # Not isdigit(), which takes other scripts' digits; and 07 would be 7 under another name.
        if not re.fullmatch(VERSION_NUMBER, entity.entity_version):
            raise BadRequestError(
                f"entity_version is {entity.entity_version[:50]!r}; expected the number of a version."
            )
    shares = _shares(wanted, entities)
    answering = [entity for entity, share in zip(entities, shares, strict=True) if share == 100]
    silent = [entity for entity, share in zip(entities, shares, strict=True) if share == 0]
    if len(answering) != 1 or len(silent) > 1 or len(entities) != len(answering) + len(silent):
        raise BadRequestError(
            f"served_entities get {shares} % of the requests; expected one with 100 %, "
            "and at most one with 0 %, which scores in the shadow."
        )
    return Config(answering[0], silent[0] if silent else None)


def _shares(wanted: _Wanted, entities: list[Entity]) -> list[int]:
    if not wanted.traffic_config:
        return [100] + [0] * (len(entities) - 1) if len(entities) == 1 else [0] * len(entities)
    given = {
        route.served_entity_name or route.served_model_name: route.traffic_percentage
        for route in wanted.traffic_config.routes
    }
    unknown = given.keys() - {entity.served_name for entity in entities}
    if unknown:
        raise BadRequestError(f"traffic_config names {sorted(unknown)}, which served_entities does not have.")
    return [given.get(entity.served_name, 0) for entity in entities]


def _in_databricks_words(
    config: Config, since: int, message: str, deployment: str = "DEPLOYMENT_READY"
) -> dict[str, Any]:
    entities = [entity for entity in (config.serving, config.shadow) if entity]
    state = {"deployment": deployment, "deployment_state_message": message}
    return {
        "served_entities": [
            {
                **msgspec.structs.asdict(entity),
                "name": entity.served_name,
                "creation_timestamp": since,
                "state": state,
            }
            for entity in entities
        ],
        "traffic_config": {
            "routes": [
                {
                    "served_model_name": entity.served_name,
                    "served_entity_name": entity.served_name,
                    "traffic_percentage": 100 if entity is config.serving else 0,
                }
                for entity in entities
            ]
        },
    }
