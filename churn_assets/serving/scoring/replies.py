"""Answers: JSON, and errors in Databricks' shape."""

from typing import Any

import orjson
from starlette.responses import Response


class ReplyError(Exception):
    """A request that gets an error for an answer: its status, Databricks' code for it, and one line."""

    status = 500
    error_code = "INTERNAL_ERROR"
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


class BadRequestError(ReplyError):
    """The request is wrong; the message says where."""

    status, error_code = 400, "BAD_REQUEST"


class UnauthenticatedError(ReplyError):
    """There is no token."""

    status, error_code = 401, "UNAUTHENTICATED"
    headers = {"www-authenticate": "Bearer"}  # noqa: RUF012 - never changed


class ForbiddenError(ReplyError):
    """The token is not the one."""

    status, error_code = 403, "PERMISSION_DENIED"


class NotFoundError(ReplyError):
    """There is no such endpoint, user or page."""

    status, error_code = 404, "RESOURCE_DOES_NOT_EXIST"


class TimedOutError(ReplyError):
    """The body did not arrive."""

    status, error_code = 408, "REQUEST_TIMEOUT"
    headers = {"connection": "close"}  # noqa: RUF012 - never changed


class ConflictError(ReplyError):
    """Another change is under way."""

    status, error_code = 409, "RESOURCE_CONFLICT"


class TooLargeError(ReplyError):
    """The body is larger than the server takes."""

    status, error_code = 413, "REQUEST_TOO_LARGE"
    # What is left of the body is not read.
    headers = {"connection": "close"}  # noqa: RUF012 - never changed


class UnsupportedMediaError(ReplyError):
    """The body is no JSON, by its own header."""

    status, error_code = 415, "UNSUPPORTED_MEDIA_TYPE"


class UnavailableError(ReplyError):
    """Not now: there is no model, or what the model needs."""

    status, error_code = 503, "TEMPORARILY_UNAVAILABLE"
    headers = {"retry-after": "5"}  # noqa: RUF012 - never changed


def reply(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON of plain values and numpy arrays."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


def refusal(error: ReplyError) -> Response:
    """The error in Databricks' shape."""
    return reply({"error_code": error.error_code, "message": str(error)}, error.status, error.headers)
