"""Routes that describe themselves, and the OpenAPI document made from them.

The document does not name the model's features, because reading it takes no token.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.serving.scoring.replies import (
    BadRequestError,
    ErrorBody,
    ForbiddenError,
    NotFoundError,
    ReplyError,
    TimedOutError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedMediaError,
)

Schema = dict[str, Any]

TOKEN_ERRORS = (UnauthenticatedError, ForbiddenError)
BODY_ERRORS = (BadRequestError, TimedOutError, TooLargeError, UnsupportedMediaError)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """The description of a route.

    A request sends exactly one of ``bodies`` as JSON. ``reply`` is the message type of the answer, which is
    text without one. ``headers`` holds OpenAPI's header objects by name. ``errors`` are added to those that
    follow from the token, the body and the path. ``is_public`` routes need no token.
    """

    summary: str
    bodies: tuple[type, ...] = ()
    reply: type | None = None
    headers: Mapping[str, Schema] = field(default_factory=dict)
    errors: tuple[type[ReplyError], ...] = ()
    is_public: bool = False


class DescribedRoute(Route):
    """A route with its description, without which it cannot be made."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        operation: Operation,
        method: str = "GET",
    ) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.method = method
        self.operation = operation


def document(routes: Sequence[DescribedRoute]) -> Schema:
    """Return the OpenAPI 3.1 document of these routes. It takes some milliseconds: keep it."""
    types = list(dict.fromkeys(_message_types(routes)))
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Schema]] = {}
    for route in routes:
        # The server has one endpoint, so its name is no parameter to a reader of the document.
        path = route.path_format.replace("{name}", ENDPOINT_NAME)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": ENDPOINT_NAME, "version": "1"},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _message_types(routes: Sequence[DescribedRoute]) -> Iterator[type]:
    yield ErrorBody
    for route in routes:
        yield from route.operation.bodies
        if route.operation.reply:
            yield route.operation.reply


def _operation(route: DescribedRoute, schema_of: Mapping[type, Schema]) -> Schema:
    operation = route.operation
    error_content = _json(schema_of[ErrorBody])
    if operation.reply:
        content = _json(schema_of[operation.reply])
    else:
        content = {"text/plain": {"schema": {"type": "string"}}}
        if operation.is_public:
            error_content = content
    answer: Schema = {"description": operation.summary, "content": content}
    if operation.headers:
        answer["headers"] = dict(operation.headers)
    described: Schema = {
        "summary": operation.summary,
        "responses": {
            "200": answer,
            **{
                str(error.status): {"description": inspect.getdoc(error), "content": error_content}
                for error in _errors(route)
            },
        },
    }
    if parameters := [name for name in route.param_convertors if name != "name"]:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in parameters
        ]
    if operation.bodies:
        schemas = [schema_of[body] for body in operation.bodies]
        schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
        described["requestBody"] = {"required": True, "content": _json(schema)}
    if operation.is_public:
        described["security"] = []
    return described


def _errors(route: DescribedRoute) -> list[type[ReplyError]]:
    errors = list(route.operation.errors)
    if not route.operation.is_public:
        errors += TOKEN_ERRORS
    if route.operation.bodies:
        errors += BODY_ERRORS
    if route.param_convertors:
        errors.append(NotFoundError)
    return sorted(set(errors), key=lambda error: error.status)


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
