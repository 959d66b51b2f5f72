"""Where the endpoint is: the bundled server or Databricks Model Serving, both behind databricks-sdk."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import requests

from churn_assets.errors import EndpointError
from churn_assets.serving.contract import ENDPOINT_NAME, endpoint_token, online_folder
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

    from churn_assets.serving.rollout.target import Target

# For a server on this machine; a workspace has its own, longer ones.
CONNECT_SECONDS = 2.0
RETRY_SECONDS = 20


@dataclass(frozen=True)
class OpenEndpoint:
    """A server that answers: its client, what it is in words, and whether it ends when it is closed.

    ``url`` is where people and programs find the endpoint, even if just now only a temporary server answers.
    """

    client: "WorkspaceClient"
    server: str
    url: str
    is_temporary: bool = False


class EndpointLocation(Protocol):
    """Where one deployment's endpoint is.

    ``online_folder`` is where features are published for lookups by user_id; None where there are none.
    """

    online_folder: Path | None

    def open(self) -> AbstractContextManager[OpenEndpoint]:
        """A server that answers."""
        ...

    def target(self, entity_name: str, version: str) -> "Target":
        """What to deploy for a version of a registered model."""
        ...


class BundledEndpoint:
    """``churn serve`` at CHURN_ENDPOINT_URL, or a server of this process for as long as it is needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.online_folder: Path | None = online_folder(settings)

    @contextmanager
    def open(self) -> Iterator[OpenEndpoint]:
        """The server that runs; a temporary one where none does.

        Raises:
            EndpointError: something else answers at the address, or the temporary server does not start.
        """
        url = self._settings.endpoint_url.rstrip("/")
        if is_running(url):
            client = _client(url, endpoint_token(self._settings))
            yield OpenEndpoint(client, f"bundled, at {url}", invocations(url))
            return
        from churn_assets.serving.rollout.temporary_server import temporary_server

        with temporary_server(self._settings) as server:
            client = _client(server.url, server.token)
            yield OpenEndpoint(
                client, f"temporary, none is running at {url}", invocations(url), is_temporary=True
            )

    def target(self, entity_name: str, version: str) -> "Target":
        """The version alone: the bundled server has neither tags nor inference tables."""
        from churn_assets.serving.rollout.target import Target

        return Target(ENDPOINT_NAME, entity_name, version)


class WorkspaceEndpoint:
    """Databricks Model Serving.

    Args:
        settings: of the deployment.
        client: gives a client of the workspace; called when it is needed, so that loading needs no secret.
    """

    online_folder: Path | None = None

    def __init__(self, settings: Settings, client: "Callable[[], WorkspaceClient]") -> None:
        self._settings = settings
        self._client = client

    @contextmanager
    def open(self) -> Iterator[OpenEndpoint]:
        """The workspace."""
        client = self._client()
        host = client.config.host or ""
        yield OpenEndpoint(client, f"Databricks Model Serving, at {host}", invocations(host))

    def target(self, entity_name: str, version: str) -> "Target":
        """The version, with tags for the bill and requests logged beside the predictions."""
        from churn_assets.serving.rollout.target import InferenceTable, Target

        return Target(
            ENDPOINT_NAME,
            entity_name,
            version,
            tags={"project": "churn", "deployed_by": "churn_assets"},
            inference_table=InferenceTable(
                self._settings.main_catalog, "gold", ENDPOINT_NAME.replace("-", "_")
            ),
        )


def invocations(host: str) -> str:
    """Where a server takes requests."""
    return f"{host}/serving-endpoints/{ENDPOINT_NAME}/invocations"


def is_running(url: str) -> bool:
    """Whether a scoring server answers there.

    Raises:
        EndpointError: something answers that is none.
    """
    try:
        answer = requests.get(f"{url}/ping", timeout=CONNECT_SECONDS)
    except requests.ConnectionError:
        return False
    except requests.RequestException as error:
        raise EndpointError(
            f"{url} does not answer within {CONNECT_SECONDS:.0f} s. Start churn serve again, "
            "or set CHURN_ENDPOINT_URL to where it is."
        ) from error
    if answer.status_code not in (200, 503):
        raise EndpointError(
            f"{url}/ping answers {answer.status_code}, so it is no churn serve. "
            "Set CHURN_ENDPOINT_URL to where that is, or to a free port."
        )
    return True


def _client(url: str, token: str) -> "WorkspaceClient":
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    # auth_type, or the SDK would refuse a token beside other credentials in the environment.
    return WorkspaceClient(
        config=Config(host=url, token=token, auth_type="pat", retry_timeout_seconds=RETRY_SECONDS)
    )
