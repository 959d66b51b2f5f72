"""Checks of what a ``databricks`` deployment needs in its workspace, before anything costs money."""

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import requests
from databricks.sdk.errors import InvalidParameterValue, NotFound, PermissionDenied
from databricks.sdk.errors.base import DatabricksError

from churn_assets.databricks.catalog.online_table import online_table
from churn_assets.databricks.client import workspace_client
from churn_assets.databricks.compute.compute import (
    SECRETS,
    require_access_mode,
    require_compute,
    require_runtime,
)
from churn_assets.databricks.compute.cost import DBU_PER_HOUR
from churn_assets.databricks.compute.secret_scope import scope_keys
from churn_assets.databricks.compute.serverless import ENVIRONMENT_VERSION
from churn_assets.databricks.staging import step_staging
from churn_assets.databricks.workflow.job_compute import OF_CLUSTERS
from churn_assets.databricks.workflow.spec import job_specification
from churn_assets.errors import SettingsError, WorkspaceError, one_line
from churn_assets.identity import identity
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

# A wrong host is reported sooner than a long run would give up.
PATIENCE_SECONDS = 15.0
PROBE = b"churn"
# How its URLs look, s3://dbstorage-prod-…/uc/…: no field of a catalog says so.
DEFAULT_STORAGE = re.compile(r"^\w+://[^/]*dbstorage-?prod")

Question = Callable[[], str]


def questions(settings: Settings) -> dict[str, Question]:
    """Return the checks by their subject, in the order in which a run depends on them.

    Each returns what the workspace has, or raises a ``ChurnError`` that says what is missing and what to do.
    """
    return {
        "workspace": lambda: require_workspace(settings),
        "staging": lambda: _staging(settings, _client(settings)),
        "compute": lambda: _compute(settings, _client(settings)),
        "job": lambda: _job(settings, _client(settings)),
        "secrets": lambda: _secrets(settings, _client(settings)),
        "look-ups": lambda: _lookups(settings),
        "cost": lambda: _cost(settings),
    }


def require_workspace(settings: Settings, patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Return the user or service principal that the workspace authenticates this deployment as.

    Raises:
        SettingsError: host or credentials are not set.
        WorkspaceError: it does not answer, or does not accept the credentials.
    """
    client = workspace_client(settings, min(patience_seconds, PATIENCE_SECONDS))
    try:
        user = client.current_user.me().user_name
    except (DatabricksError, requests.RequestException, TimeoutError, ValueError) as error:
        # ValueError: a service principal's secret is wrong. Why a connection failed is in the cause.
        raise WorkspaceError(
            f"{client.config.host} does not let this deployment in: "
            f"{one_line(error.__cause__ or error)}. Check DATABRICKS_HOST and the token or the "
            "service principal."
        ) from error
    who = identity(settings)
    beside = f", not {' and '.join(who.unused)}" if who.unused else ""
    found = "" if "auth_type" in who.arguments else f" ({client.config.auth_type})"
    return f"{client.config.host} knows {who.says}{found}{beside} as {user}"


def _client(settings: Settings) -> "WorkspaceClient":
    return workspace_client(settings, PATIENCE_SECONDS)


def _staging(settings: Settings, client: "WorkspaceClient") -> str:
    staging = step_staging(settings, client)
    folder = f"{staging.root}/probe"
    try:
        staging.put(f"{folder}/probe", PROBE)
        content = staging.get(f"{folder}/probe")
        staging.delete(folder)
    except DatabricksError as error:
        raise WorkspaceError(f"{staging.root} cannot be used for staging: {one_line(error)}.") from error
    if content != PROBE:
        raise WorkspaceError(f"{staging.root} returned other bytes than were put there. Use another volume.")
    return f"{staging.root} can be written and read"


def _compute(settings: Settings, client: "WorkspaceClient") -> str:
    require_compute(settings)
    if settings.databricks_compute == "serverless":
        return f"serverless, environment version {ENVIRONMENT_VERSION}: nothing starts, nothing stays"
    try:
        match settings.databricks_compute:
            case "existing":
                cluster = client.clusters.get(settings.databricks_cluster_id)
                require_runtime(
                    cluster.spark_version or "",
                    f"The runtime of CHURN_DATABRICKS_CLUSTER_ID={cluster.cluster_id}",
                )
                require_access_mode(cluster)
                return f"the cluster {cluster.cluster_name}, {cluster.spark_version}"
            case "pool":
                pool = client.instance_pools.get(settings.databricks_pool_id)
                nodes = f"{settings.databricks_workers} workers from the pool {pool.instance_pool_name}"
            case _:
                known = {node.node_type_id for node in client.clusters.list_node_types().node_types or []}
                _require_known("CHURN_DATABRICKS_NODE_TYPE", settings.databricks_node_type, known)
                nodes = f"{settings.databricks_workers} workers of {settings.databricks_node_type}"
        versions = {version.key for version in client.clusters.spark_versions().versions or []}
    except (NotFound, InvalidParameterValue) as error:
        raise WorkspaceError(
            f"CHURN_DATABRICKS_COMPUTE={settings.databricks_compute} names what is not there: "
            f"{one_line(error)}."
        ) from error
    _require_known("CHURN_DATABRICKS_SPARK_VERSION", settings.databricks_spark_version, versions)
    shared = "one cluster a Dagster run" if settings.databricks_compute == "run" else "one cluster a step"
    return f"{shared}: {nodes}, {settings.databricks_spark_version}"


def _job(settings: Settings, client: "WorkspaceClient") -> str:
    """What the daily job would run on; that it can is checked as ``churn workflow create`` does."""
    job_specification(settings, [])
    policy = settings.databricks_policy_id
    try:
        if policy:
            client.cluster_policies.get(policy)
    except (NotFound, InvalidParameterValue) as error:
        raise WorkspaceError(
            f"CHURN_DATABRICKS_POLICY_ID={policy} is no policy of this workspace. Name another, or unset it."
        ) from error
    given = settings.model_fields_set
    who = f", as {settings.databricks_run_as}" if settings.databricks_run_as else ""
    if settings.databricks_job_compute == "cluster":
        _require_own_storage(settings, client)
        return f"one cluster, {settings.databricks_access_mode} access{who}"
    without = sorted(OF_CLUSTERS & {name for name, field in settings.variables().items() if field in given})
    beside = f"; without machines, so not by {', '.join(without)}" if without else ""
    target = settings.databricks_performance_target
    return f"serverless, environment {ENVIRONMENT_VERSION}, {target}{who}{beside}"


def _require_own_storage(settings: Settings, client: "WorkspaceClient") -> None:
    """Fail if a catalog lies in Default Storage, which only serverless compute reads."""
    for catalog in (settings.raw_catalog, settings.main_catalog):
        try:
            root = client.catalogs.get(catalog).storage_root or ""
        except (NotFound, PermissionDenied):
            # Whether it is there is asked under Unity Catalog.
            continue
        if DEFAULT_STORAGE.search(root):
            raise SettingsError(
                f"The catalog {catalog} is in Default Storage, which no cluster can read. Use "
                "CHURN_DATABRICKS_JOB_COMPUTE=serverless, or a catalog in storage of your own."
            )


def _require_known(variable: str, value: str, known: Collection[str | None]) -> None:
    if value not in known:
        examples = ", ".join(sorted(name for name in known if name)[:5])
        raise WorkspaceError(
            f"{variable}={value} is not offered by this workspace. Use another, such as {examples}."
        )


def _secrets(settings: Settings, client: "WorkspaceClient") -> str:
    scope = settings.databricks_secret_scope
    if not scope:
        return "no scope: clusters get no secrets but their own"
    keys = scope_keys(client, settings, PATIENCE_SECONDS)
    present = [key for key in SECRETS.values() if key in keys]
    return f"{scope} has {', '.join(present) or 'none of ' + ', '.join(SECRETS.values())}"


def _lookups(settings: Settings) -> str:
    online = online_table(settings)
    if online is None:
        return "the endpoint takes features, no user_id; CHURN_DATABRICKS_ONLINE_STORE names where they go"
    return online.require_store(_client(settings))


def _cost(settings: Settings) -> str:
    if settings.databricks_compute == "serverless":
        return "no estimates of serverless compute: system.billing.usage has what it took"
    rates = {**DBU_PER_HOUR, **settings.databricks_dbu_rates}
    node_type = settings.databricks_node_type
    if node_type not in rates:
        return f"no estimates: the rate of {node_type} is not known; CHURN_DATABRICKS_DBU_RATES can say it"
    source = "as you say" if node_type in settings.databricks_dbu_rates else "as remembered in November 2026"
    return f"{node_type} is counted as {rates[node_type]} DBU an hour, {source}; the bill: churn costs"
