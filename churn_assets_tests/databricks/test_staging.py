"""Files to and from a workspace, by Volume and by DBFS alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from churn_assets.databricks.staging import staging
from churn_assets.errors import WorkspaceError
from churn_assets_tests.workspace.emulator import Workspace

Make = Callable[..., Any]


@pytest.fixture(params=["volume", "dbfs"])
def place(request: pytest.FixtureRequest, workspace: Workspace, make_settings: Make) -> Any:
    return staging(make_settings(databricks_staging=request.param), workspace.client())


def test_a_file_comes_back_as_it_was_put(place: Any, workspace: Workspace) -> None:
    # Two blocks of DBFS and a bit, with every byte in it.
    content = bytes(range(256)) * 4 * 1024 * 2 + b"a bit"
    path = f"{place.root}/a/b/file"
    assert (place.exists(path), place.get(path)) == (False, None)
    place.put(path, content)
    assert place.exists(path)
    assert place.get(path) == content
    assert workspace.local(place.on_cluster(path)).read_bytes() == content
    assert workspace.local(place.as_python_file(path)).read_bytes() == content


def test_a_file_is_put_over_the_one_that_is_there(place: Any) -> None:
    place.put(f"{place.root}/file", b"the first, which is longer")
    place.put(f"{place.root}/file", b"the second")
    assert place.get(f"{place.root}/file") == b"the second"


def test_a_folder_is_deleted_with_all_below_it(place: Any, workspace: Workspace) -> None:
    for name in ("one/1", "one/deep/er/2", "two/3"):
        place.put(f"{place.root}/{name}", b"x")
    assert sorted(place.folders(place.root)) == ["one", "two"]
    place.delete(f"{place.root}/one")
    assert place.folders(place.root) == ["two"]
    place.delete(f"{place.root}/one")
    place.delete_if_empty(f"{place.root}/two")
    assert place.folders(place.root) == ["two"]
    # What was deleted can be put again.
    place.put(f"{place.root}/one/1", b"y")
    assert place.get(f"{place.root}/one/1") == b"y"


def test_folders_of_what_is_not_there_are_none(place: Any) -> None:
    assert place.folders(f"{place.root}/nowhere") == []


def test_a_volume_that_is_missing_says_how_to_make_it(workspace: Workspace, make_settings: Make) -> None:
    workspace.files.volumes = {"other.gold.churn"}
    place = staging(make_settings(), workspace.client())
    with pytest.raises(
        WorkspaceError, match=r"main_catalog.gold.churn.* does not exist.*churn setup --databricks"
    ):
        place.put(f"{place.root}/file", b"x")
    workspace.files.volumes = None


def test_a_disabled_dbfs_says_to_use_the_volume(
    tmp_path: Path, cluster_python: Path, make_settings: Make
) -> None:
    with Workspace(tmp_path / "new", dbfs_enabled=False, python=cluster_python) as new:
        place = staging(make_settings(databricks_staging="dbfs"), new.client())
        with pytest.raises(WorkspaceError, match="CHURN_DATABRICKS_STAGING=volume"):
            place.put(f"{place.root}/file", b"x")
