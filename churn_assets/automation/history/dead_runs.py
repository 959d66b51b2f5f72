"""Runs whose worker was killed, and which nobody else would ever declare dead.

Dagster's launcher for one machine does not watch its workers. After a power cut, or a ``kill -9`` of
``churn dev`` with all its children, their runs stay "started": they hold a slot of the queue and the pools of
their tables, and every trigger waits for them. A worker writes its process id into the log of its run; if no
such process is there, or a later one has its number, the run is over.
"""

import datetime as dt

import dagster as dg
import psutil
from dagster import DagsterEventType

# Dagster's launcher for one machine puts it on the runs that it starts as processes here.
STARTED_HERE_TAG = ".dagster/grpc_info"
# A worker that has just been started may not have written its id yet.
GRACE = dt.timedelta(seconds=30)


def bury(instance: dg.DagsterInstance, now: dt.datetime) -> list[str]:
    """Mark runs of dead workers as failed, and free the pools that they hold; Dagster then starts them again.

    Returns:
        The ids of the runs.
    """
    at_work = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    dead = []
    for record in instance.get_run_records(at_work):
        run = record.dagster_run
        recent = now - record.update_timestamp.replace(tzinfo=dt.UTC) < GRACE
        if recent or STARTED_HERE_TAG not in run.tags or _is_alive(instance, run.run_id):
            continue
        instance.report_run_failed(run, "The process that ran it is gone.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        dead.append(run.run_id)
    return dead


def _is_alive(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the last process that said it works on the run is there; yes, if none has said so."""
    for entry in reversed(instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT)):
        pid = entry.dagster_event.engine_event_data.metadata.get("pid") if entry.dagster_event else None
        if pid is None:
            continue
        try:
            return psutil.Process(int(str(pid.value))).create_time() <= entry.timestamp
        except psutil.NoSuchProcess:
            return False
    return True
