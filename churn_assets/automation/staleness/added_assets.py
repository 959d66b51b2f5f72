"""Partitioned assets that users of the platform add to the graph: kept current without being listed.

The ledger knows nothing of them, as they do not write through the lake. Dagster's event log is enough for a
partitioned asset that nothing else writes: it says whether a partition is there, and whether one that it
reads was materialised later.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import dagster as dg

from churn_assets.automation.history.log_reader import storage_ids_by_partition
from churn_assets.automation.staleness.planning import BaseAssetGraph
from churn_assets.automation.staleness.staleness import MISSING, UPSTREAM_NEWER
from churn_assets.dates import DateRange, contiguous_ranges

# The limit per tick for assets whose every date is a separate run.
MOST_RUNS = 10


class AddedStep(NamedTuple):
    """One run of an added asset: its dates, whether they are one range, and why it runs."""

    key: dg.AssetKey
    dates: DateRange
    is_range: bool
    why: str


def added_steps(
    graph: BaseAssetGraph,
    instance: dg.DagsterInstance,
    ours: Collection[dg.AssetKey],
    not_yet: Mapping[dg.AssetKey, Collection[dt.date]],
) -> list[AddedStep]:
    """Return the runs that bring added assets up to date.

    Args:
        graph: the graph of the code location.
        instance: where materialisations are recorded.
        ours: assets that the ledger knows.
        not_yet: dates of these that are stale or fail a blocking check, and must not be read.
    """
    steps: list[AddedStep] = []
    waiting = {key: set(map(str, dates)) for key, dates in not_yet.items()}
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        if key in ours or not node.is_executable or node.automation_condition:
            continue
        if not isinstance(node.partitions_def, dg.DailyPartitionsDefinition):
            continue
        stale = dict(_stale(graph, instance, key, waiting))
        waiting[key] = set(stale)
        for why in sorted(set(stale.values())):
            ranges = contiguous_ranges(dt.date.fromisoformat(day) for day in stale if stale[day] == why)
            policy = node.backfill_policy
            if policy and policy.max_partitions_per_run is None:
                steps += [AddedStep(key, dates, True, why) for dates in ranges]
            else:
                single = [day for dates in ranges for day in dates.days()][:MOST_RUNS]
                steps += [AddedStep(key, DateRange(day, day), False, why) for day in single]
    return steps


def _stale(
    graph: BaseAssetGraph,
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    waiting: Mapping[dg.AssetKey, Collection[str]],
) -> Iterator[tuple[str, str]]:
    """Yield the partitions to materialise and the reason, of those whose upstream partitions all exist."""
    node = graph.get(key)
    own = storage_ids_by_partition(instance, key)
    parents = [parent for parent in node.parent_keys if graph.get(parent).partitions_def]
    ids = {parent: storage_ids_by_partition(instance, parent) for parent in parents}
    for day in node.partitions_def.get_partition_keys() if node.partitions_def else ():
        read = [(parent, date) for parent in parents for date in _reads(graph, key, parent, day)]
        if not read or any(
            date in waiting.get(parent, ()) or date not in ids[parent] for parent, date in read
        ):
            continue
        if day not in own:
            yield day, MISSING
        elif max(ids[parent][date] for parent, date in read) > own[day]:
            yield day, UPSTREAM_NEWER


def _reads(graph: BaseAssetGraph, key: dg.AssetKey, parent: dg.AssetKey, day: str) -> Collection[str]:
    node, upstream = graph.get(key), graph.get(parent).partitions_def
    if node.partitions_def is None or upstream is None:
        return ()
    mapped = graph.get_partition_mapping(key, parent).get_upstream_mapped_partitions_result_for_partitions(
        node.partitions_def.subset_with_partition_keys([day]), node.partitions_def, upstream
    )
    return set(mapped.partitions_subset.get_partition_keys())
