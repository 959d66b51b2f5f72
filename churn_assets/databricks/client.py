"""The workspace's client, and which of its failures pass if one waits."""

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

# The SDK asks again by itself after 429 and 503 and when there was no answer, but not after these.
PASSING = (
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
    """The workspace did not answer, or only with errors of its own, for as long as one is ready to wait."""


def require_credentials(settings: Settings) -> None:
    """Fail in one line where the settings do not say which workspace, or not who asks.

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
    """A client of the workspace that the settings name. A service principal goes before a token.

    On a cluster, which has neither unless a secret scope gives it one, it is whoever the cluster runs as.

    Args:
        settings: host, and a token or a service principal's id and secret.
        patience_seconds: how long the SDK asks again after 429 and 503 before it gives up.

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
    """Ask the workspace, again and again while its failure is one that passes.

    Raises:
        WorkspaceUnavailableError: it did not pass in time.
    """
    waiting = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, PASSING)),
        stop=stop_after_delay(patience_seconds),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        before_sleep=before_sleep_log(log, logging.INFO),
        reraise=True,
    )
    try:
        return waiting(ask)
    except PASSING as error:
        raise WorkspaceUnavailableError(
            f"Databricks did not answer for {patience_seconds:.0f} s: {one_line(error)}."
        ) from error
