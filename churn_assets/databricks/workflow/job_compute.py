"""Where the job's tasks run, serverless or on one cluster, and how the settings reach them."""

from typing import Any, cast

from churn_assets.databricks.compute.compute import cluster_spec, require_runtime
from churn_assets.databricks.compute.serverless import ENVIRONMENT_KEY, environment
from churn_assets.errors import SettingsError
from churn_assets.identity import OF_THIS_MACHINE
from churn_assets.settings import Settings

JOB_CLUSTER = "main-cluster"

# Settings that only the machine that creates the job reads.
HERE_ONLY = frozenset(
    {
        "CHURN_ALERT_EMAILS",
        "CHURN_DAGSTER_URL",
        "CHURN_DATABRICKS_ACCESS_MODE",
        "CHURN_DATABRICKS_BUDGET_POLICY_ID",
        "CHURN_DATABRICKS_CLUSTER_ID",
        "CHURN_DATABRICKS_COMPUTE",
        "CHURN_DATABRICKS_DBU_RATES",
        "CHURN_DATABRICKS_JOB_COMPUTE",
        "CHURN_DATABRICKS_MAX_WORKERS",
        "CHURN_DATABRICKS_PERFORMANCE_TARGET",
        "CHURN_DATABRICKS_POLICY_ID",
        "CHURN_DATABRICKS_POLL_SECONDS",
        "CHURN_DATABRICKS_POOL_ID",
        "CHURN_DATABRICKS_RUN_AS",
        "CHURN_DATABRICKS_SPOT",
        "CHURN_DATABRICKS_TAGS",
        "CHURN_LAKE_ROOT",
        "CHURN_SLA_MINUTES",
        "CHURN_SPARK_MASTER",
        "DAGSTER_HOME",
        *OF_THIS_MACHINE,
    }
)
# Of the bundled scoring server, and of Dagster's own e-mails.
HERE_ONLY_PREFIXES = ("CHURN_ENDPOINT_", "CHURN_SMTP_")
# Serverless compute has neither machines nor a runtime to choose: these are the launcher's clusters' then.
OF_CLUSTERS = {
    "CHURN_DATABRICKS_ACCESS_MODE",
    "CHURN_DATABRICKS_MAX_WORKERS",
    "CHURN_DATABRICKS_NODE_TYPE",
    "CHURN_DATABRICKS_POLICY_ID",
    "CHURN_DATABRICKS_SPARK_VERSION",
    "CHURN_DATABRICKS_SPOT",
    "CHURN_DATABRICKS_WORKERS",
}

# What each task installs: libraries of a cluster, or the dependencies of an environment.
Installs = list[dict[str, str]] | list[str]


def require_job_compute(settings: Settings) -> None:
    """Fail if the settings ask of the job's compute what it does not have.

    Raises:
        SettingsError: says which setting, and what to do.
    """
    if settings.databricks_job_compute == "serverless":
        return
    require_runtime(settings.databricks_spark_version, "CHURN_DATABRICKS_SPARK_VERSION")
    serverless_only = {
        "CHURN_DATABRICKS_BUDGET_POLICY_ID": bool(settings.databricks_budget_policy_id),
        "CHURN_DATABRICKS_PERFORMANCE_TARGET": settings.databricks_performance_target != "standard",
    }
    if named := [name for name, is_set in serverless_only.items() if is_set]:
        raise SettingsError(
            f"{' and '.join(named)} is for serverless compute, and CHURN_DATABRICKS_JOB_COMPUTE=cluster. "
            "Unset it, or use CHURN_DATABRICKS_JOB_COMPUTE=serverless."
        )


def of_job(settings: Settings, installs: Installs, secrets: frozenset[str]) -> dict[str, Any]:
    """Return the job's fields about its compute.

    Args:
        settings: of the deployment.
        installs: of each task; serverless, one line of a requirements file each.
        secrets: keys that the secret scope has, which a cluster reads itself.
    """
    if settings.databricks_job_compute == "cluster":
        spec = cluster_spec(settings, secrets)
        spec["spark_env_vars"] = {**variables(settings), **spec.get("spark_env_vars", {})}
        return {"job_clusters": [{"job_cluster_key": JOB_CLUSTER, "new_cluster": spec}]}
    budget = settings.databricks_budget_policy_id
    return {
        "environments": [environment(cast("list[str]", installs))],
        "performance_target": settings.databricks_performance_target.upper(),
        **({"budget_policy_id": budget} if budget else {}),
    }


def of_task(settings: Settings, installs: Installs) -> dict[str, Any]:
    """Return a task's fields about its compute."""
    if settings.databricks_job_compute == "cluster":
        return {"job_cluster_key": JOB_CLUSTER, "libraries": installs}
    # Left on, it retries whatever fails, as often as it likes, and the alert waits for that.
    return {"environment_key": ENVIRONMENT_KEY, "disable_auto_optimization": True}


def arguments(settings: Settings) -> list[str]:
    """Return what a task is told besides its name: on serverless compute the settings, without any secret.

    There are no environment variables there.
    """
    if settings.databricks_job_compute == "cluster":
        return []
    return [f"{name}={value}" for name, value in variables(settings).items() if name not in OF_CLUSTERS]


def variables(settings: Settings) -> dict[str, str]:
    """Return the settings that tasks read, by environment variable."""
    travelling = {
        name: value
        for name, value in settings.as_env().items()
        if name not in HERE_ONLY and not name.startswith(HERE_ONLY_PREFIXES)
    }
    return {**travelling, "DAGSTER_DISABLE_TELEMETRY": "true"}
