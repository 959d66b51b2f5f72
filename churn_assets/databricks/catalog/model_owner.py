"""The registered model's owner: only it moves the alias ``Production``, so one that all of them belong to.

By Unity Catalog's API, as no SQL makes a model.
"""

from typing import TYPE_CHECKING

from databricks.sdk.errors import NotFound, PermissionDenied

from churn_assets.databricks.client import patiently
from churn_assets.errors import WorkspaceError, one_line
from churn_assets.model.registry.registry import PRODUCTION_ALIAS, registered_model_name, uses_unity_catalog
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


def what_is_done(settings: Settings) -> str:
    """Return what ``give_to_owner`` does, for people; empty where it does nothing."""
    if not settings.databricks_owner or not uses_unity_catalog(settings):
        return ""
    return f"the model {registered_model_name(settings)}, owned by {settings.databricks_owner}"


def give_to_owner(client: "WorkspaceClient", settings: Settings) -> None:
    """Create the model where there is none, and make ``CHURN_DATABRICKS_OWNER`` its owner.

    Raises:
        WorkspaceError: it is somebody else's, and this user may not give it away.
    """
    if not what_is_done(settings):
        return
    name, owner = registered_model_name(settings), settings.databricks_owner
    try:
        model = patiently(lambda: client.registered_models.get(name))
    except NotFound:
        catalog, schema, own = name.split(".")
        model = patiently(lambda: client.registered_models.create(catalog, schema, own))
    if model.owner == owner:
        return
    try:
        patiently(lambda: client.registered_models.update(name, owner=owner))
    except PermissionDenied as error:
        raise WorkspaceError(
            f"The model {name} is owned by {model.owner}, who alone can give it to {owner}: "
            f"{one_line(error)}. Run as one of them: churn setup --databricks"
        ) from error


def problem(client: "WorkspaceClient", settings: Settings) -> str | None:
    """Return why this user cannot move the alias, or that the owner is another than the settings name."""
    if not uses_unity_catalog(settings):
        return None
    name = registered_model_name(settings)
    try:
        owner = patiently(lambda: client.registered_models.get(name)).owner
    except NotFound:
        return f"model {name} is missing" if settings.databricks_owner else None
    except PermissionDenied:
        return f"model {name} cannot be seen by this user"
    if settings.databricks_owner and owner != settings.databricks_owner:
        return f"model {name} is owned by {owner} instead of {settings.databricks_owner}"
    me = patiently(client.current_user.me)
    if owner in (me.user_name, *(group.display for group in me.groups or [])):
        return None
    return (
        f"model {name} is owned by {owner}, who alone moves its alias {PRODUCTION_ALIAS}: this user is in no "
        "such group. Set CHURN_DATABRICKS_OWNER to a group of both"
    )
