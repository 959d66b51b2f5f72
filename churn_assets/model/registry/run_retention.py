"""MLflow's runs that nobody needs: of processes that died, or old and without a registered version."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from churn_assets.model.registry import promotions, registry
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
DAGSTER_RUN = "dagster_run_id"
PAGE = 1000

# Whether the Dagster run of an id has ended, or is not known any more.
IsOver = Callable[[str], bool]


def end_dead_runs(settings: Settings, is_over: IsOver, *, dry_run: bool = False) -> int:
    """End the runs that MLflow calls RUNNING though the Dagster run that began them is over.

    Runs that people began by hand name no Dagster run, and are left alone, as are those of a server: another
    lake's may be among them.

    Returns:
        How many there were.
    """
    if registry.database(settings) is None or registry.has_no_database(settings):
        return 0
    client, running = _client(settings), {run.info.run_id: run for run in _runs(settings, "RUNNING")}
    dead = [run for run in running.values() if (begun_by := _begun_by(run, running)) and is_over(begun_by)]
    for run in [] if dry_run else dead:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(dead)


def delete_old_runs(settings: Settings, before: dt.datetime, *, dry_run: bool = False) -> int:
    """Delete runs that ended before a time and from which no registered version came, with their candidates.

    Only in the lake's own database: what a server keeps is for its owners to say.

    Returns:
        How many there were.
    """
    if registry.database(settings) is None or registry.has_no_database(settings):
        return 0
    registered = set(promotions.registered_versions(settings).values())
    ended = [run for run in _runs(settings) if run.info.status != "RUNNING"]
    old = [
        run
        for run in ended
        if (run.info.end_time or run.info.start_time) < before.timestamp() * 1000
        and not {run.info.run_id, run.data.tags.get(PARENT)} & registered
    ]
    client = _client(settings)
    for run in [] if dry_run else old:
        client.delete_run(run.info.run_id)
    return len(old)


def _begun_by(run: "Run", running: dict[str, "Run"]) -> str | None:
    tags = run.data.tags
    if DAGSTER_RUN in tags:
        return tags[DAGSTER_RUN]
    parent = running.get(tags.get(PARENT, ""))
    return _begun_by(parent, running) if parent else None


def _runs(settings: Settings, status: str = "") -> Iterator["Run"]:
    client, token = _client(settings), None
    experiment = client.get_experiment_by_name(registry.experiment_name(settings))
    if experiment is None:
        return
    wanted = f"attributes.status = '{status}'" if status else ""
    while True:
        page = client.search_runs([experiment.experiment_id], wanted, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _client(settings: Settings) -> Any:
    registry.configure(settings)
    from mlflow import MlflowClient

    return MlflowClient()
