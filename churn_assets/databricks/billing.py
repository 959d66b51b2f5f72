"""The bill: what Databricks has noted of this deployment's usage, with list prices, by SQL on a warehouse.

``system.billing.usage`` has a row for each hour, SKU and source of usage, some hours late. A correction
leaves the wrong row there and adds two: RETRACTION, which takes its quantity back, and RESTATEMENT. So sums
over all three are right, and no single row is. ``system.billing.list_prices`` has the prices of each SKU by
time, without what a contract takes off. (docs.databricks.com/admin/system-tables/billing, …/pricing)
"""

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from churn_assets.databricks.catalog.sql import Grant, principals
from churn_assets.databricks.catalog.warehouse import StatementFailedError, Warehouse
from churn_assets.databricks.client import patiently
from churn_assets.databricks.compute.compute import PROJECT, RUN_TAG
from churn_assets.errors import WorkspaceError, one_line
from churn_assets.lakehouse.ddl import quoted
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

SCHEMA = "system.billing"
CURRENCY = "USD"

UNREADABLE = (
    "SCHEMA_NOT_FOUND",
    "TABLE_OR_VIEW_NOT_FOUND",
    "NO_SUCH_CATALOG",
    "CATALOG_NOT_FOUND",
    "INSUFFICIENT_PERMISSIONS",
    "PERMISSION_DENIED",
)

# By what a row of usage can be told to be ours, and by what it can be told whose it is.
SOURCES = {
    "job_run_id": "u.usage_metadata.job_run_id",
    "cluster_id": "u.usage_metadata.cluster_id",
    "endpoint": "u.usage_metadata.endpoint_name",
    "warehouse_id": "u.usage_metadata.warehouse_id",
    "dagster_run_id": f"u.custom_tags[{quoted(RUN_TAG)}]",
    "sku": "u.sku_name",
}


class Usage(NamedTuple):
    """What one source used of one SKU.

    Attributes:
        dbu: net of corrections; 0 where the SKU is measured otherwise.
        cost: at list price in ``CURRENCY``; None where the SKU has no price.
        until: the end of the last hour that is in it (UTC).
    """

    job_run_id: str | None
    cluster_id: str | None
    endpoint: str | None
    warehouse_id: str | None
    dagster_run_id: str | None
    sku: str
    dbu: float
    cost: float | None
    until: dt.datetime


class Ours(NamedTuple):
    """By what usage is told to be this deployment's, beside the tag of its clusters.

    Serverless compute has no tags but those of a usage policy, which is somebody else's to make: its jobs are
    found by their names and runs. (docs.databricks.com/admin/system-tables/serverless-billing)

    Attributes:
        endpoint: the name of its endpoint.
        job: the name of its daily job; the bill has it where the job is serverless.
        job_run_ids: the Databricks runs of its steps.
    """

    endpoint: str
    job: str
    job_run_ids: tuple[str, ...]


def usage(client: "WorkspaceClient", settings: Settings, since: dt.date, ours: Ours) -> list[Usage]:
    """Ask for what this deployment used, and for all that the warehouse did that it asks.

    Args:
        client: the workspace's.
        settings: ``databricks_warehouse_id`` names the warehouse that is asked.
        since: the first UTC day.
        ours: by what usage is told to be ours.

    Returns:
        One for each source and SKU; what was taken back whole is left out.

    Raises:
        WorkspaceError: the bill is not enabled, or not granted to this user.
    """
    workspace_id = str(patiently(client.get_workspace_id))
    statement = query(workspace_id, settings.databricks_warehouse_id, since, ours)
    try:
        rows = Warehouse(client, settings).run(statement)
    except StatementFailedError as error:
        if any(sign in str(error) for sign in UNREADABLE):
            # Without the beginning of the statement, which is ours and no news.
            reason = str(error)[max(str(error).find("["), 0) :]
            raise WorkspaceError(
                f"The bill, {SCHEMA}, cannot be read: {one_line(reason)}. An account admin enables it and "
                f"grants USE CATALOG on system, USE SCHEMA and SELECT on {SCHEMA}; for "
                "CHURN_DATABRICKS_ENGINEERS this prints how: churn setup --databricks --dry-run"
            ) from error
        raise
    return [
        Usage(
            **{name: row[name] for name in SOURCES},
            dbu=row["dbu"],
            cost=row["cost"],
            until=dt.datetime.fromtimestamp(row["until_us"] / 1e6, dt.UTC),
        )
        for row in rows
    ]


def query(workspace_id: str, warehouse_id: str, since: dt.date, ours: Ours) -> str:
    """Return the statement that ``usage`` runs."""
    columns = ", ".join(f"{column} AS {name}" for name, column in SOURCES.items())
    by_run = f"OR u.usage_metadata.job_run_id IN ({', '.join(map(quoted, ours.job_run_ids))}) "
    return (
        f"SELECT {columns}, "  # noqa: S608 - literals are quoted
        "sum(CASE WHEN u.usage_unit = 'DBU' THEN CAST(u.usage_quantity AS DOUBLE) ELSE 0.0D END) AS dbu, "
        "sum(CAST(u.usage_quantity AS DOUBLE) * "
        "CAST(coalesce(p.pricing.effective_list.`default`, p.pricing.`default`) AS DOUBLE)) AS cost, "
        "unix_micros(max(u.usage_end_time)) AS until_us "
        "FROM system.billing.usage AS u LEFT JOIN system.billing.list_prices AS p "
        "ON p.sku_name = u.sku_name AND p.cloud = u.cloud AND p.usage_unit = u.usage_unit "
        f"AND p.currency_code = {quoted(CURRENCY)} AND u.usage_end_time >= p.price_start_time "
        "AND (p.price_end_time IS NULL OR u.usage_end_time < p.price_end_time) "
        f"WHERE u.workspace_id = {quoted(workspace_id)} AND u.usage_date >= date'{since}' "
        f"AND (u.custom_tags['project'] = {quoted(PROJECT)} "
        f"OR u.usage_metadata.endpoint_name = {quoted(ours.endpoint)} "
        f"OR u.usage_metadata.job_name = {quoted(ours.job)} "
        f"{by_run if ours.job_run_ids else ''}"
        f"OR u.usage_metadata.warehouse_id = {quoted(warehouse_id)}) "
        f"GROUP BY {', '.join(SOURCES.values())} "
        "HAVING abs(sum(CAST(u.usage_quantity AS DOUBLE))) > 1e-9"
    )


def grants(settings: Settings) -> list[Grant]:
    """Return what engineers need to read the bill; only who is account and metastore admin can give it."""
    return [
        grant
        for who in principals(settings.databricks_engineers)
        for grant in (
            Grant("CATALOG", "system", ("USE CATALOG",), who),
            Grant("SCHEMA", SCHEMA, ("USE SCHEMA", "SELECT"), who),
        )
    ]


def grant(client: "WorkspaceClient", settings: Settings) -> str:
    """Grant the bill to the engineers; return why it is not, empty where it is or nobody is to have it."""
    warehouse = Warehouse(client, settings)
    for one in grants(settings):
        try:
            warehouse.run(one.sql)
        except StatementFailedError as error:
            return (
                f"{one.principal} cannot be given {one.name}, which only churn costs reads: "
                f"{one_line(error)}. An account admin can: churn setup --databricks --dry-run says how"
            )
    return ""
