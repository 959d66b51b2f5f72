"""The secret scope that ``CHURN_DATABRICKS_SECRET_SCOPE`` names: which keys it has, never their values."""

from typing import TYPE_CHECKING

from databricks.sdk.errors import InvalidParameterValue, NotFound

from churn_assets.databricks.client import PATIENCE_SECONDS, patiently
from churn_assets.errors import WorkspaceError
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


def scope_keys(
    client: "WorkspaceClient", settings: Settings, patience_seconds: float = PATIENCE_SECONDS
) -> frozenset[str]:
    """Return the keys in the scope, none where the settings name no scope.

    Raises:
        WorkspaceError: there is no such scope.
    """
    scope = settings.databricks_secret_scope
    if not scope:
        return frozenset()
    try:
        listed = patiently(lambda: list(client.secrets.list_secrets(scope)), patience_seconds)
    except (NotFound, InvalidParameterValue) as error:
        raise WorkspaceError(
            f"CHURN_DATABRICKS_SECRET_SCOPE={scope} is no scope of this workspace. Create it, or unset it."
        ) from error
    return frozenset(secret.key for secret in listed if secret.key)
