"""What the specification of a cluster may say, beyond the types of its fields."""

import re
from typing import Any

from churn_assets_tests.workspace.compute_types import NODE_TYPES, SPARK_VERSIONS
from churn_assets_tests.workspace.pools import Pools
from churn_assets_tests.workspace.routing import Violation

# Real, but without effect here: refused, so that nothing relies on them.
NOT_EMULATED = {"apply_policy_default_values", "clone_from", "docker_image", "init_scripts"}


def check(spec: dict[str, Any], pools: Pools) -> None:
    """Refuse a cluster that cannot be, or that asks for what is not emulated.

    Raises:
        Violation: naming what is wrong.
        ApiError: the pool does not exist.
    """
    for name in sorted(NOT_EMULATED & set(spec)):
        raise Violation(f"{name} of a cluster is not emulated.")
    version, node, pool = (spec.get(field) for field in ("spark_version", "node_type_id", "instance_pool_id"))
    if version not in SPARK_VERSIONS:
        raise Violation(f"Invalid spark version {version}.")
    if bool(node) == bool(pool):
        raise Violation("A cluster takes either node_type_id or instance_pool_id.")
    if node and node not in NODE_TYPES:
        raise Violation(f"Node type {node} is not supported.")
    if pool:
        pools.get(pool)
    _check_size(spec)
    minutes = spec.get("autotermination_minutes")
    if minutes and not 10 <= minutes <= 10000:
        raise Violation(f"autotermination_minutes is {minutes}; it must be 0 or from 10 to 10000.")
    for name in spec.get("spark_env_vars") or {}:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise Violation(f"{name!r} is no name for an environment variable.")


def _check_size(spec: dict[str, Any]) -> None:
    sizes = [name for name in ("num_workers", "autoscale", "is_single_node") if name in spec]
    if len(sizes) != 1:
        raise Violation(f"A cluster takes one of num_workers, autoscale and is_single_node, not {sizes}.")
    profile = (spec.get("spark_conf") or {}).get("spark.databricks.cluster.profile")
    if spec.get("num_workers") == 0 and profile != "singleNode":
        raise Violation("Without workers, spark_conf must say spark.databricks.cluster.profile: singleNode.")
