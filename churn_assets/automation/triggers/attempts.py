"""When the automation may start a run: nothing else computes the same assets, and it has not just failed."""

import datetime as dt
from collections.abc import Collection

import dagster as dg
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
)  # what get_backfills takes, exported nowhere else

from churn_assets.automation.history.dead_runs import fail_dead_runs
from churn_assets.automation.history.lake_lock import is_locked
from churn_assets.automation.history.run_tags import STEP_TAG
from churn_assets.automation.runs.jobs import DATED, INGEST, INGESTED, PIPELINE_NAME
from churn_assets.settings import Settings

AT_WORK = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

# A run of a whole job does not list its assets; other jobs than these compute no table.
ASSETS_OF_JOBS = {INGEST.name: INGESTED, PIPELINE_NAME: [*INGESTED, *DATED]}

# The wait after one failure; it doubles with each further one, up to the longest.
FIRST_WAIT = dt.timedelta(minutes=5)
LONGEST_WAIT = dt.timedelta(hours=6)
# More failures in a row than this make no difference.
RECENT_ATTEMPTS = 10


def at_work(
    instance: dg.DagsterInstance, settings: Settings, now: dt.datetime, keys: Collection[dg.AssetKey]
) -> str | None:
    """Return what is computing one of these assets, in a sentence; None if nothing is.

    A sensor, a person or ``churn run`` may have started it. Runs of dead processes are failed first.
    """
    fail_dead_runs(instance, now)
    if is_locked(settings, instance):
        return "A churn run is at work on this lake."
    for run in instance.get_runs(dg.RunsFilter(statuses=AT_WORK)):
        computed = ASSETS_OF_JOBS.get(run.job_name) if run.asset_selection is None else run.asset_selection
        shared = set(keys) & set(computed or [])
        if shared:
            names = ", ".join(sorted(key.path[-1] for key in shared))
            return f"Run {run.run_id[:8]} computes {names}."
    # Between two of its runs a backfill has none, and the dates that it will compute next look stale.
    unfinished = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING])
    for backfill in instance.get_backfills(unfinished):
        if set(keys) & set(backfill.asset_selection or []):
            return f"Backfill {backfill.backfill_id} is at work."
    return None


def backing_off(instance: dg.DagsterInstance, step: str, now: dt.datetime) -> str | None:
    """Return when a step that has just failed may run again, in a sentence; None if it may run now.

    Args:
        instance: where its runs are recorded.
        step: the value of ``STEP_TAG`` that its runs carry.
        now: the clock.
    """
    ended = _ended(instance, step)
    failures = 0
    for record in ended:
        if record.dagster_run.status != dg.DagsterRunStatus.FAILURE:
            break
        failures += 1
    if not failures:
        return None
    wait = min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT)
    until = dt.datetime.fromtimestamp(ended[0].end_time or 0, dt.UTC) + wait
    return f"{step} failed; the next attempt is at {until:%Y-%m-%d %H:%M:%S} UTC." if now < until else None


def attempt(instance: dg.DagsterInstance, step: str) -> str:
    """Return what tells this attempt from the one before: the run that failed, or "first"."""
    ended = _ended(instance, step)
    if ended and ended[0].dagster_run.status == dg.DagsterRunStatus.FAILURE:
        return f"after {ended[0].dagster_run.run_id[:8]}"
    return "first"


def _ended(instance: dg.DagsterInstance, step: str) -> list[dg.RunRecord]:
    """Return the step's last finished runs, the newest first."""
    over = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    records = instance.get_run_records(
        dg.RunsFilter(tags={STEP_TAG: step}, statuses=over), limit=RECENT_ATTEMPTS
    )
    return list(records)
