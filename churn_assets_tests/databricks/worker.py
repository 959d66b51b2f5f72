"""A run worker of the tiny graph, as a process that can be interrupted and killed.

Takes one JSON object on standard input: ``home`` (folder of the Dagster instance), ``settings``, ``launcher``
(options), ``asset`` (or its op, where ``selects`` names its assets), ``config``, and ``run_id`` to go on with
that run. Prints the Dagster run's id and, at the end, its status.
"""

import json
import sys
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from churn_assets import settings as settings_module
from churn_assets.databricks.steps.launchers import launcher
from churn_assets_tests.databricks import tiny


def main(order: dict[str, Any]) -> None:
    """Run the asset, or go on with the run that another worker has left."""
    settings = settings_module.load(_env_file=None, **order["settings"])
    options = {"package": tiny.TINY_CHURN, "definitions": "tiny_churn.definitions", **order["launcher"]}
    keys = {dg.AssetKey(name) for name in order.get("selects", [order["asset"]])}
    graph = tiny.graph(settings, lambda: launcher(settings, **options))
    job = graph.get_subset(asset_selection=keys)
    with dg.DagsterInstance.local_temp(order["home"]) as instance:
        before = order.get("run_id")
        run = instance.get_run_by_id(before) if before else None
        run = run or instance.create_run_for_job(
            job,
            run_config={"ops": {order["asset"]: {"config": order["config"]}}},
            asset_selection=frozenset(keys),
        )
        print(run.run_id, flush=True)
        for _ in execute_run_iterator(
            InMemoryJob(job), run, instance, resume_from_failure=before is not None
        ):
            pass
        finished = instance.get_run_by_id(run.run_id)
        print(finished.status.value if finished else "gone", flush=True)


if __name__ == "__main__":
    main(json.load(sys.stdin))
