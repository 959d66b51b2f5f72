"""Partitioned assets that somebody has added to the graph: kept current without being listed anywhere.

The ledger knows nothing of them, as they do not write through the lake. What Dagster's event log knows is
enough for an asset by date that nobody else writes: whether a partition is there, and whether one that it
reads was materialised later.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import dagster as dg

from churn_assets.automation.staleness.planning import BaseAssetGraph
from churn_assets.automation.staleness.staleness import MISSING, UPSTREAM_NEWER
from churn_assets.dates import DateRange, contiguous_ranges

# Where each date is a run of its own, no more of them at once.
MOST_RUNS = 10

Ids = Mapping[str, int]


class OthersStep(NamedTuple):
    """One run of an asset that is not ours: its dates, whether as one range, and why."""

    key: dg.AssetKey
    dates: DateRange
    is_range: bool
    why: str


def others_steps(
    graph: BaseAssetGraph,
    instance: dg.DagsterInstance,
    ours: Collection[dg.AssetKey],
    not_yet: Mapping[dg.AssetKey, Collection[dt.date]],
) -> list[OthersStep]:
    """What is to run of assets that are not ours.

    Args:
        graph: of the code location.
        instance: where materialisations are recorded.
        ours: assets that the ledger knows.
        not_yet: dates of these that are stale, or fail a blocking check: nobody is to read them.
    """
    found: list[OthersStep] = []
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
                found += [OthersStep(key, dates, True, why) for dates in ranges]
            else:
                single = [day for dates in ranges for day in dates.days()][:MOST_RUNS]
                found += [OthersStep(key, DateRange(day, day), False, why) for day in single]
    return found


def _stale(
    graph: BaseAssetGraph,
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    waiting: Mapping[dg.AssetKey, Collection[str]],
) -> Iterator[tuple[str, str]]:
    """The partitions to materialise, each with the reason: of which all is there that they read."""
    node = graph.get(key)
    own = _ids(instance, key)
    parents = [parent for parent in node.parent_keys if graph.get(parent).partitions_def]
    ids = {parent: _ids(instance, parent) for parent in parents}
    for day in node.partitions_def.get_partition_keys() if node.partitions_def else ():
        read = [(parent, one) for parent in parents for one in _reads(graph, key, parent, day)]
        if not read or any(one in waiting.get(parent, ()) or one not in ids[parent] for parent, one in read):
            continue
        if day not in own:
            yield day, MISSING
        elif max(ids[parent][one] for parent, one in read) > own[day]:
            yield day, UPSTREAM_NEWER


def _reads(graph: BaseAssetGraph, key: dg.AssetKey, parent: dg.AssetKey, day: str) -> Collection[str]:
    node, upstream = graph.get(key), graph.get(parent).partitions_def
    if node.partitions_def is None or upstream is None:
        return ()
    mapped = graph.get_partition_mapping(key, parent).get_upstream_mapped_partitions_result_for_partitions(
        node.partitions_def.subset_with_partition_keys([day]), node.partitions_def, upstream
    )
    return set(mapped.partitions_subset.get_partition_keys())


def _ids(instance: dg.DagsterInstance, key: dg.AssetKey) -> Ids:
    return instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
