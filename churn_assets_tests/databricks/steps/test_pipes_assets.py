"""The graph as the Pipes launcher has it: nothing of a definition is lost, and nothing is computed here."""

from typing import Any

import dagster as dg

from churn_assets import settings as settings_module
from churn_assets.graph import build_defs

OF_A_NODE = (
    "backfill_policy",
    "code_version",
    "description",
    "freshness_policy",
    "group_name",
    "kinds",
    "metadata",
    "owners",
    "parent_keys",
    "partition_mappings",
    "partitions_def",
    "tags",
)


def databricks_graph(launcher: str) -> dg.Definitions:
    settings = settings_module.load(_env_file=None, deployment="databricks", databricks_launcher=launcher)
    return build_defs(settings)


def nodes(defs: dg.Definitions) -> dict[str, Any]:
    job = defs.resolve_implicit_global_asset_job_def()
    return {node.name: node.definition for node in job.nodes}


def test_both_launchers_have_the_same_graph() -> None:
    ours, theirs = (databricks_graph(launcher).resolve_asset_graph() for launcher in ("step", "pipes"))

    assert ours.executable_asset_keys == theirs.executable_asset_keys
    assert ours.asset_check_keys == theirs.asset_check_keys
    for key in ours.executable_asset_keys:
        for name in OF_A_NODE:
            assert getattr(ours.get(key), name) == getattr(theirs.get(key), name), (key, name)
    for key in ours.asset_check_keys:
        assert ours.get(key).blocking == theirs.get(key).blocking


def test_both_launchers_have_the_same_pools_retries_and_tags() -> None:
    ours, theirs = nodes(databricks_graph("step")), nodes(databricks_graph("pipes"))

    assert ours.keys() == theirs.keys()
    for name, op in ours.items():
        assert (op.pool, op.retry_policy, op.tags) == (
            theirs[name].pool,
            theirs[name].retry_policy,
            theirs[name].tags,
        )


def test_a_launched_op_reads_and_writes_nothing_here() -> None:
    launched = [
        op
        for op in nodes(databricks_graph("pipes")).values()
        if op.required_resource_keys == {"pyspark_step_launcher"}
    ]

    assert len(launched) > 20
    for op in launched:
        assert all(one.dagster_type.is_nothing for one in [*op.input_defs, *op.output_defs])
