"""``churn setup --databricks``: creates the deployment's objects in Unity Catalog by SQL on a warehouse.

Every statement can run again: it creates what is missing and leaves existing objects unchanged.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from churn_assets.databricks.catalog.sql import Statement, create_statements, grants
from churn_assets.databricks.catalog.warehouse import StatementFailedError, Warehouse
from churn_assets.errors import WorkspaceError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

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
        What was run, in order.

    Raises:
        WorkspaceError: a statement failed; those before it stay done, and it can be run again.
    """
    statements = plan(settings)
    warehouse = Warehouse(client, settings)
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
            raise
    return statements
