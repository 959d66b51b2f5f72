"""The Files API: ``/Volumes/<catalog>/<schema>/<volume>/…`` in a folder."""

import shutil
from pathlib import Path
from typing import Any

from churn_assets_tests.workspace.routing import Answer, ApiError, Call, Route, Violation
from churn_assets_tests.workspace.storage import http_date, modified_ms, write_whole

FILES = "/api/2.0/fs/files{path:path}"
DIRECTORIES = "/api/2.0/fs/directories{path:path}"
MAX_PAGE = 1000


class Files:
    """Files and directories of volumes.

    Attributes:
        volumes: those that exist, as ``catalog.schema.volume``; None: any, as if somebody had created it.
        stale: whether tasks go on reading a file that is written over as it was, as through FUSE's cache. The
            API has what is new.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.volumes: set[str] | None = None
        self.stale = False
        self._unseen: dict[Path, bytes] = {}

    def local(self, path: str) -> Path:
        """The real file or folder of a path below ``/Volumes/``, or of a model's version below ``/Models/``.

        Raises:
            ApiError: the path is not in a volume, or the volume does not exist.
        """
        parts = path.strip("/").split("/")
        if parts[0] == "Models" and len(parts) >= 5 and not {"", ".", ".."} & set(parts):
            return self._folder.joinpath(*parts)
        if parts[0] != "Volumes" or len(parts) < 4 or any(part in ("", ".", "..") for part in parts):
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Invalid path: {path}. It must be in /Volumes/….")
        volume = ".".join(parts[1:4])
        if self.volumes is not None and volume not in self.volumes:
            raise ApiError(404, "NOT_FOUND", f"Volume '{volume}' does not exist.")
        return self._folder.joinpath(*parts)

    def routes(self) -> list[Route]:
        """PUT, GET, HEAD, DELETE of files and directories."""
        return [
            Route("PUT", FILES, self._upload, anything=True),
            Route("POST", FILES, self._upload_in_parts, anything=True),
            Route("GET", FILES, self._download),
            Route("HEAD", FILES, self._metadata),
            Route("DELETE", FILES, self._delete),
            Route("PUT", DIRECTORIES, self._create_directory),
            Route("HEAD", DIRECTORIES, self._directory_metadata),
            Route("DELETE", DIRECTORIES, self._delete_directory),
            Route(
                "GET",
                DIRECTORIES,
                self._list,
                fields={"page_size": int | None, "page_token": str | None},
            ),
        ]

    def _upload(self, call: Call) -> Answer:
        unknown = set(call.query) - {"overwrite"}
        if unknown or call.query.get("overwrite", "true") not in ("true", "false"):
            raise Violation(f"Unknown query {dict(call.query)}; an upload may have overwrite=true or false.")
        target = self.local(call.params["path"])
        if target.is_dir():
            raise ApiError(409, "ALREADY_EXISTS", f"A directory exists at {call.params['path']}.")
        if target.exists() and call.query.get("overwrite", "true") == "false":
            raise ApiError(409, "ALREADY_EXISTS", "The file being created already exists.")
        if self.stale and target.exists():
            self._unseen[target] = call.body
            return Answer(status=204)
        write_whole(target, call.body)
        return Answer(status=204)

    def _upload_in_parts(self, _: Call) -> Answer:
        raise Violation("Uploads in parts, which the SDK chooses from 100 MB on, are not emulated.")

    def _download(self, call: Call) -> Answer:
        source = self._file(call)
        content = self._unseen.get(source) or source.read_bytes()
        first = call.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        status = 206 if "range" in call.headers else 200
        return Answer(content[int(first) :], status, _headers(source))

    def _metadata(self, call: Call) -> Answer:
        source = self._file(call)
        return Answer(b"", 200, _headers(source) | {"content-length": str(source.stat().st_size)})

    def _delete(self, call: Call) -> Answer:
        path = self._file(call)
        self._unseen.pop(path, None)
        path.unlink()
        return Answer(status=204)

    def _file(self, call: Call) -> Path:
        path = self.local(call.params["path"])
        if not path.is_file():
            raise ApiError(404, "NOT_FOUND", f"The file being accessed is not found: {call.params['path']}")
        return path

    def _create_directory(self, call: Call) -> Answer:
        target = self.local(call.params["path"])
        if target.is_file():
            raise ApiError(409, "ALREADY_EXISTS", f"A file exists at {call.params['path']}.")
        target.mkdir(parents=True, exist_ok=True)
        return Answer(status=204)

    def _directory(self, call: Call) -> Path:
        path = self.local(call.params["path"])
        volume = len(path.relative_to(self._folder).parts) == 4
        if not path.is_dir() and not volume:
            raise ApiError(
                404, "NOT_FOUND", f"The directory being accessed is not found: {call.params['path']}"
            )
        return path

    def _directory_metadata(self, call: Call) -> Answer:
        self._directory(call)
        return Answer()

    def _delete_directory(self, call: Call) -> Answer:
        path = self._directory(call)
        if any(path.iterdir()):
            raise ApiError(400, "DIRECTORY_NOT_EMPTY", f"Directory is not empty: {call.params['path']}")
        shutil.rmtree(path)
        return Answer(status=204)

    def _list(self, call: Call) -> dict[str, Any]:
        path = self._directory(call)
        entries = sorted(path.iterdir()) if path.is_dir() else []
        size = min(call.fields.get("page_size") or MAX_PAGE, MAX_PAGE)
        start = int(call.fields.get("page_token") or 0)
        page: dict[str, Any] = {
            "contents": [_entry(entry, self._folder) for entry in entries[start : start + size]],
        }
        if start + size < len(entries):
            page["next_page_token"] = str(start + size)
        return page


def _headers(path: Path) -> dict[str, str]:
    return {"content-type": "application/octet-stream", "last-modified": http_date(path)}


def _entry(path: Path, root: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "path": f"/{path.relative_to(root)}",
        "name": path.name,
        "is_directory": path.is_dir(),
        "last_modified": modified_ms(path),
    }
    return entry if path.is_dir() else entry | {"file_size": path.stat().st_size}
