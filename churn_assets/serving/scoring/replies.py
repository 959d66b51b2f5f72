"""HTTP answers: JSON, and errors in Databricks' shape."""

from collections.abc import Mapping
from typing import Any, TypedDict

import orjson
from starlette.responses import Response


class ErrorBody(TypedDict):
    """Databricks' code for the error, and one line that says what to do."""

    error_code: str
    message: str


class ReplyError(Exception):
    """A request that is answered with an error: HTTP status, Databricks' code for it, and one line.

    The docstrings of the subclasses are the descriptions in the OpenAPI document.
    """

    status = 500
    error_code = "INTERNAL_ERROR"
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


class BadRequestError(ReplyError):
    """The request is wrong; the message names the place."""

    status, error_code = 400, "BAD_REQUEST"


class UnauthenticatedError(ReplyError):
    """The request has no token."""

    status, error_code = 401, "UNAUTHENTICATED"
    headers = {"www-authenticate": "Bearer"}  # noqa: RUF012 - never changed


class ForbiddenError(ReplyError):
    """The token is not this endpoint's."""

    status, error_code = 403, "PERMISSION_DENIED"


class NotFoundError(ReplyError):
    """There is no such endpoint or served entity, or all users of the request are unknown."""

    status, error_code = 404, "RESOURCE_DOES_NOT_EXIST"


class TimedOutError(ReplyError):
    """The body did not arrive in time."""

    status, error_code = 408, "REQUEST_TIMEOUT"
    headers = {"connection": "close"}  # noqa: RUF012 - never changed


class ConflictError(ReplyError):
    """Another update is in progress."""

    status, error_code = 409, "RESOURCE_CONFLICT"


class TooLargeError(ReplyError):
    """The body is too large, as sent or unpacked."""

    status, error_code = 413, "REQUEST_TOO_LARGE"
    # The rest of the body is not read.
    headers = {"connection": "close"}  # noqa: RUF012 - never changed


class UnsupportedMediaError(ReplyError):
    """The content type is not JSON, or the encoding is not gzip."""

    status, error_code = 415, "UNSUPPORTED_MEDIA_TYPE"


class BusyError(ReplyError):
    """Too many large requests at once."""

    # As of an endpoint of Databricks that has more requests than it may work on at once:
    # https://docs.databricks.com/aws/en/machine-learning/model-serving/model-serving-limits
    status, error_code = 429, "REQUEST_LIMIT_EXCEEDED"
    headers = {"retry-after": "1", "connection": "close"}  # noqa: RUF012 - never changed


class UnavailableError(ReplyError):
    """No model is served yet, or no features are published for the look-up."""

    status, error_code = 503, "TEMPORARILY_UNAVAILABLE"
    headers = {"retry-after": "5"}  # noqa: RUF012 - never changed


class _JsonResponse(Response):
    """A response whose few headers are encoded without a look for others."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the length, the type and these headers, whose names are in small letters."""
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
        ]
        for name, value in (headers or {}).items():
            self.raw_headers.append((name.encode("latin-1"), value.encode("latin-1")))


def reply(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return plain values and numpy arrays as a JSON response."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return _JsonResponse(body, status, headers)


def refusal(error: ReplyError) -> Response:
    """Return an error as a JSON response."""
    content: ErrorBody = {"error_code": error.error_code, "message": str(error)}
    return reply(content, error.status, error.headers)
