"""The DBFS API, with the switch that new workspaces have turned off."""

import base64
import binascii
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from databricks.sdk.service.files import DbfsAPI

from churn_assets_tests.workspace.routing import ApiError, Call, Handler, Route
from churn_assets_tests.workspace.storage import below, modified_ms, write_whole

MAX_BLOCK = 1024 * 1024


class Dbfs:
    """Files of the public DBFS root, in the folder ``dbfs``.

    Attributes:
        enabled: False answers everything with 403, as workspaces created since 2025 do.
    """

    def __init__(self, folder: Path, *, enabled: bool) -> None:
        self._root = folder / "dbfs"
        self.enabled = enabled
        self._handles: dict[int, tuple[Path, bytearray]] = {}
        self._ids = itertools.count(1)

    def local(self, path: str) -> Path:
        """The real path of ``/x`` or ``dbfs:/x``."""
        return below(self._root, path.removeprefix("dbfs:"))

    def routes(self) -> list[Route]:
        """Streams, whole files, listings."""

        def route(method: str, name: str, handler: Handler, like: Callable[..., Any]) -> Route:
            return Route(method, f"/api/2.0/dbfs/{name}", self._guarded(handler), like)

        return [
            route("POST", "create", self._create, DbfsAPI.create),
            route("POST", "add-block", self._add_block, DbfsAPI.add_block),
            route("POST", "close", self._close, DbfsAPI.close),
            route("POST", "put", self._put, DbfsAPI.put),
            route("GET", "read", self._read, DbfsAPI.read),
            route("GET", "get-status", self._get_status, DbfsAPI.get_status),
            route("GET", "list", self._list, DbfsAPI.list),
            route("POST", "delete", self._delete, DbfsAPI.delete),
            route("POST", "mkdirs", self._mkdirs, DbfsAPI.mkdirs),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        def guarded(call: Call) -> Any:
            if not self.enabled:
                path = call.fields.get("path", "/")
                message = f"Public DBFS root is disabled. Access is denied on path: {path}"
                raise ApiError(403, "PERMISSION_DENIED", message)
            return handler(call)

        return guarded

    def _create(self, call: Call) -> dict[str, Any]:
        target = self.local(call.fields["path"])
        if target.exists() and not call.fields.get("overwrite"):
            raise ApiError(
                400,
                "RESOURCE_ALREADY_EXISTS",
                f"A file or directory already exists at {call.fields['path']}.",
            )
        handle = next(self._ids)
        self._handles[handle] = (target, bytearray())
        return {"handle": handle}

    def _stream(self, call: Call) -> tuple[Path, bytearray]:
        handle = call.fields["handle"]
        if handle not in self._handles:
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"No stream is open for handle {handle}.")
        return self._handles[handle]

    def _add_block(self, call: Call) -> None:
        _, content = self._stream(call)
        content += _decoded(call.fields["data"])

    def _close(self, call: Call) -> None:
        target, content = self._stream(call)
        write_whole(target, bytes(content))
        del self._handles[call.fields["handle"]]

    def _put(self, call: Call) -> None:
        target = self.local(call.fields["path"])
        if target.exists() and not call.fields.get("overwrite"):
            raise ApiError(
                400,
                "RESOURCE_ALREADY_EXISTS",
                f"A file or directory already exists at {call.fields['path']}.",
            )
        write_whole(target, _decoded(call.fields.get("contents") or ""))

    def _read(self, call: Call) -> dict[str, Any]:
        source = self._existing(call)
        if source.is_dir():
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Cannot read a directory: {call.fields['path']}")
        length = call.fields.get("length") or MAX_BLOCK
        if length > MAX_BLOCK:
            raise ApiError(400, "MAX_READ_SIZE_EXCEEDED", f"The read length {length} exceeds {MAX_BLOCK}.")
        offset = call.fields.get("offset") or 0
        data = source.read_bytes()[offset : offset + length]
        return {"bytes_read": len(data), "data": base64.b64encode(data).decode()}

    def _existing(self, call: Call) -> Path:
        path = self.local(call.fields["path"])
        if not path.exists() and path != self._root:
            message = f"No file or directory exists on path {call.fields['path']}."
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", message)
        return path

    def _get_status(self, call: Call) -> dict[str, Any]:
        return self._status(self._existing(call))

    def _list(self, call: Call) -> dict[str, Any]:
        path = self._existing(call)
        files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
        return {"files": [self._status(file) for file in files]}

    def _status(self, path: Path) -> dict[str, Any]:
        return {
            "path": f"/{path.relative_to(self._root)}" if path != self._root else "/",
            "is_dir": path.is_dir(),
            "file_size": 0 if path.is_dir() else path.stat().st_size,
            "modification_time": modified_ms(path),
        }

    def _delete(self, call: Call) -> None:
        path = self.local(call.fields["path"])
        if path.is_dir():
            if any(path.iterdir()) and not call.fields.get("recursive"):
                raise ApiError(400, "IO_ERROR", f"{call.fields['path']} is a non-empty directory.")
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _mkdirs(self, call: Call) -> None:
        self.local(call.fields["path"]).mkdir(parents=True, exist_ok=True)


def _decoded(data: str) -> bytes:
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"The data is not base64: {error}.") from error
    if len(content) > MAX_BLOCK:
        raise ApiError(
            400, "MAX_BLOCK_SIZE_EXCEEDED", f"A block of {len(content)} bytes exceeds {MAX_BLOCK}."
        )
    return content
