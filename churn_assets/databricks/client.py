"""The workspace's client, and retries of those of its failures that are temporary."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from databricks.sdk import errors as sdk_errors
from databricks.sdk.errors.base import DatabricksError
from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_delay, wait_random_exponential

from churn_assets.errors import WorkspaceError, one_line
from churn_assets.identity import nothing_found, share
from churn_assets.release import release
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

Answer = TypeVar("Answer")

# Long enough for a workspace that is being updated, shorter than the heartbeat of a step by then lost.
PATIENCE_SECONDS = 240.0

# The SDK's words where neither the settings nor this machine have a way to log in.
FOUND_NOTHING = "cannot configure default credentials"

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


def workspace_client(settings: Settings, patience_seconds: float = PATIENCE_SECONDS) -> "WorkspaceClient":
    """Return a client of the settings' workspace, as whom ``identity`` says; MLflow is then the same.

    Args:
        settings: host, and a way to log in.
        patience_seconds: how long the SDK retries after 429 and 503.

    Raises:
        SettingsError: host or credentials are missing.
        WorkspaceError: the workspace gives the service principal no token.
    """
    arguments: dict[str, Any] = dict(share(settings).arguments)
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config

    try:
        config = Config(
            **arguments,
            product="churn-assets",
            product_version=release(),
            retry_timeout_seconds=max(1, round(patience_seconds)),
        )
    except (ValueError, DatabricksError, requests.RequestException) as error:
        if FOUND_NOTHING in str(error):
            raise nothing_found(settings) from error
        raise WorkspaceError(
            f"{settings.databricks_host or 'The workspace'} does not let this deployment in: "
            f"{one_line(error)}. Check DATABRICKS_HOST and the credentials."
        ) from error
    if not config.host:
        raise nothing_found(settings)
    return WorkspaceClient(config=config)


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
