"""Estimates of how long steps will take, from the runs in Dagster's history."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.run_tags import RANGE_END_TAG, RANGE_START_TAG
from churn_assets.automation.staleness.plan import Step
from churn_assets.databricks.compute.cost import dbu_estimate
from churn_assets.dates import DateRange
from churn_assets.settings import Settings

# Enough for a median; more runs would mix in other machines and other sizes of data.
RECENT_RUNS = 60


@dataclass(frozen=True)
class PastRun:
    """A successful run: its number of dates and its seconds."""

    dates: int
    seconds: float


class Estimator:
    """Estimates the seconds of a step: a fixed part, and a part for each of its dates."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._past: dict[frozenset[dg.AssetKey], list[PastRun]] = defaultdict(list)
        succeeded = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
        for record in instance.get_run_records(succeeded, limit=RECENT_RUNS * 5):
            run, start, end = record.dagster_run, record.start_time, record.end_time
            dates = _dates(run.tags)
            if dates and run.asset_selection and start and end:
                self._past[frozenset(run.asset_selection)].append(PastRun(dates, end - start))

    def seconds(self, step: Step) -> float | None:
        """Return the estimate, None if no similar run is recorded."""
        keys = frozenset(asset_key(table) for table in step.tables)
        dates = len(step.days)
        if keys in self._past:
            return seconds_of(self._past[keys][:RECENT_RUNS], dates)
        # Tables that have shared no run yet: the sum of their own runs.
        alone = [self._past.get(frozenset([key])) for key in keys]
        known = [seconds_of(past[:RECENT_RUNS], dates) for past in alone if past]
        if len(known) == len(keys):
            return sum(known)
        # Tables that have shared a run only with more tables: that is an upper bound.
        wider = [past for others, past in self._past.items() if keys < others]
        return min((seconds_of(past[:RECENT_RUNS], dates) for past in wider), default=None)

    def runs(self) -> int:
        """Return the number of past runs that estimates are made from."""
        return sum(len(past) for past in self._past.values())


def dbu(settings: Settings, seconds: float) -> float | None:
    """Return the cost of these seconds on Databricks in DBU, None elsewhere or if the rate is not known."""
    if settings.deployment != "databricks":
        return None
    return dbu_estimate(
        seconds,
        settings.databricks_node_type,
        settings.databricks_workers,
        settings.databricks_dbu_rates,
    )


def seconds_of(past: Sequence[PastRun], dates: int) -> float:
    """Return the seconds for ``dates`` dates on a line of medians, which one slow run moves little.

    Runs of a single size give their median, scaled up for more dates: an upper bound, as a range of dates
    takes less than its dates one by one.
    """
    by_size = {size: median(run.seconds for run in runs) for size, runs in _by_size(past).items()}
    if len(by_size) == 1:
        size, seconds = next(iter(by_size.items()))
        return seconds * max(1.0, dates / size)
    sizes = sorted(by_size)
    slope = median(
        (by_size[larger] - by_size[smaller]) / (larger - smaller)
        for place, smaller in enumerate(sizes)
        for larger in sizes[place + 1 :]
    )
    slope = max(slope, 0.0)
    return max(median(by_size[size] - slope * size for size in sizes), 0.0) + slope * dates


def _by_size(past: Iterable[PastRun]) -> dict[int, list[PastRun]]:
    by_size: dict[int, list[PastRun]] = defaultdict(list)
    for run in past:
        by_size[run.dates].append(run)
    return by_size


def _dates(tags: Mapping[str, str]) -> int:
    start, end = tags.get(RANGE_START_TAG), tags.get(RANGE_END_TAG)
    if start and end:
        return len(list(DateRange(dt.date.fromisoformat(start), dt.date.fromisoformat(end)).days()))
    return 1 if "dagster/partition" in tags else 0
