"""Files to and from a folder of the workspace's Volume."""

from collections.abc import Callable
from typing import Any

import pytest

from churn_assets.databricks.staging import VolumeFolder, step_staging
from churn_assets.errors import WorkspaceError
from churn_assets_tests.workspace.emulator import Workspace

Make = Callable[..., Any]


@pytest.fixture
def staging(workspace: Workspace, make_settings: Make) -> VolumeFolder:
    return step_staging(make_settings(), workspace.client())


def test_a_file_comes_back_as_it_was_put(staging: VolumeFolder, workspace: Workspace) -> None:
    # More than one block of 1 MiB, with every byte in it.
    content = bytes(range(256)) * 4 * 1024 * 2 + b"a bit"
    path = f"{staging.root}/a/b/file"
    assert (staging.exists(path), staging.get(path)) == (False, None)
    staging.put(path, content)
    assert staging.exists(path)
    assert staging.get(path) == content
    assert workspace.local(path).read_bytes() == content


def test_a_file_is_put_over_the_one_that_is_there(staging: VolumeFolder) -> None:
    staging.put(f"{staging.root}/file", b"the first, which is longer")
    staging.put(f"{staging.root}/file", b"the second")
    assert staging.get(f"{staging.root}/file") == b"the second"


def test_a_folder_is_deleted_with_all_below_it(staging: VolumeFolder) -> None:
    for name in ("one/1", "one/deep/er/2", "two/3"):
        staging.put(f"{staging.root}/{name}", b"x")
    assert sorted(staging.folders(staging.root)) == ["one", "two"]
    staging.delete(f"{staging.root}/one")
    assert staging.folders(staging.root) == ["two"]
    staging.delete(f"{staging.root}/one")
    staging.delete_if_empty(f"{staging.root}/two")
    assert staging.folders(staging.root) == ["two"]
    # What was deleted can be put again.
    staging.put(f"{staging.root}/one/1", b"y")
    assert staging.get(f"{staging.root}/one/1") == b"y"


def test_a_missing_folder_has_no_subfolders(staging: VolumeFolder) -> None:
    assert staging.folders(f"{staging.root}/nowhere") == []


def test_a_volume_that_is_missing_says_how_to_make_it(staging: VolumeFolder, workspace: Workspace) -> None:
    workspace.files.volumes = {"other.gold.churn"}
    with pytest.raises(
        WorkspaceError, match=r"main_catalog.gold.churn.* does not exist.*churn setup --databricks"
    ):
        staging.put(f"{staging.root}/file", b"x")
    workspace.files.volumes = None
