"""A workspace whose clusters have what Databricks Runtime brings, and what their tasks' libraries name."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from churn_assets.databricks.steps.launchers import Launcher
from churn_assets.settings import Settings
from churn_assets_tests.databricks import tiny
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.fixtures import remote_python

__all__ = ["remote_python"]


@pytest.fixture
def workspace(tmp_path: Path, remote_python: Path) -> Iterator[Workspace]:
    """An empty workspace. At the end it must be so again: no run, no cluster, no staged file of a step."""
    with Workspace(tmp_path / "workspace", python=remote_python) as started:
        yield started
        assert [run.name for run in started.jobs.active()] == []
        assert [cluster.cluster_id for cluster in started.clusters.alive()] == []
        assert tiny.staged(started) == []
    assert started.violations == []


@pytest.fixture(params=["step", "pipes"])
def each_launcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both launchers, one after the other; what workers and launchers of the test are told."""
    monkeypatch.setenv("CHURN_DATABRICKS_LAUNCHER", request.param)
    return request.param


@pytest.fixture
def make_settings(workspace: Workspace, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a ``databricks`` deployment in the workspace."""
    return lambda **overrides: tiny.make_settings(workspace, tmp_path, **overrides)


@pytest.fixture
def make_launcher(workspace: Workspace, tmp_path: Path) -> Callable[..., Launcher]:
    """A launcher of the tiny graph; overrides are its options or settings."""
    return lambda **overrides: tiny.make_launcher(workspace, tmp_path, **overrides)


@pytest.fixture
def materialize(instance: dg.DagsterInstance) -> Callable[..., Any]:
    """Runs assets of the tiny graph through a launcher."""
    return lambda launcher, *names, **more: tiny.materialize(launcher, instance, *names, **more)
