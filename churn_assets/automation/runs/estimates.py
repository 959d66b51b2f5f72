"""How long steps will take, from how long they took: the runs in Dagster's history, no guess of ours."""

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

# Enough for a median; a longer look back would mix in other machines and other sizes of data.
LOOKED_AT = 60


@dataclass(frozen=True)
class Past:
    """One run of the past: for how many dates, and how long it took."""

    dates: int
    seconds: float


class Estimator:
    """Says how long a step takes: a fixed part, and one for each of its dates."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._past: dict[frozenset[dg.AssetKey], list[Past]] = defaultdict(list)
        succeeded = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
        for record in instance.get_run_records(succeeded, limit=LOOKED_AT * 5):
            run, start, end = record.dagster_run, record.start_time, record.end_time
            dates = _dates(run.tags)
            if dates and run.asset_selection and start and end:
                self._past[frozenset(run.asset_selection)].append(Past(dates, end - start))

    def seconds(self, step: Step) -> float | None:
        """The estimate; None where no run like this one is known."""
        keys = frozenset(asset_key(table) for table in step.tables)
        dates = len(step.days)
        if keys in self._past:
            return seconds_of(self._past[keys][:LOOKED_AT], dates)
        # Tables that shared no run yet: as one after the other.
        alone = [self._past.get(frozenset([key])) for key in keys]
        known = [seconds_of(past[:LOOKED_AT], dates) for past in alone if past]
        if len(known) == len(keys):
            return sum(known)
        # Or they shared one with others, which then is an upper bound.
        wider = [past for others, past in self._past.items() if keys < others]
        return min((seconds_of(past[:LOOKED_AT], dates) for past in wider), default=None)

    def runs(self) -> int:
        """How many runs of the past there are to tell from."""
        return sum(len(past) for past in self._past.values())


def dbu(settings: Settings, seconds: float) -> float | None:
    """What that many seconds cost on Databricks, in DBU; None elsewhere, or where the rate is not known."""
    if settings.deployment != "databricks":
        return None
    return dbu_estimate(
        seconds,
        settings.databricks_node_type,
        settings.databricks_workers,
        settings.databricks_dbu_rates,
    )


def seconds_of(past: Sequence[Past], dates: int) -> float:
    """The line through the runs, by medians: a run that was slow for another reason moves it little.

    Of runs of one size only, their median, in proportion for more dates: a bound from above, as a range of
    dates costs less than its dates one by one.
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


def _by_size(past: Iterable[Past]) -> dict[int, list[Past]]:
    found: dict[int, list[Past]] = defaultdict(list)
    for run in past:
        found[run.dates].append(run)
    return found


def _dates(tags: Mapping[str, str]) -> int:
    start, end = tags.get(RANGE_START_TAG), tags.get(RANGE_END_TAG)
    if start and end:
        return len(list(DateRange(dt.date.fromisoformat(start), dt.date.fromisoformat(end)).days()))
    return 1 if "dagster/partition" in tags else 0
