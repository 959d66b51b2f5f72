"""The DBFS API of a new workspace: its root is disabled, and every request is refused."""

from collections.abc import Callable
from typing import Any

from databricks.sdk.service.files import DbfsAPI

from churn_assets_tests.workspace.routing import ApiError, Call, Route

# dbfs:/Volumes/... is another way to write a volume's path, and no DBFS root.
VOLUMES = "dbfs:/Volumes/"


def refusal(path: str) -> ApiError:
    """What the service says to anything in the root: users quote it as "Public DBFS root is disabled"."""
    return ApiError(
        403, "PERMISSION_DENIED", f"Public DBFS root is disabled. Access is denied on path: {path}"
    )


def in_root(path: str) -> bool:
    """Whether a path lies in the DBFS root."""
    return path.startswith(("dbfs:/", "/dbfs/")) and not path.startswith(VOLUMES)


def routes() -> list[Route]:
    """The routes by which the stock step launcher stages, and those around them."""

    def refused(call: Call) -> None:
        raise refusal(call.fields.get("path", "/"))

    def route(method: str, name: str, like: Callable[..., Any]) -> Route:
        return Route(method, f"/api/2.0/dbfs/{name}", refused, like)

    return [
        route("POST", "create", DbfsAPI.create),
        route("POST", "put", DbfsAPI.put),
        route("GET", "read", DbfsAPI.read),
        route("GET", "get-status", DbfsAPI.get_status),
        route("GET", "list", DbfsAPI.list),
        route("POST", "delete", DbfsAPI.delete),
        route("POST", "mkdirs", DbfsAPI.mkdirs),
    ]
