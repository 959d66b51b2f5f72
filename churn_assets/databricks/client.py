"""The workspace's client, and retries of those of its failures that are temporary."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import requests
from databricks.sdk import errors as sdk_errors
from databricks.sdk.errors.base import DatabricksError
from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_delay, wait_random_exponential

from churn_assets.databricks.runtime import runs_on_cluster
from churn_assets.errors import SettingsError, WorkspaceError, one_line
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

Answer = TypeVar("Answer")

# Long enough for a workspace that is being updated, shorter than the heartbeat of a step by then lost.
PATIENCE_SECONDS = 240.0

# The SDK itself retries after 429, 503 and a missing answer, but not after these.
TEMPORARY = (
    sdk_errors.InternalError,
    sdk_errors.TemporarilyUnavailable,
    sdk_errors.TooManyRequests,
    sdk_errors.DeadlineExceeded,
    sdk_errors.OperationTimeout,
    requests.ConnectionError,
    requests.Timeout,
    TimeoutError,
)

log = logging.getLogger(__name__)


class WorkspaceUnavailableError(WorkspaceError):
    """The workspace gave no answer, or only server errors, until the patience was used up."""


def require_credentials(settings: Settings) -> None:
    """Fail if the settings lack the workspace's host or complete credentials.

    Raises:
        SettingsError: names the variables that are missing.
    """
    missing = [] if settings.databricks_host else ["DATABRICKS_HOST"]
    oauth = (settings.databricks_client_id, settings.databricks_client_secret)
    if not settings.databricks_token and not all(oauth):
        if any(oauth):
            missing.append("DATABRICKS_CLIENT_SECRET" if oauth[0] else "DATABRICKS_CLIENT_ID")
        else:
            missing.append("DATABRICKS_TOKEN (or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET)")
    if missing:
        raise SettingsError(
            f"CHURN_DEPLOYMENT=databricks needs {' and '.join(missing)}. "
            "Set it in the environment or in .env."
        )


def workspace_client(settings: Settings, patience_seconds: float = PATIENCE_SECONDS) -> "WorkspaceClient":
    """Return a client of the settings' workspace. A service principal takes precedence over a token.

    A cluster has neither unless a secret scope provides one; there the client acts as the cluster's user.

    Args:
        settings: host, and a token or a service principal's id and secret.
        patience_seconds: how long the SDK retries after 429 and 503.

    Raises:
        SettingsError: host or credentials are missing.
        WorkspaceError: the workspace gives the service principal no token.
    """
    oauth = settings.databricks_client_id and settings.databricks_client_secret
    as_cluster = runs_on_cluster() and not oauth and not settings.databricks_token
    if not as_cluster:
        require_credentials(settings)
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config

    try:
        config = Config(
            host=settings.databricks_host,
            # Named, so that the SDK looks for no other credentials on this machine.
            auth_type="runtime" if as_cluster else "oauth-m2m" if oauth else "pat",
            token=None if oauth else settings.databricks_token,
            client_id=settings.databricks_client_id if oauth else None,
            client_secret=settings.databricks_client_secret if oauth else None,
            product="churn-assets",
            product_version="0.1.0",
            retry_timeout_seconds=max(1, round(patience_seconds)),
        )
        return WorkspaceClient(config=config)
    except (ValueError, DatabricksError, requests.RequestException) as error:
        raise WorkspaceError(
            f"{settings.databricks_host} does not let the service principal or the token in: "
            f"{one_line(error)}. Check DATABRICKS_HOST and the credentials."
        ) from error


def patiently(ask: Callable[[], Answer], patience_seconds: float = PATIENCE_SECONDS) -> Answer:
    """Call the workspace, and retry while its failure is a temporary one.

    Raises:
        WorkspaceUnavailableError: the failure outlasted the patience.
    """
    waiting = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, TEMPORARY)),
        stop=stop_after_delay(patience_seconds),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        before_sleep=before_sleep_log(log, logging.INFO),
        reraise=True,
    )
    try:
        return waiting(ask)
    except TEMPORARY as error:
        raise WorkspaceUnavailableError(
            f"Databricks did not answer for {patience_seconds:.0f} s: {one_line(error)}."
        ) from error
