"""This lake's Dagster instance: its history, beside the tables unless ``DAGSTER_HOME`` says otherwise.

With ``CHURN_DATABASE_URL`` the history is in PostgreSQL; the folder has configuration and output of runs.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml
from filelock import FileLock

from churn_assets import plain_paths
from churn_assets.automation.history.stored_history import CONFIGURATION, packaged_configuration
from churn_assets.errors import LakeError, one_line
from churn_assets.settings import Settings

STORAGE = "churn_assets.automation.database_storage"


def prepare_dagster_home(settings: Settings) -> None:
    """Create the instance's folder and configuration, and set DAGSTER_HOME for this process and its children.

    Raises:
        LakeError: the folder cannot be written, or its configuration is for another place of the history.
    """
    home = settings.dagster_home_folder
    if settings.database_url:
        # Dagster's storage reads the settings, in this process and in those of runs.
        os.environ["CHURN_DATABASE_URL"] = settings.database_url
    try:
        home.mkdir(parents=True, exist_ok=True)
        if settings.database_url:
            _use_database(home)
        elif not _is_made(home):
            _make(home)
    except OSError as error:
        raise LakeError(
            f"Dagster's history cannot be written at {home}: {error.strerror}. "
            "Make it writable, or set DAGSTER_HOME to a folder that is."
        ) from error
    os.environ["DAGSTER_HOME"] = _in_url(home)


def database_configuration() -> str:
    """Return the configuration of a lake with a database: that of any lake, but for the storage."""
    wanted = yaml.safe_load(packaged_configuration())
    del wanted["event_log_storage"]
    wanted["storage"] = {"custom": {"module": STORAGE, "class": "LakePostgresStorage", "config": {}}}
    heading = "# Dagster's instance, in the database of CHURN_DATABASE_URL."
    return f"{heading}\n{yaml.safe_dump(wanted, sort_keys=False)}"


def _use_database(home: Path) -> None:
    """Let the configuration name PostgreSQL. A history in files stays where it is, and nothing reads it."""
    configuration = home / CONFIGURATION
    # Helm's, for one, cannot be written.
    if "postgres" in _settings_of(configuration):
        return
    with FileLock(home / ".lock"):
        text = configuration.read_text() if configuration.exists() else ""
        if "postgres" in _settings_of(configuration):
            return
        # Every release so far has this line; who keeps runs elsewhere has other ones.
        if text and "PooledSqliteEventLogStorage" not in text:
            raise LakeError(
                f"{configuration} was written by hand and keeps Dagster's history elsewhere than "
                "CHURN_DATABASE_URL says. Remove that file, and one is made; or give it, under storage, "
                f"custom, the module {STORAGE} and the class LakePostgresStorage"
            )
        draft = home / f".{CONFIGURATION}-new"
        draft.write_text(database_configuration())
        draft.replace(configuration)


def _settings_of(configuration: Path) -> str:
    """Return what is configured, without comments."""
    text = configuration.read_text() if configuration.exists() else ""
    try:
        return str(yaml.safe_load(text)).lower()
    except yaml.YAMLError as error:
        raise LakeError(
            f"Dagster's configuration {configuration} cannot be read: {one_line(error)}. Put it aside: churn "
            "repair dagster; or mend it"
        ) from error


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
