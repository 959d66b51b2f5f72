"""The package as one archive."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from churn_assets.databricks.archive import archive, package_folder
from churn_assets.errors import WorkspaceError


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in a working tree that has more than the package."""
    folder = tmp_path / "tree" / "ours"
    (folder / "part").mkdir(parents=True)
    (folder / "__init__.py").write_text("one = 1\n")
    (folder / "part" / "data.yaml").write_text("a: 1\n")
    for beside in (".git", ".venv", "lake"):
        (folder.parent / beside).mkdir()
        (folder.parent / beside / "big").write_bytes(b"x" * 1000)
    return folder


def names(content: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_it_holds_the_package_and_nothing_from_around_it(package: Path) -> None:
    assert names(archive([package]).content) == ["ours/__init__.py", "ours/part/data.yaml"]


def test_a_path_with_pytest_or_logs_in_it_is_not_left_out(tmp_path: Path) -> None:
    # The shipped launcher's zip leaves them out without a word.
    folder = tmp_path / "pytest" / "logs" / "ours"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    assert names(archive([folder]).content) == ["ours/__init__.py"]


def test_the_same_code_is_the_same_archive_whenever_it_was_written(package: Path) -> None:
    before = archive([package])
    os.utime(package / "__init__.py", (0, 1_700_000_000))
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    (package / ".DS_Store").write_bytes(b"desktop")
    assert archive([package]) == before


def test_one_changed_letter_is_another_archive(package: Path) -> None:
    before = archive([package]).digest
    (package / "__init__.py").write_text("one = 2\n")
    assert archive([package]).digest != before


@pytest.mark.parametrize("there", ["a file", "no package", "nothing"])
def test_what_is_no_package_is_refused_before_anything_is_asked_of_the_workspace(
    tmp_path: Path, there: str
) -> None:
    folder = tmp_path / "wrong"
    if there == "a file":
        folder.touch()
    elif there == "no package":
        folder.mkdir()
    with pytest.raises(
        WorkspaceError, match=r"The code to stage, .*wrong.*Give the step launcher the folder"
    ):
        archive([folder])


def test_a_package_that_is_not_installed_is_refused() -> None:
    with pytest.raises(WorkspaceError, match="There is no package churn_assets_of_mine here to stage"):
        package_folder("churn_assets_of_mine")


def test_our_own_package_is_found_and_holds_what_a_cluster_loads() -> None:
    staged = names(archive([package_folder("churn_assets")]).content)
    assert {"churn_assets/definitions.py", "churn_assets/databricks/steps/remote_main.py"} <= set(staged)
