"""Assets that do what the test tells them by configuration. Neither Spark nor churn_assets is needed."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

LAUNCHED = {"pyspark_step_launcher"}
DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11")

log = logging.getLogger(__name__)


class ProbeConfig(dg.Config):
    """What a step does: marks that it ran, says something, waits for a file, fails."""

    marks: str = ""
    waits_for: str = ""
    says: str = ""
    fails: bool = False


@dg.asset(required_resource_keys=LAUNCHED, code_version="1")
def source(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("source says hello")
    return dg.MaterializeResult(
        metadata={"environment": dict(os.environ)}, data_version=dg.DataVersion("seven")
    )


@dg.asset(deps=[source], required_resource_keys=LAUNCHED, code_version="1")
def derived(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"python": f"{sys.version_info.major}.{sys.version_info.minor}"})


@dg.asset(
    partitions_def=DAYS, required_resource_keys=LAUNCHED, backfill_policy=dg.BackfillPolicy.single_run()
)
def by_day(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    for day in context.partition_keys:
        context.add_asset_metadata({"day": day}, partition_key=day)
    context.log_event(dg.AssetObservation("by_month", partition="2026-01", tags={"seen": "yes"}))
    return dg.MaterializeResult(metadata={"first": context.partition_key_range.start})


@dg.asset(required_resource_keys=LAUNCHED)
def probe(context: dg.AssetExecutionContext, config: ProbeConfig) -> dg.MaterializeResult:
    return _probe(context, config)


@dg.asset(required_resource_keys=LAUNCHED, retry_policy=dg.RetryPolicy(max_retries=1))
def retried_probe(context: dg.AssetExecutionContext, config: ProbeConfig) -> dg.MaterializeResult:
    return _probe(context, config)


@dg.multi_asset(
    specs=[dg.AssetSpec("first_half"), dg.AssetSpec("second_half")], required_resource_keys=LAUNCHED
)
def halves(context: dg.AssetExecutionContext, config: ProbeConfig) -> Iterator[dg.MaterializeResult]:
    yield dg.MaterializeResult("first_half", metadata={"rows": 7})
    if config.says:
        context.log.info(config.says)
    _wait(config)
    raise ValueError("nothing came of the second half")


@dg.asset_check(asset=source, required_resource_keys=LAUNCHED)
def source_is_seven(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, description="it is", metadata={"checked": True})


def _probe(context: dg.AssetExecutionContext, config: ProbeConfig) -> dg.MaterializeResult:
    if config.marks:
        with Path(config.marks).open("a") as marks:
            marks.write(f"{os.getpid()}\n")
    if config.says:
        context.log.info(config.says)
        log.info("a logger says %s", config.says)
        print(f"print says {config.says}")
    _wait(config)
    if config.fails:
        raise ValueError("the asset's own error")
    return dg.MaterializeResult(metadata={"environment": dict(os.environ)})


def _wait(config: ProbeConfig) -> None:
    while config.waits_for and not Path(config.waits_for).exists():
        time.sleep(0.05)


def build_defs(
    step_launcher: Any, launched: Callable[[Iterable[Any]], Iterable[Any]] = list
) -> dg.Definitions:
    """The graph, with what takes its steps to a cluster, and what makes its definitions fit for that."""
    return dg.Definitions(
        assets=launched([source, derived, by_day, probe, retried_probe, halves]),
        asset_checks=launched([source_is_seven]),
        resources={"pyspark_step_launcher": step_launcher},
        executor=dg.in_process_executor,
    )


# What the cluster loads: no launcher, or it would launch again.
defs = build_defs(dg.ResourceDefinition.none_resource())
