"""Which function answers which request, and errors in the service's shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import compile_path

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
    query: Mapping[str, str]
    fields: Mapping[str, Any]
    body: bytes
    headers: Mapping[str, str]
    user: str


@dataclass(frozen=True)
class Answer:
    """An answer that is not just JSON with status 200."""

    content: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """An error of the service: answered as ``{"error_code": …, "message": …}``."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Violation(ApiError):
    """A request that the real service cannot have meant to get: it also fails the test."""

    def __init__(self, message: str, status: int = 400, code: str = "INVALID_PARAMETER_VALUE") -> None:
        super().__init__(status, code, message)


class Route:
    """A method and a path pattern, such as ``/api/2.0/fs/files{path:path}``, and the function that answers.

    Args:
        like: a method of databricks-sdk whose arguments are the fields that the query or body may have.
        fields: type hints of more fields, or of all of them if there is no ``like``; ``X | None`` may be missing.
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
        found = self.pattern.match(path) if method == self.method else None
        return found.groupdict() if found else None


def not_found(what: str, name: object) -> ApiError:
    """The error for something that does not exist."""
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"{what} {name} does not exist.")
