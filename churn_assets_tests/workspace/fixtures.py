"""Fixtures for tests that need a workspace; a conftest imports those it uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_assets_tests.workspace import environment
from churn_assets_tests.workspace.emulator import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace; the test fails if it was asked for what the real service would not understand."""
    with Workspace(tmp_path / "workspace") as started:
        yield started
    assert started.violations == []


@pytest.fixture(scope="session")
def remote_python() -> Path:
    """The interpreter of Databricks Runtime 17.3: another Python, another Spark, and no package of ours."""
    try:
        return environment.runtime_python()
    except LookupError as error:
        pytest.skip(str(error))
