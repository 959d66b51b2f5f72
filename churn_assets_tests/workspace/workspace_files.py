"""Workspace files: import, export, list, mkdirs, get-status, delete of files under ``/Workspace``."""

import base64
import email.policy
import json
import shutil
import zlib
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from databricks.sdk.service.workspace import WorkspaceAPI

from churn_assets_tests.workspace.routing import Answer, ApiError, Call, Route, Violation
from churn_assets_tests.workspace.shapes import check_fields, fields_of
from churn_assets_tests.workspace.storage import below, modified_ms, write_whole

API = "/api/2.0/workspace"


class WorkspaceFiles:
    """Files of the workspace's own tree, in the folder ``Workspace``. Notebooks are not emulated."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "Workspace"

    def local(self, path: str) -> Path:
        """The real path of ``/Workspace/x``, or of ``/x``, which is the same."""
        return below(self._root, path.removeprefix("/Workspace") or "/")

    def routes(self) -> list[Route]:
        """Workspace API 2.0."""
        return [
            Route("POST", f"{API}/import", self._import, anything=True),
            Route(
                "GET",
                f"{API}/export",
                self._export,
                WorkspaceAPI.export,
                fields={"direct_download": bool | None},
            ),
            Route("GET", f"{API}/list", self._list, WorkspaceAPI.list),
            Route("GET", f"{API}/get-status", self._get_status, WorkspaceAPI.get_status),
            Route("POST", f"{API}/mkdirs", self._mkdirs, WorkspaceAPI.mkdirs),
            Route("POST", f"{API}/delete", self._delete, WorkspaceAPI.delete),
        ]

    def _import(self, call: Call) -> None:
        fields = import_fields(call)
        if fields.get("format", "SOURCE") not in ("AUTO", "RAW"):
            raise Violation(
                f"Import with format {fields.get('format', 'SOURCE')} makes a notebook: not emulated."
            )
        target = self.local(fields["path"])
        if target.exists() and not fields.get("overwrite"):
            raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Path ({fields['path']}) already exists.")
        if not target.parent.is_dir() and target.parent != self._root:
            raise ApiError(
                404, "RESOURCE_DOES_NOT_EXIST", f"The parent folder ({target.parent.name}) does not exist."
            )
        write_whole(target, fields["content"])

    def _existing(self, call: Call) -> Path:
        path = self.local(call.fields["path"])
        if not path.exists():
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"Path ({call.fields['path']}) doesn't exist.")
        return path

    def _export(self, call: Call) -> Any:
        content = self._existing(call).read_bytes()
        if call.fields.get("direct_download"):
            return Answer(content)
        return {"content": base64.b64encode(content).decode(), "file_type": "file"}

    def _info(self, path: Path) -> dict[str, Any]:
        name = f"/{path.relative_to(self._root)}"
        info: dict[str, Any] = {"path": name, "object_id": zlib.crc32(name.encode())}
        if path.is_dir():
            return info | {"object_type": "DIRECTORY"}
        return info | {"object_type": "FILE", "size": path.stat().st_size, "modified_at": modified_ms(path)}

    def _list(self, call: Call) -> dict[str, Any]:
        return {"objects": [self._info(file) for file in sorted(self._existing(call).iterdir())]}

    def _get_status(self, call: Call) -> dict[str, Any]:
        return self._info(self._existing(call))

    def _mkdirs(self, call: Call) -> None:
        self.local(call.fields["path"]).mkdir(parents=True, exist_ok=True)

    def _delete(self, call: Call) -> None:
        path = self._existing(call)
        if path.is_file():
            path.unlink()
        elif any(path.iterdir()) and not call.fields.get("recursive"):
            raise ApiError(400, "DIRECTORY_NOT_EMPTY", f"Folder ({call.fields['path']}) is not empty.")
        else:
            shutil.rmtree(path)


def import_fields(call: Call) -> dict[str, Any]:
    """The fields of an import, which the SDK's ``upload`` sends as a form and ``import_`` as JSON.

    Returns:
        the fields, ``content`` as bytes.
    """
    if call.headers.get("content-type", "").startswith("multipart/form-data"):
        form = BytesParser(policy=email.policy.HTTP).parsebytes(
            f"Content-Type: {call.headers['content-type']}\r\n\r\n".encode() + call.body
        )
        fields: dict[str, Any] = {}
        for part in form.iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            fields[name] = content if name == "content" else content.decode()
        if "overwrite" in fields:
            fields["overwrite"] = fields["overwrite"] == "true"
        check_fields(fields | {"content": ""}, fields_of(WorkspaceAPI.import_), call.path)
        return fields
    fields = json.loads(call.body)
    check_fields(fields, fields_of(WorkspaceAPI.import_), call.path)
    return fields | {"content": base64.b64decode(fields.get("content") or "")}
