"""Files of volumes, of DBFS and of the workspace."""

import io

import pytest
from databricks.sdk.errors import (
    AlreadyExists,
    BadRequest,
    NotFound,
    PermissionDenied,
    ResourceAlreadyExists,
)
from databricks.sdk.service.workspace import ImportFormat

from churn_assets_tests.workspace.emulator import Workspace

VOLUME = "/Volumes/main_catalog/gold/churn"


def test_a_file_comes_back_as_it_was_uploaded(workspace: Workspace) -> None:
    files = workspace.client().files
    content = bytes(range(256)) * 5000
    files.upload(f"{VOLUME}/a b/data.bin", io.BytesIO(content))
    download = files.download(f"{VOLUME}/a b/data.bin")
    assert download.contents
    assert download.contents.read() == content
    assert files.get_metadata(f"{VOLUME}/a b/data.bin").content_length == len(content)


def test_a_file_is_replaced_only_on_request(workspace: Workspace) -> None:
    files = workspace.client().files
    files.upload(f"{VOLUME}/x", io.BytesIO(b"1"), overwrite=False)
    with pytest.raises(AlreadyExists):
        files.upload(f"{VOLUME}/x", io.BytesIO(b"2"), overwrite=False)
    files.upload(f"{VOLUME}/x", io.BytesIO(b"2"), overwrite=True)
    download = files.download(f"{VOLUME}/x").contents
    assert download
    assert download.read() == b"2"


def test_what_is_not_there_is_not_found(workspace: Workspace) -> None:
    files = workspace.client().files
    for ask in (files.download, files.get_metadata, files.delete, files.get_directory_metadata):
        with pytest.raises(NotFound):
            ask(f"{VOLUME}/missing")


def test_a_directory_lists_its_entries_page_by_page_and_must_be_empty_to_go(workspace: Workspace) -> None:
    files = workspace.client().files
    for name in ("a", "b", "c"):
        files.upload(f"{VOLUME}/run/{name}", io.BytesIO(b"12"))
    entries = list(files.list_directory_contents(f"{VOLUME}/run", page_size=2))
    assert [(entry.name, entry.file_size, entry.is_directory) for entry in entries] == [
        ("a", 2, False),
        ("b", 2, False),
        ("c", 2, False),
    ]
    assert len(workspace.calls("GET", "/run")) == 2
    with pytest.raises(BadRequest, match="not empty"):
        files.delete_directory(f"{VOLUME}/run")
    for entry in entries:
        files.delete(str(entry.path))
    files.delete_directory(f"{VOLUME}/run")
    assert list(files.list_directory_contents(VOLUME)) == []


def test_a_volume_that_was_not_created_is_not_found_once_volumes_are_known(workspace: Workspace) -> None:
    workspace.files.volumes = {"main_catalog.gold.churn"}
    workspace.client().files.upload(f"{VOLUME}/x", io.BytesIO(b""))
    with pytest.raises(NotFound, match=r"other\.gold\.churn"):
        workspace.client().files.upload("/Volumes/other/gold/churn/x", io.BytesIO(b""))


def test_no_path_leads_out_of_its_volume(workspace: Workspace) -> None:
    with pytest.raises(BadRequest, match="Invalid path"):
        workspace.client().api_client.do("GET", f"/api/2.0/fs/files{VOLUME}/%2e%2e/secret")


def test_the_dbfs_root_is_disabled(workspace: Workspace) -> None:
    with pytest.raises(PermissionDenied, match="Public DBFS root is disabled"):
        workspace.client().dbfs.mkdirs("/stage")


def test_workspace_files_are_imported_and_exported(workspace: Workspace) -> None:
    tree = workspace.client().workspace
    tree.mkdirs("/Workspace/Shared/churn")
    tree.upload("/Workspace/Shared/churn/main.py", io.BytesIO(b"print(1)"), format=ImportFormat.AUTO)
    with pytest.raises(ResourceAlreadyExists):
        tree.upload("/Shared/churn/main.py", io.BytesIO(b""), format=ImportFormat.AUTO)
    tree.upload("/Shared/churn/main.py", io.BytesIO(b"print(2)"), format=ImportFormat.RAW, overwrite=True)
    assert tree.download("/Shared/churn/main.py").read() == b"print(2)"
    assert [entry.path for entry in tree.list("/Shared/churn")] == ["/Shared/churn/main.py"]
    tree.delete("/Shared", recursive=True)
    with pytest.raises(NotFound):
        tree.get_status("/Shared/churn/main.py")


def test_a_workspace_file_needs_its_folder(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="parent folder"):
        workspace.client().workspace.upload("/Users/me/x.py", io.BytesIO(b""), format=ImportFormat.AUTO)


def test_a_stale_volume_shows_tasks_what_was_there_before(workspace: Workspace) -> None:
    workspace.files.stale = True
    files = workspace.client().files
    for content in (b"old", b"new"):
        files.upload(f"{VOLUME}/x", io.BytesIO(content), overwrite=True)
    download = files.download(f"{VOLUME}/x").contents
    assert download
    assert download.read() == b"new"
    assert workspace.local(f"{VOLUME}/x").read_bytes() == b"old"
