"""Folders of the Unity Catalog Volume, through which files reach the clusters and come back."""

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied
from databricks.sdk.errors.base import DatabricksError

from churn_assets.errors import WorkspaceError, one_line
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


class VolumeFolder:
    """A folder of a Volume: the Files API here, a file system under the same path on the cluster.

    Args:
        client: of the workspace.
        root: the folder, ``/Volumes/<catalog>/<schema>/<volume>/...``; every path below starts with it.
    """

    def __init__(self, client: "WorkspaceClient", root: str) -> None:
        self.root = root
        self._files = client.files
        self._created_folders: set[str] = set()

    def put(self, path: str, content: bytes) -> None:
        """Write a file, creating its folder or overwriting the file as needed.

        Raises:
            WorkspaceError: the Volume does not exist or refuses the file.
        """
        folder = str(PurePosixPath(path).parent)
        try:
            if folder not in self._created_folders:
                self._files.create_directory(folder)
                self._created_folders.add(folder)
            self._files.upload(path, io.BytesIO(content), overwrite=True)
        except (NotFound, PermissionDenied, BadRequest) as error:
            raise WorkspaceError(
                f"The Volume does not take {path}: {one_line(error)}. Make it with: "
                "churn setup --databricks, or name another in CHURN_DATABRICKS_VOLUME."
            ) from error

    def get(self, path: str) -> bytes | None:
        """Return a file's content, None if there is no such file."""
        try:
            contents = self._files.download(path).contents
        except NotFound:
            return None
        if contents is None:
            return None
        with contents:
            return contents.read()

    def exists(self, path: str) -> bool:
        """Return whether there is a file at the path."""
        try:
            self._files.get_metadata(path)
        except NotFound:
            return False
        return True

    def folders(self, path: str) -> list[str]:
        """Return the names of a folder's subfolders, none if the folder does not exist."""
        return [PurePosixPath(entry).name for entry, is_folder in self._entries(path) if is_folder]

    def delete(self, path: str) -> None:
        """Delete a folder and everything below it, if it exists."""
        # The API deletes only empty folders.
        for entry, is_folder in self._entries(path):
            if is_folder:
                self.delete(entry)
            else:
                self._files.delete(entry)
        self._created_folders.discard(path)
        try:
            self._files.delete_directory(path)
        except NotFound:
            return

    def delete_file(self, path: str) -> None:
        """Delete a file, if it exists."""
        try:
            self._files.delete(path)
        except NotFound:
            return

    def delete_if_empty(self, path: str) -> None:
        """Delete a folder unless something is in it."""
        self._created_folders.discard(path)
        try:
            self._files.delete_directory(path)
        except DatabricksError:
            return

    def _entries(self, path: str) -> list[tuple[str, bool]]:
        """The paths in a folder, each with whether it is a folder itself."""
        try:
            entries = list(self._files.list_directory_contents(path))
        except NotFound:
            return []
        return [(entry.path, bool(entry.is_directory)) for entry in entries if entry.path]


def step_staging(settings: Settings, client: "WorkspaceClient") -> VolumeFolder:
    """Return the folder for the files of steps."""
    return _folder(settings, client, "staging")


def workflow_staging(settings: Settings, client: "WorkspaceClient") -> VolumeFolder:
    """Return the folder for the workflow's wheels.

    It lies beside that of the steps, whose leftovers are cleared by runs that know nothing of the workflow.
    """
    return _folder(settings, client, "workflow")


def _folder(settings: Settings, client: "WorkspaceClient", name: str) -> VolumeFolder:
    return VolumeFolder(client, f"{settings.databricks_volume.rstrip('/')}/{name}")
