"""The tiny graph, launched: settings, launcher and run of it for a given workspace."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from churn_assets import settings as settings_module
from churn_assets.databricks.steps.launchers import Launcher, launcher
from churn_assets.resources import launched
from churn_assets.settings import Settings
from churn_assets_tests.databricks.tiny_churn.definitions import build_defs
from churn_assets_tests.workspace.emulator import Workspace

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
TINY_CHURN = HERE / "tiny_churn"
STAGING = "/Volumes/main_catalog/gold/churn/staging"

LAUNCHER_OPTIONS = {"package", "definitions", "patience_seconds", "heartbeat_seconds", "missed_heartbeats"}


def settings_fields(workspace: Workspace, folder: Path) -> dict[str, Any]:
    """A ``databricks`` deployment in the workspace, as JSON could say it."""
    return {
        "deployment": "databricks",
        "lake_root": str(folder / "lake"),
        "databricks_host": workspace.url,
        "databricks_token": workspace.token,
        "databricks_compute": "run",
        "databricks_workers": 1,
        "databricks_poll_seconds": 0.05,
    }


def make_settings(workspace: Workspace, folder: Path, **overrides: Any) -> Settings:
    """Settings of a ``databricks`` deployment in the workspace."""
    return settings_module.load(_env_file=None, **{**settings_fields(workspace, folder), **overrides})


def make_launcher(workspace: Workspace, folder: Path, **overrides: Any) -> Launcher:
    """A launcher of the tiny graph, as impatient as a test; overrides are its options or settings."""
    options = {
        "package": TINY_CHURN,
        "definitions": "tiny_churn.definitions",
        "patience_seconds": 3,
        "heartbeat_seconds": 0.5,
        **{name: value for name, value in overrides.items() if name in LAUNCHER_OPTIONS},
    }
    settings = {name: value for name, value in overrides.items() if name not in LAUNCHER_OPTIONS}
    return launcher(make_settings(workspace, folder, **settings), **options)


def graph(settings: Settings, make: Callable[[], Launcher]) -> dg.JobDefinition:
    """All of the tiny graph, as ``churn_assets.graph`` would have it for a launcher."""
    defs = build_defs(as_resource(make), lambda definitions: launched(settings, definitions))
    return defs.resolve_implicit_global_asset_job_def()


def as_resource(make: Callable[[], Launcher]) -> dg.ResourceDefinition:
    """A launcher as ``churn_assets.resources`` gives it."""

    @dg.resource
    def pyspark_step_launcher(context: dg.InitResourceContext) -> Iterator[Launcher]:
        with make().for_run(context.instance, context.run.run_id if context.run else None) as ready:
            yield ready

    return pyspark_step_launcher


def materialize(
    launcher: Launcher,
    instance: dg.DagsterInstance,
    *names: str,
    config: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run assets of the tiny graph through a launcher."""
    job = graph(launcher.launches.settings, lambda: launcher)
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in names],
        run_config={"ops": {name: {"config": config} for name in names}} if config else {},
        tags=tags,
        raise_on_error=False,
    )


def failure(result: dg.ExecuteInProcessResult, step: str) -> Any:
    """The error with which a step failed."""
    (event,) = [candidate for candidate in result.get_step_failure_events() if candidate.step_key == step]
    return event.step_failure_data.error


def staged(workspace: Workspace) -> list[str]:
    """The files of steps that are staged now."""
    return sorted(str(file) for file in workspace.local(f"{STAGING}/runs").rglob("*") if file.is_file())


class Worker:
    """A run worker in a process of its own: see worker.py."""

    def __init__(
        self, workspace: Workspace, folder: Path, asset: str, config: dict[str, Any], **more: Any
    ) -> None:
        self._folder = folder
        self.home = folder / "dagster"
        self.home.mkdir(exist_ok=True)
        order = {
            "home": str(self.home),
            "settings": {**settings_fields(workspace, folder), **more.pop("settings", {})},
            "launcher": {"patience_seconds": 3, "heartbeat_seconds": 0.3, "missed_heartbeats": 200}
            | more.pop("launcher", {}),
            "asset": asset,
            "config": config,
            **more,
        }
        with (folder / "worker.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "churn_assets_tests.databricks.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=REPOSITORY,
            )
        assert self.process.stdin
        with self.process.stdin as stdin:
            stdin.write(json.dumps(order))

    @property
    def log(self) -> str:
        """What it and those before it wrote to standard error."""
        return (self._folder / "worker.log").read_text()

    def read_line(self) -> str:
        """The next line of its standard output, empty if it has ended without one."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


def until(is_so: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something is so, and return it.

    Raises:
        TimeoutError: it is not after so many seconds.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := is_so():
            return value
        time.sleep(0.02)
    raise TimeoutError(f"Not after {seconds} s.")
