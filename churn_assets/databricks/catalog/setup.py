"""``churn setup --databricks``: creates the deployment's objects in Unity Catalog by SQL on a warehouse.

Every statement can run again: it creates what is missing and leaves existing objects unchanged.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from databricks.sdk.errors import NotFound, PermissionDenied

from churn_assets.databricks.catalog import model_owner
from churn_assets.databricks.catalog.sql import WITHOUT_STORAGE, Statement, create_statements, grants
from churn_assets.databricks.catalog.warehouse import StatementFailedError, Warehouse
from churn_assets.databricks.client import patiently
from churn_assets.errors import WorkspaceError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

# What the service says of a new catalog where neither it nor the metastore has a place for tables.
NO_STORAGE = "Metastore storage root URL does not exist"
# The service's error codes for missing privileges.
REFUSALS = ("PERMISSION_DENIED", "INSUFFICIENT_PERMISSIONS")


def plan(settings: Settings) -> list[Statement]:
    """Return the statements in the order of their dependencies.

    Raises:
        SettingsError: a volume or the external location cannot be read from the settings.
    """
    granted = [Statement(grant.sql, "") for grant in grants(settings)]
    return [*create_statements(settings), *granted]


def render(statements: Sequence[Statement]) -> str:
    """Format the statements as a script for a SQL editor."""
    return "\n\n".join(
        f"-- {statement.purpose}\n{statement.sql};" if statement.purpose else f"{statement.sql};"
        for statement in statements
    )


def apply(
    client: "WorkspaceClient", settings: Settings, progress: Callable[[str], None] = lambda _: None
) -> list[Statement]:
    """Run the statements of ``plan`` in order.

    Args:
        client: its user owns what is created, and may create catalogs or owns those that exist.
        settings: the deployment's; ``databricks_warehouse_id`` names where it runs.
        progress: told the first line of each statement before it runs.

    Returns:
        What was run, in order: all of the plan but for catalogs that exist.

    Raises:
        WorkspaceError: a statement failed, or the model is not ours to give away; what was done
            before it stays, and it can be run again.
    """
    warehouse = Warehouse(client, settings)
    # IF NOT EXISTS does not spare a catalog that exists the right to create one, and a place for it.
    statements = [
        statement
        for statement in plan(settings)
        if not (statement.catalog and _is_there(client, statement.catalog))
    ]
    for statement in statements:
        progress(statement.sql.partition("\n")[0].removesuffix(" ("))
        try:
            warehouse.run(statement.sql)
        except StatementFailedError as error:
            if any(sign in str(error) for sign in REFUSALS):
                raise WorkspaceError(
                    f"{error} Ask somebody who may, to run what this prints: "
                    "churn setup --databricks --dry-run"
                ) from error
            if NO_STORAGE in str(error):
                raise WorkspaceError(
                    f"The catalog {statement.catalog} cannot be created: {WITHOUT_STORAGE}."
                ) from error
            raise
    if last := model_owner.what_is_done(settings):
        progress(last)
        model_owner.give_to_owner(client, settings)
    return statements


def _is_there(client: "WorkspaceClient", catalog: str) -> bool:
    try:
        patiently(lambda: client.catalogs.get(catalog))
    except (NotFound, PermissionDenied):
        return False
    return True
