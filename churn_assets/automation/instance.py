"""Dagster's instance of this lake: its history, beside the tables unless ``DAGSTER_HOME`` says otherwise."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

import dagster as dg

from churn_assets.errors import LakeError
from churn_assets.settings import Settings

# Runs that this command started carry the tag; those of dagster dev's daemon do not.
STARTED_BY_CLI = {"churn/started_by": "cli"}

UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def prepare_dagster_home(settings: Settings) -> None:
    """Make the instance's folder and configuration; this process and its children then know where it is.

    Raises:
        LakeError: the folder cannot be written.
    """
    home = settings.dagster_home_folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").exists():
            with resources.as_file(resources.files("churn_assets") / "dagster.yaml") as tracked:
                shutil.copyfile(tracked, home / "dagster.yaml")
    except OSError as error:
        raise LakeError(
            f"Dagster's history cannot be written at {home}: {error.strerror}. "
            "Make it writable, or set DAGSTER_HOME to a folder that is."
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)


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
