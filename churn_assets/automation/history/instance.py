"""Dagster's instance of this lake: its history, beside the tables unless ``DAGSTER_HOME`` says otherwise."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import dagster as dg
from filelock import FileLock

from churn_assets import plain_paths
from churn_assets.errors import LakeError
from churn_assets.settings import Settings

# Runs that this command started carry the tag; those of dagster dev's daemon do not.
STARTED_BY_CLI = {"churn/started_by": "cli"}

CONFIGURATION = "dagster.yaml"

UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def prepare_dagster_home(settings: Settings) -> None:
    """Make the instance's folder and configuration; this process and its children then know where it is.

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
    """Whether there is a configuration, and not the beginning of one that a kill cut off."""
    configuration = home / CONFIGURATION
    if not configuration.exists():
        return False
    found, tracked = configuration.read_text(), _tracked()
    # An empty one may be somebody's choice, and Dagster runs with it.
    return not found or found == tracked or not tracked.startswith(found)


def _make(home: Path) -> None:
    """Make the databases in a folder aside and put each in its place whole, the configuration last."""
    with FileLock(home / ".lock"):
        if _is_made(home):
            return
        draft = home / ".new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        (draft / CONFIGURATION).write_text(_tracked())
        before = os.environ.get("DAGSTER_HOME")
        # The configuration names its databases by the variable.
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
        for made in sorted(draft.iterdir(), key=lambda path: path.name == CONFIGURATION):
            if made.name == CONFIGURATION or not (home / made.name).exists():
                made.replace(home / made.name)
        shutil.rmtree(draft)


def _tracked() -> str:
    return (resources.files("churn_assets") / CONFIGURATION).read_text()


def _in_url(folder: Path) -> str:
    return str(plain_paths.for_sqlite_url(folder))


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance, made at its first use."""
    prepare_dagster_home(settings)
    with dg.DagsterInstance.get() as instance:
        yield instance


def bury_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs of a killed ``churn run`` as failed and free the pools that they hold, or nobody ever would.

    Only for who holds the lock that such a run would hold if it were alive.

    Returns:
        How many there were.
    """
    filters = dg.RunsFilter(tags=STARTED_BY_CLI, statuses=UNFINISHED)
    dead = instance.get_runs(filters)
    for run in dead:
        instance.report_run_failed(run, "The process that ran it is gone.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(dead)
