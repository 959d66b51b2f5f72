"""Whom the job runs as, who may run it, and who is told."""

import re
from typing import Any

from churn_assets.errors import SettingsError
from churn_assets.settings import Settings

APPLICATION_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def run_as(settings: Settings) -> dict[str, str]:
    """Return whom the job runs as, in the words of the Jobs API; nothing where it is who creates it.

    Raises:
        SettingsError: it is neither a service principal nor a user.
    """
    name = settings.databricks_run_as
    if not name:
        return {}
    if APPLICATION_ID.fullmatch(name):
        return {"service_principal_name": name}
    if "@" in name:
        return {"user_name": name}
    raise SettingsError(
        f"CHURN_DATABRICKS_RUN_AS={name} is neither a service principal's application id nor a user's "
        "address, and a job cannot run as a group. Set one of them."
    )


def permissions(settings: Settings) -> list[dict[str, str]]:
    """Return who else may do what: engineers start and stop runs, the owner changes the job.

    Whoever creates the job stays its owner, which no group can be.
    """
    engineers, owner = settings.databricks_engineers, settings.databricks_owner
    manager = "service_principal_name" if APPLICATION_ID.fullmatch(owner) else "group_name"
    given = []
    if engineers:
        given.append({"group_name": engineers, "permission_level": "CAN_MANAGE_RUN"})
    if owner and owner != engineers:
        given.append({manager: owner, "permission_level": "CAN_MANAGE"})
    elif owner:
        given = [{"group_name": owner, "permission_level": "CAN_MANAGE"}]
    return given


def notices(settings: Settings) -> dict[str, Any]:
    """Return who is told of a failure, and of a run that is late: the alert addresses."""
    emails = [address.strip() for address in settings.alert_emails.split(",") if address.strip()]
    late = {
        "metric": "RUN_DURATION_SECONDS",
        "op": "GREATER_THAN",
        "value": settings.sla_minutes * 60,
    }
    told = {"on_failure": emails, "on_duration_warning_threshold_exceeded": emails}
    return {"health": {"rules": [late]}, **({"email_notifications": told} if emails else {})}
