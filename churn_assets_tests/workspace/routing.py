"""Which function answers which request."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams
from starlette.routing import compile_path

from churn_assets_tests.workspace.answers import Answer, ApiError, Violation, json_answer, not_found
from churn_assets_tests.workspace.shapes import check_fields, fields_of, parse_query

__all__ = ["Answer", "ApiError", "Call", "Handler", "Route", "Violation", "json_answer", "not_found"]

Handler = Callable[["Call"], "Answer | dict[str, Any] | list[Any] | None"]


@dataclass(frozen=True)
class Call:
    """One request, after it was recognised and its fields were checked.

    Attributes:
        method: GET, POST …
        path: decoded, without the query.
        params: what the path holds in place of ``{name}``.
        query: as it came, for routes that look at it themselves.
        fields: the query's or the JSON body's fields; the query's are converted to their types.
        body: the body's bytes.
        headers: with lower-case names.
        user: who asks: a user name, or a service principal's application id.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: QueryParams
    fields: Mapping[str, Any]
    body: bytes
    headers: Mapping[str, str]
    user: str


class Route:
    """A method, a path pattern such as ``/api/2.0/fs/files{path:path}``, and the function that answers.

    Args:
        like: a method of databricks-sdk whose arguments are the fields that the query or body may have.
        fields: type hints of more fields, or of all of them if there is no ``like``; ``X | None``: optional.
        anything: the handler looks at query and body itself.
        public: needs no token.
    """

    def __init__(
        self,
        method: str,
        path: str,
        handler: Handler,
        like: Callable[..., Any] | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
        anything: bool = False,
        public: bool = False,
    ) -> None:
        self.method = method
        self.pattern, _, self._convertors = compile_path(path)
        self.handler = handler
        self.like = like
        self.fields = dict(fields or {})
        self.anything = anything
        self.public = public

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """What the path holds in place of ``{name}``; None if this route does not answer it."""
        matched = self.pattern.match(path) if method == self.method else None
        return matched.groupdict() if matched else None

    def check(
        self, params: Mapping[str, str], path: str, query: list[tuple[str, str]], body: bytes
    ) -> dict[str, Any]:
        """The request's fields: of the body for POST, PUT and PATCH, of the query otherwise.

        Raises:
            Violation: one is unknown, missing or of another type, or they are in the wrong place.
        """
        allowed = {**(fields_of(self.like) if self.like else {}), **self.fields}
        allowed = {name: hint for name, hint in allowed.items() if name not in params}
        if self.method in ("GET", "HEAD", "DELETE"):
            if body not in (b"", b"{}"):
                raise Violation(f"{self.method} {path} has a body of {len(body)} bytes.")
            return parse_query(query, allowed, path)
        if query:
            raise Violation(f"{self.method} {path} has a query: {query}.")
        try:
            fields = json.loads(body or b"{}")
        except ValueError as error:
            raise Violation(f"Malformed JSON in {path}: {error}.", code="MALFORMED_REQUEST") from error
        if not isinstance(fields, dict):
            raise Violation(f"The body of {path} is not an object.", code="MALFORMED_REQUEST")
        check_fields(fields, allowed, path)
        return fields
