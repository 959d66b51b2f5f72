"""What each asset and each run was billed, beside the estimates that their materialisations carry.

Rows of the bill find their asset by the Databricks run or the cluster that a materialisation names, else by
the Dagster run that a cluster has as a tag. What several assets used together is shared out by the seconds
that each took.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import dagster as dg
from dagster import DagsterEventType

from churn_assets.automation.history.log_reader import utc
from churn_assets.databricks.billing import Usage
from churn_assets.dates import ONE_DAY

# A materialisation has them from the step launcher: databricks/steps/following.py.
RUN_ID, CLUSTER, SECONDS, ESTIMATE = "run_id", "cluster", "execution_seconds", "dbu_estimate"
MOST_RUNS = 5_000


class StepOnDatabricks(NamedTuple):
    """A step that ran on Databricks: by its run there, its cluster, and its Dagster run.

    ``seconds`` and ``dbu_estimate`` are of the whole step, however many assets and partitions it wrote;
    ``dbu_estimate`` is None where the rate of the cluster's nodes is not known.
    """

    job_run_id: str
    cluster_id: str
    dagster_run_id: str
    assets: tuple[str, ...]
    seconds: float
    dbu_estimate: float | None


@dataclass
class Cost:
    """What was billed for one thing, and what its steps had been estimated at, both in DBU.

    ``cost`` is at list price in ``billing.CURRENCY``; without the SKUs that have no price.
    """

    dbu: float = 0.0
    cost: float = 0.0
    dbu_estimate: float | None = None

    def add(self, used: Usage, share: float = 1.0) -> None:
        """Add a share of a row of the bill."""
        self.dbu += used.dbu * share
        self.cost += (used.cost or 0.0) * share


@dataclass
class Costs:
    """Costs by asset, by run, and by what was billed for neither.

    ``total`` is of the whole bill: the sum over all assets and ``not_attributed``. ``until`` is the end of
    its last hour (UTC), None for an empty one. ``unpriced`` are the SKUs without a list price.
    """

    assets: dict[str, Cost] = field(default_factory=dict)
    runs: dict[str, Cost] = field(default_factory=dict)
    not_attributed: dict[str, Cost] = field(default_factory=dict)
    total: Cost = field(default_factory=Cost)
    until: dt.datetime | None = None
    unpriced: list[str] = field(default_factory=list)


def steps_on_databricks(instance: dg.DagsterInstance, since: dt.date) -> list[StepOnDatabricks]:
    """Return the steps of all runs that ended since a day began (UTC), from Dagster's log."""
    after = dt.datetime.combine(since, dt.time(), dt.UTC)
    found: dict[str, tuple[StepOnDatabricks, set[str]]] = {}
    for run in instance.get_run_records(dg.RunsFilter(updated_after=after), limit=MOST_RUNS):
        run_id = run.dagster_run.run_id
        events = instance.get_records_for_run(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION).records
        for record in events:
            event = record.event_log_entry.dagster_event
            materialization = event.step_materialization_data.materialization if event else None
            if materialization is None or RUN_ID not in materialization.metadata:
                continue
            if utc(record.timestamp) < after:
                continue
            told = {name: value.value for name, value in materialization.metadata.items()}
            step = StepOnDatabricks(
                job_run_id=str(told[RUN_ID]),
                cluster_id=str(told.get(CLUSTER) or ""),
                dagster_run_id=run_id,
                assets=(),
                seconds=_number(told.get(SECONDS)) or 0.0,
                dbu_estimate=_number(told.get(ESTIMATE)),
            )
            _, assets = found.setdefault(step.job_run_id, (step, set()))
            assets.add(".".join(materialization.asset_key.path))
    return [step._replace(assets=tuple(sorted(assets))) for step, assets in found.values()]


def attribute(bill: Sequence[Usage], steps: Sequence[StepOnDatabricks], endpoint: tuple[str, str]) -> Costs:
    """Find the asset and the run of each row of the bill.

    Args:
        bill: what ``billing.usage`` returns.
        steps: what ``steps_on_databricks`` returns.
        endpoint: the name of the deployment's endpoint, and the asset that it is.
    """
    costs = Costs(unpriced=sorted({used.sku for used in bill if used.cost is None}))
    costs.until = max((used.until for used in bill), default=None)
    by_job, by_cluster, by_run = (
        _grouped(steps, name) for name in ("job_run_id", "cluster_id", "dagster_run_id")
    )
    for used in bill:
        costs.total.add(used)
        behind = (
            by_job.get(used.job_run_id or "")
            or by_cluster.get(used.cluster_id or "")
            or by_run.get(used.dagster_run_id or "")
            or []
        )
        for run, share in _runs(used, behind).items():
            costs.runs.setdefault(run, Cost()).add(used, share)
        shares = _assets(used, behind, endpoint)
        for asset, share in shares.items():
            costs.assets.setdefault(asset, Cost()).add(used, share)
        if not shares:
            costs.not_attributed.setdefault(_what(used), Cost()).add(used)
    _add_estimates(costs, steps)
    return costs


def _assets(used: Usage, behind: Sequence[StepOnDatabricks], endpoint: tuple[str, str]) -> dict[str, float]:
    if used.endpoint == endpoint[0]:
        return {endpoint[1]: 1.0}
    return _shares((asset, step.seconds / len(step.assets)) for step in behind for asset in step.assets)


def _runs(used: Usage, behind: Sequence[StepOnDatabricks]) -> dict[str, float]:
    if used.dagster_run_id:
        return {used.dagster_run_id: 1.0}
    if behind:
        return _shares((step.dagster_run_id, step.seconds) for step in behind)
    return {f"job run {used.job_run_id}": 1.0} if used.job_run_id else {}


def _shares(weights: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return each name's share; equal ones where nothing has a weight."""
    sums: dict[str, float] = defaultdict(float)
    for name, weight in weights:
        sums[name] += weight
    total = sum(sums.values())
    return {name: weight / total if total else 1 / len(sums) for name, weight in sums.items()}


def _what(used: Usage) -> str:
    if used.warehouse_id:
        return f"SQL warehouse {used.warehouse_id}, whoever used it"
    if used.endpoint:
        return f"endpoint {used.endpoint}"
    if used.job_run_id:
        return f"job run {used.job_run_id}: no step of this Dagster history (a night of churn workflow?)"
    if used.cluster_id:
        return f"cluster {used.cluster_id}: no step of this Dagster history ran there"
    return f"{used.sku}: the bill names no job, cluster or endpoint"


def _add_estimates(costs: Costs, steps: Sequence[StepOnDatabricks]) -> None:
    for step in steps:
        if step.dbu_estimate is None:
            continue
        places: Mapping[str, dict[str, Cost]] = {
            step.dagster_run_id: costs.runs,
            **dict.fromkeys(step.assets, costs.assets),
        }
        for name, costs_by_name in places.items():
            share = 1 if name == step.dagster_run_id else 1 / len(step.assets)
            cost = costs_by_name.setdefault(name, Cost())
            cost.dbu_estimate = (cost.dbu_estimate or 0.0) + step.dbu_estimate * share
        costs.total.dbu_estimate = (costs.total.dbu_estimate or 0.0) + step.dbu_estimate


def _grouped(steps: Sequence[StepOnDatabricks], by: str) -> dict[str, list[StepOnDatabricks]]:
    groups: dict[str, list[StepOnDatabricks]] = defaultdict(list)
    for step in steps:
        if key := getattr(step, by):
            groups[key].append(step)
    return groups


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def first_day(today: dt.date, days: int) -> dt.date:
    """Return the first of the last ``days`` days."""
    return today - (days - 1) * ONE_DAY
