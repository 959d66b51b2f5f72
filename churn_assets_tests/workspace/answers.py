"""Answers, and errors in the service's shape."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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

    def answer(self, **headers: str) -> Answer:
        """The error as the service tells it."""
        return json_answer({"error_code": self.code, "message": self.message}, self.status, **headers)


class Violation(ApiError):  # noqa: N818 - it is an ApiError; the name says what it is for the test
    """A request that the real service cannot have meant to get: it also fails the test."""

    def __init__(self, message: str, status: int = 400, code: str = "INVALID_PARAMETER_VALUE") -> None:
        super().__init__(status, code, message)


def json_answer(value: Any, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON."""
    return Answer(json.dumps(value).encode(), status, {"content-type": "application/json", **headers})


def not_found(what: str, name: object) -> ApiError:
    """The error for something that does not exist."""
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"{what} {name} does not exist.")
