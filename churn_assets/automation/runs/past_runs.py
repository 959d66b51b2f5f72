"""The latest runs, how long each step takes, and predictions that came too late, from Dagster's history."""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass

import dagster as dg
import numpy as np

from churn_assets.asset_keys import asset_key
from churn_assets.automation.alerts.failures import failures
from churn_assets.automation.history.log_reader import first_record, materializations, utc
from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.freshness import due_at, last_due_day
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS

SLA_DAYS = 30
DURATION_RUNS = 50
# More than a month of dates is ever scored again.
MOST_RECORDS = 5_000


@dataclass(frozen=True)
class RunSummary:
    """One run: its assets or else its job, state, start (UTC), seconds, URL, and the reasons of a failure."""

    run_id: str
    what: str
    state: str
    started_at: dt.datetime | None
    seconds: float | None
    url: str
    reasons: list[str]

    @property
    def has_failed(self) -> bool:
        """Whether it ended with a failure."""
        return self.state == dg.DagsterRunStatus.FAILURE.value


@dataclass(frozen=True)
class Duration:
    """The median and 95th percentile of a step's seconds, over the runs in which it succeeded."""

    step: str
    runs: int
    p50: float
    p95: float


@dataclass(frozen=True)
class SlaMiss:
    """A date whose predictions were made after they were due, or are not made yet (UTC)."""

    feature_date: dt.date
    due: dt.datetime
    made_at: dt.datetime | None


def latest_runs(instance: dg.DagsterInstance, settings: Settings, limit: int) -> list[RunSummary]:
    """Return the latest runs, the newest first."""
    return [_summary(instance, settings, record) for record in instance.get_run_records(limit=limit)]


def durations(instance: dg.DagsterInstance, runs: int = DURATION_RUNS) -> list[Duration]:
    """Return how long each step of the latest successful runs took, the longest first.

    A step is named after its asset. A step over a range of dates counts as one.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    done = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
    for run in instance.get_runs(done, limit=runs):
        for step in instance.get_run_step_stats(run.run_id):
            if step.status and step.status.value == "SUCCESS" and step.start_time and step.end_time:
                seconds[step.step_key].append(step.end_time - step.start_time)
    steps = [
        Duration(step, len(took), float(np.percentile(took, 50)), float(np.percentile(took, 95)))
        for step, took in seconds.items()
    ]
    return sorted(steps, key=lambda step: -step.p50)


def sla_misses(
    instance: dg.DagsterInstance, settings: Settings, now: dt.datetime, days: int = SLA_DAYS
) -> list[SlaMiss]:
    """Return the dates of the last ``days`` days whose first predictions came late, the newest first.

    A date that was due before anything was ever scored is backfilled history, and no miss.
    """
    key = asset_key(CHURN_PREDICTIONS)
    first = first_record(instance, key)
    if first is None:
        return []
    last = last_due_day(now, settings)
    wanted = [last - back * ONE_DAY for back in range(days)]
    made: dict[str, dt.datetime] = {}
    of_wanted = dg.AssetRecordsFilter(key, asset_partitions=[day.isoformat() for day in wanted])
    for record in materializations(instance, of_wanted, MOST_RECORDS, oldest_first=True):
        made.setdefault(record.partition_key or "", utc(record.timestamp))
    misses = []
    for day in wanted:
        due, at = due_at(day, settings), made.get(day.isoformat())
        if due.timestamp() >= first.timestamp and (at is None or at > due):
            misses.append(SlaMiss(day, due, at))
    return misses


def _summary(instance: dg.DagsterInstance, settings: Settings, record: dg.RunRecord) -> RunSummary:
    run = record.dagster_run
    has_failed = run.status == dg.DagsterRunStatus.FAILURE
    incidents = failures(instance, record, settings, lambda _: False) if has_failed else ()
    assets = sorted(".".join(key.path) for key in run.asset_selection or ())
    ended = record.end_time - record.start_time if record.end_time and record.start_time else None
    return RunSummary(
        run_id=run.run_id,
        what=", ".join(assets) or run.job_name,
        state=run.status.value,
        started_at=utc(record.start_time) if record.start_time else None,
        seconds=ended,
        url=f"{settings.dagster_url}/runs/{run.run_id}",
        reasons=[f"{incident.what}: {incident.says}" for incident in incidents],
    )
