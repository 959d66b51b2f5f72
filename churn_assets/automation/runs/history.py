"""What Dagster remembers: the latest runs, how long each step takes, and predictions that came too late."""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass

import dagster as dg
import numpy as np

from churn_assets.asset_keys import asset_key
from churn_assets.automation.alerts.failures import failures
from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.freshness import due_at, last_due_day
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS

SLA_DAYS = 30
DURATION_RUNS = 50
# More often than this nobody scores the same month again.
MOST_RECORDS = 5_000


@dataclass(frozen=True)
class RunSummary:
    """One run: its assets or else its job, state, start (UTC), seconds, page, and for a failed one why."""

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
    """A step's seconds over the runs in which it succeeded: median and 95th percentile."""

    step: str
    runs: int
    p50: float
    p95: float


@dataclass(frozen=True)
class SlaMiss:
    """Predictions of a date that were made after they were due, or are not made yet (UTC)."""

    feature_date: dt.date
    due: dt.datetime
    made_at: dt.datetime | None


def latest_runs(instance: dg.DagsterInstance, settings: Settings, limit: int) -> list[RunSummary]:
    """The latest runs, the newest first."""
    return [_summary(instance, settings, record) for record in instance.get_run_records(limit=limit)]


def durations(instance: dg.DagsterInstance, runs: int = DURATION_RUNS) -> list[Duration]:
    """How long each step of the latest successful runs took, the longest first.

    An asset's step has its name. A step over a range of dates counts as one.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    done = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
    for run in instance.get_runs(done, limit=runs):
        for step in instance.get_run_step_stats(run.run_id):
            if step.status and step.status.value == "SUCCESS" and step.start_time and step.end_time:
                seconds[step.step_key].append(step.end_time - step.start_time)
    found = [
        Duration(step, len(took), float(np.percentile(took, 50)), float(np.percentile(took, 95)))
        for step, took in seconds.items()
    ]
    return sorted(found, key=lambda one: -one.p50)


def sla_misses(
    instance: dg.DagsterInstance, settings: Settings, now: dt.datetime, days: int = SLA_DAYS
) -> list[SlaMiss]:
    """The dates of the last weeks whose predictions were first made later than due, the newest first.

    What was due before anything was ever scored is history that was filled in, and no miss.
    """
    key = asset_key(CHURN_PREDICTIONS)
    first = instance.fetch_materializations(key, limit=1, ascending=True).records
    if not first:
        return []
    last = last_due_day(now, settings)
    wanted = [last - back * ONE_DAY for back in range(days)]
    made: dict[str, dt.datetime] = {}
    for record in instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[day.isoformat() for day in wanted]),
        limit=MOST_RECORDS,
        ascending=True,
    ).records:
        made.setdefault(record.partition_key or "", dt.datetime.fromtimestamp(record.timestamp, dt.UTC))
    misses = []
    for day in wanted:
        due, at = due_at(day, settings), made.get(day.isoformat())
        if due.timestamp() >= first[0].timestamp and (at is None or at > due):
            misses.append(SlaMiss(day, due, at))
    return misses


def _summary(instance: dg.DagsterInstance, settings: Settings, record: dg.RunRecord) -> RunSummary:
    run = record.dagster_run
    has_failed = run.status == dg.DagsterRunStatus.FAILURE
    reasons = failures(instance, record, settings, lambda _: False) if has_failed else ()
    assets = sorted(".".join(key.path) for key in run.asset_selection or ())
    ended = record.end_time - record.start_time if record.end_time and record.start_time else None
    return RunSummary(
        run_id=run.run_id,
        what=", ".join(assets) or run.job_name,
        state=run.status.value,
        started_at=dt.datetime.fromtimestamp(record.start_time, dt.UTC) if record.start_time else None,
        seconds=ended,
        url=f"{settings.dagster_url.rstrip('/')}/runs/{run.run_id}",
        reasons=[f"{one.what}: {one.says}" for one in reasons],
    )
