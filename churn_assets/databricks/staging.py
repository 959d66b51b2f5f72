"""Where a step's files are put for the cluster and read back: a Volume, or DBFS where it is on."""

import base64
import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.files import DbfsAPI

from churn_assets.databricks.client import one_line
from churn_assets.errors import WorkspaceError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

DBFS_ROOT = "/churn_staging"
DBFS_BLOCK = 1024 * 1024


class Staging(Protocol):
    """A folder that the launcher reaches through HTTP and the cluster as files. Paths start with ``root``."""

    root: str

    def put(self, path: str, content: bytes) -> None:
        """Write a file whole; folders above it are made."""
        ...

    def get(self, path: str) -> bytes | None:
        """A file's content, None where there is none."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        ...

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder, nothing where there is none."""
        ...

    def delete(self, path: str) -> None:
        """Delete a folder and all below it, if it is there."""
        ...

    def delete_if_empty(self, path: str) -> None:
        """Delete a folder unless something is left in it."""
        ...

    def on_cluster(self, path: str) -> str:
        """The path under which Python on the cluster opens the file."""
        ...

    def as_python_file(self, path: str) -> str:
        """The path under which a task names the file as the one to run."""
        ...


def staging(settings: Settings, workspace: "WorkspaceClient") -> Staging:
    """What ``CHURN_DATABRICKS_STAGING`` names."""
    if settings.databricks_staging == "dbfs":
        return DbfsStaging(workspace)
    return VolumeStaging(workspace, f"{settings.databricks_volume.rstrip('/')}/staging")


class VolumeStaging:
    """A folder of a Volume, through the Files API. The cluster has the same path as a file system."""

    def __init__(self, workspace: "WorkspaceClient", root: str) -> None:
        self.root = root
        self._files = workspace.files
        self._made: set[str] = set()

    def put(self, path: str, content: bytes) -> None:
        """Write a file whole."""
        folder = str(PurePosixPath(path).parent)
        try:
            if folder not in self._made:
                self._files.create_directory(folder)
                self._made.add(folder)
            self._files.upload(path, io.BytesIO(content), overwrite=True)
        except (NotFound, PermissionDenied, BadRequest) as error:
            raise WorkspaceError(
                f"The Volume does not take {path}: {one_line(error)} Make it with: churn setup --databricks, "
                "or name another in CHURN_DATABRICKS_VOLUME."
            ) from error

    def get(self, path: str) -> bytes | None:
        """A file, None where there is none."""
        try:
            contents = self._files.download(path).contents
        except NotFound:
            return None
        if contents is None:
            return None
        with contents:
            return contents.read()

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        try:
            self._files.get_metadata(path)
        except NotFound:
            return False
        return True

    def folders(self, path: str) -> list[str]:
        """The folders in a folder."""
        return [PurePosixPath(entry).name for entry, is_folder in self._entries(path) if is_folder]

    def delete(self, path: str) -> None:
        """Delete a folder and all below it."""
        # The API deletes only empty folders.
        for entry, is_folder in self._entries(path):
            if is_folder:
                self.delete(entry)
            else:
                self._files.delete(entry)
        self._made.discard(path)
        try:
            self._files.delete_directory(path)
        except NotFound:
            return

    def delete_if_empty(self, path: str) -> None:
        """Delete a folder unless something is in it."""
        self._made.discard(path)
        try:
            self._files.delete_directory(path)
        except DatabricksError:
            return

    def on_cluster(self, path: str) -> str:
        """What Python opens."""
        return path

    def as_python_file(self, path: str) -> str:
        """What a task names."""
        return path

    def _entries(self, path: str) -> list[tuple[str, bool]]:
        try:
            entries = list(self._files.list_directory_contents(path))
        except NotFound:
            return []
        return [(entry.path, bool(entry.is_directory)) for entry in entries if entry.path]


class DbfsStaging:
    """A folder of the DBFS root, which is off in new workspaces."""

    def __init__(self, workspace: "WorkspaceClient", root: str = DBFS_ROOT) -> None:
        self.root = root
        self._dbfs = workspace.dbfs

    def put(self, path: str, content: bytes) -> None:
        """Write a file whole."""
        try:
            handle = self._dbfs.create(path, overwrite=True).handle or 0
        except (PermissionDenied, BadRequest) as error:
            raise WorkspaceError(
                f"DBFS does not take {path}: {one_line(error)} Where the DBFS root is disabled, "
                "use CHURN_DATABRICKS_STAGING=volume."
            ) from error
        for block in _blocks(content):
            self._dbfs.add_block(handle, base64.b64encode(block).decode())
        self._dbfs.close(handle)

    def get(self, path: str) -> bytes | None:
        """A file, None where there is none."""
        parts, offset = [], 0
        try:
            while (block := self._dbfs.read(path, offset=offset, length=DBFS_BLOCK)).bytes_read:
                parts.append(base64.b64decode(block.data or ""))
                offset += block.bytes_read
                if block.bytes_read < DBFS_BLOCK:
                    break
        except NotFound:
            return None
        return b"".join(parts)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        try:
            self._dbfs.get_status(path)
        except NotFound:
            return False
        return True

    def folders(self, path: str) -> list[str]:
        """The folders in a folder."""
        try:
            entries = list(self._dbfs.list(path))
        except NotFound:
            return []
        return [PurePosixPath(entry.path).name for entry in entries if entry.path and entry.is_dir]

    def delete(self, path: str) -> None:
        """Delete a folder and all below it."""
        try:
            self._dbfs.delete(path, recursive=True)
        except NotFound:
            return

    def delete_if_empty(self, path: str) -> None:
        """Delete a folder unless something is in it."""
        try:
            # The SDK's own refuses every folder; the API only those that something is in.
            DbfsAPI.delete(self._dbfs, path, recursive=False)
        except DatabricksError:
            return

    def on_cluster(self, path: str) -> str:
        """What Python opens."""
        return f"/dbfs{path}"

    def as_python_file(self, path: str) -> str:
        """What a task names."""
        return f"dbfs:{path}"


def _blocks(content: bytes) -> Iterator[bytes]:
    return (content[start : start + DBFS_BLOCK] for start in range(0, len(content), DBFS_BLOCK))
