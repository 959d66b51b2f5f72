"""This lake's Dagster instance: its history, beside the tables unless ``DAGSTER_HOME`` says otherwise."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock

from churn_assets import plain_paths
from churn_assets.automation.history.stored_history import CONFIGURATION, packaged_configuration
from churn_assets.errors import LakeError
from churn_assets.settings import Settings


def prepare_dagster_home(settings: Settings) -> None:
    """Create the instance's folder and configuration, and set DAGSTER_HOME for this process and its children.

    Raises:
        LakeError: the folder cannot be written.
    """
    home = settings.dagster_home_folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not _is_made(home):
            _make(home)
    except OSError as error:
        raise LakeError(
            f"Dagster's history cannot be written at {home}: {error.strerror}. "
            "Make it writable, or set DAGSTER_HOME to a folder that is."
        ) from error
    os.environ["DAGSTER_HOME"] = _in_url(home)


def _is_made(home: Path) -> bool:
    """Whether the configuration is there and whole, not cut off by a kill."""
    configuration = home / CONFIGURATION
    if not configuration.exists():
        return False
    text, packaged = configuration.read_text(), packaged_configuration()
    # An empty one may be deliberate, and Dagster runs with it.
    return not text or text == packaged or not packaged.startswith(text)


def _make(home: Path) -> None:
    """Create the databases in a draft folder and move each into place whole, the configuration last."""
    with FileLock(home / ".lock"):
        if _is_made(home):
            return
        draft = home / ".new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        (draft / CONFIGURATION).write_text(packaged_configuration())
        before = os.environ.get("DAGSTER_HOME")
        # The configuration finds its databases through this variable.
        os.environ["DAGSTER_HOME"] = _in_url(draft)
        try:
            with dg.DagsterInstance.from_config(_in_url(draft)) as instance:
                instance.get_runs_count()
                instance.event_log_storage.get_asset_records([])
                instance.all_instigator_state()
        finally:
            if before is None:
                del os.environ["DAGSTER_HOME"]
            else:
                os.environ["DAGSTER_HOME"] = before
        for path in sorted(draft.iterdir(), key=lambda path: path.name == CONFIGURATION):
            if path.name == CONFIGURATION or not (home / path.name).exists():
                path.replace(home / path.name)
        shutil.rmtree(draft)


def _in_url(folder: Path) -> str:
    return str(plain_paths.for_sqlite_url(folder))


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance, creating it on first use."""
    prepare_dagster_home(settings)
    with dg.DagsterInstance.get() as instance:
        yield instance
