"""Runs whose process was killed, and which Dagster alone would leave "started" for ever.

Dagster's launcher for one machine does not watch its workers. After a power cut, or a ``kill -9`` of
``churn dev`` with all its children, their runs stay "started": they hold a slot of the queue and the pools of
their tables, and every trigger waits for them. A worker writes its process id into the log of its run; if
there is no such process, or a later one has its number, the run is over.
"""

import datetime as dt

import dagster as dg
import psutil
from dagster import DagsterEventType

from churn_assets.automation.history.run_tags import STARTED_BY_CLI

# Dagster's launcher for one machine puts it on the runs that it starts as processes here.
STARTED_HERE_TAG = ".dagster/grpc_info"
# A worker that has just been started may not have written its id yet.
GRACE = dt.timedelta(seconds=30)

AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, *AT_WORK]


def fail_dead_runs(instance: dg.DagsterInstance, now: dt.datetime) -> list[str]:
    """Mark runs of dead workers as failed and free the pools that they hold; Dagster then starts them again.

    Returns:
        The ids of the runs.
    """
    dead = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=AT_WORK)):
        run = record.dagster_run
        is_recent = now - record.update_timestamp.replace(tzinfo=dt.UTC) < GRACE
        if is_recent or STARTED_HERE_TAG not in run.tags or _is_alive(instance, run.run_id):
            continue
        _fail(instance, run)
        dead.append(run.run_id)
    return dead


def fail_dead_cli_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs of a killed ``churn run`` as failed and free the pools that they hold.

    Call it only while holding the lake's lock: a live ``churn run`` would hold it.

    Returns:
        The number of runs.
    """
    dead = instance.get_runs(dg.RunsFilter(tags=STARTED_BY_CLI, statuses=UNFINISHED))
    for run in dead:
        _fail(instance, run)
    _free_pools_of_finished_runs(instance)
    return len(dead)


def _free_pools_of_finished_runs(instance: dg.DagsterInstance) -> None:
    """Free the pools that older releases left with runs they had marked as failed: see ``_fail``."""
    storage = instance.event_log_storage
    pools = storage.get_concurrency_infos(list(storage.get_concurrency_keys()))
    for run_id in {run_id for pool in pools.values() for run_id in pool.active_run_ids}:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def _fail(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    # In this order: who is killed in between is followed by one who finds the run unfinished. The other way
    # round its pools would be held for ever, by a run that has failed and that nobody looks at again.
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    instance.report_run_failed(run, "The process that ran it is gone.")


def _is_alive(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the last process that registered for the run still exists; True if none has registered."""
    for entry in reversed(instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT)):
        pid = entry.dagster_event.engine_event_data.metadata.get("pid") if entry.dagster_event else None
        if pid is None:
            continue
        try:
            return psutil.Process(int(str(pid.value))).create_time() <= entry.timestamp
        except psutil.NoSuchProcess:
            return False
    return True
