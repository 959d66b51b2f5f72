"""The settings' meaning for a cluster: nodes, runtime, secrets."""

import re
from typing import TYPE_CHECKING, Any

from churn_assets.databricks.compute.spot import spot_attributes
from churn_assets.errors import SettingsError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk.service.compute import ClusterDetails

# Long-term support, Spark 4.0 and Python 3.12, for which the cluster's requirements are locked.
OLDEST_RUNTIME = (17, 3)
# Terminates a cluster that was left running; the shortest time that the service accepts.
AUTOTERMINATION_MINUTES = 10

# Tags of clusters and jobs, by which the bill tells whose usage is whose (databricks/billing.py): all have
# the project, and a cluster of one Dagster run has the run's id.
PROJECT = "churn-assets"
RUN_TAG = "dagster_run_id"

# What people call them, and what the Clusters API does.
ACCESS_MODES = {"dedicated": "SINGLE_USER", "standard": "USER_ISOLATION"}

# Names of secrets in the scope that CHURN_DATABRICKS_SECRET_SCOPE names, by the variable that they become.
# None to log in with: a cluster is its user, or the job's.
SECRETS = {"CHURN_ENDPOINT_TOKEN": "endpoint-token"}


def require_compute(settings: Settings) -> None:
    """Fail if the settings name no cluster that can run this package.

    Raises:
        SettingsError: says which setting, and what it may be.
    """
    if settings.databricks_compute == "existing" and not settings.databricks_cluster_id:
        raise SettingsError(
            "CHURN_DATABRICKS_COMPUTE=existing needs CHURN_DATABRICKS_CLUSTER_ID, the cluster to use. Set it."
        )
    if settings.databricks_compute == "pool" and not settings.databricks_pool_id:
        raise SettingsError(
            "CHURN_DATABRICKS_COMPUTE=pool needs CHURN_DATABRICKS_POOL_ID, the pool of its nodes. Set it."
        )
    if settings.databricks_compute not in ("existing", "serverless"):
        require_runtime(settings.databricks_spark_version, "CHURN_DATABRICKS_SPARK_VERSION")


def require_runtime(spark_version: str, whose: str) -> None:
    """Fail unless a runtime is one that this package runs on.

    Args:
        spark_version: such as ``17.3.x-scala2.13``.
        whose: the setting that says so, or whose runtime it is, for the error.

    Raises:
        SettingsError: it is malformed or too old.
    """
    match = re.match(r"(\d+)\.(\d+)\.x-", spark_version)
    if not match:
        raise SettingsError(f"{whose} is {spark_version!r}, no runtime. Use one such as 17.3.x-scala2.13.")
    if (int(match[1]), int(match[2])) < OLDEST_RUNTIME:
        raise SettingsError(
            f"{whose} is {spark_version}, older than Databricks Runtime 17.3 LTS: up to 16.4 Spark is 3.5, "
            "which has no DataFrame.toArrow. Use 17.3 LTS or newer, such as 17.3.x-scala2.13."
        )


def require_access_mode(cluster: "ClusterDetails") -> None:
    """Fail if an existing cluster has an access mode without Unity Catalog.

    Raises:
        SettingsError: it has.
    """
    mode = cluster.data_security_mode.value if cluster.data_security_mode else ""
    if mode == "NONE" or mode.startswith("LEGACY_"):
        raise SettingsError(
            f"CHURN_DATABRICKS_CLUSTER_ID={cluster.cluster_id} has the access mode {mode}, which has no "
            "Unity Catalog. Use a cluster with dedicated or standard access."
        )


def cluster_spec(settings: Settings, secrets: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the specification of a new cluster for the Clusters API.

    Args:
        settings: runtime, node type or pool, workers.
        secrets: keys that the scope has. The cluster reads them itself; it would not start with a reference
            to one that is missing.
    """
    spec: dict[str, Any] = {
        "spark_version": settings.databricks_spark_version,
        **_size(settings),
        "custom_tags": {**settings.databricks_tags, "project": PROJECT},
        # Unity Catalog answers only these two.
        "data_security_mode": ACCESS_MODES[settings.databricks_access_mode],
        **spot_attributes(settings),
    }
    if settings.databricks_policy_id:
        spec["policy_id"] = settings.databricks_policy_id
    if settings.databricks_compute == "pool":
        spec["instance_pool_id"] = settings.databricks_pool_id
    else:
        spec["node_type_id"] = settings.databricks_node_type
    if spec.get("num_workers") == 0:
        spec["spark_conf"] = {
            "spark.databricks.cluster.profile": "singleNode",
            "spark.master": "local[*, 4]",
        }
        spec["custom_tags"]["ResourceClass"] = "SingleNode"
    if secrets:
        spec["spark_env_vars"] = {
            variable: f"{{{{secrets/{settings.databricks_secret_scope}/{key}}}}}"
            for variable, key in SECRETS.items()
            if key in secrets
        }
    return spec


def _size(settings: Settings) -> dict[str, Any]:
    fewest, most = settings.databricks_workers, settings.databricks_max_workers
    if most is None or most == fewest:
        return {"num_workers": fewest}
    return {"autoscale": {"min_workers": max(fewest, 1), "max_workers": most}}
