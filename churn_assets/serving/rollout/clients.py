"""The endpoint of each deployment, through databricks-sdk: the bundled server or Databricks Model Serving."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from churn_assets.errors import WorkspaceError
from churn_assets.serving.endpoint import ENDPOINT_NAME, endpoint_admin_token, online_folder
from churn_assets.serving.rollout.address import is_running
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.serving.features.online_features import LatestFeatures
    from churn_assets.serving.rollout.target import Target

# For a server on this machine; a workspace has longer ones.
RETRY_SECONDS = 20


@dataclass(frozen=True)
class OpenEndpoint:
    """A client of a running server, with a description of it.

    ``url`` is the endpoint's address for people and programs, even while only a temporary server answers.
    """

    client: "WorkspaceClient"
    server: str
    url: str
    is_temporary: bool = False


class EndpointLocation(Protocol):
    """The endpoint of one deployment.

    ``online_folder`` is the online store in which the endpoint itself looks users up; None if it does not.
    """

    online_folder: Path | None

    def publish(self, lake: "Lakehouse", latest: "LatestFeatures") -> dict[str, Any]:
        """Publish features for look-ups by user_id, where there is a place for them.

        Returns:
            What was published; ``not_published`` says why nothing was.
        """
        ...

    def open(self) -> AbstractContextManager[OpenEndpoint]:
        """Open a client of a running server."""
        ...

    def target(self, entity_name: str, version: str) -> "Target":
        """Return the deployment target for a version of a registered model."""
        ...


class OnlineTable(Protocol):
    """A table in an online store of the workspace, in which users are looked up by user_id."""

    store: str
    name: str

    def require_store(self, client: "WorkspaceClient") -> str:
        """Raise a WorkspaceError where the store cannot be used."""
        ...

    def bring_up_to_date(self, client: "WorkspaceClient") -> str:
        """Have it follow its source, and return the id of the pipeline that copies."""
        ...


class BundledEndpoint:
    """``churn serve`` at CHURN_ENDPOINT_URL, or a temporary server in this process if none is running."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.online_folder: Path | None = online_folder(settings)

    def publish(self, lake: "Lakehouse", latest: "LatestFeatures") -> dict[str, Any]:
        """Publish to the files that every worker of the server maps."""
        from churn_assets.serving.features.online_features import publish_latest

        folder = online_folder(self._settings)
        published = publish_latest(lake, latest, folder)
        return {
            "users": published.users,
            "feature_date": str(published.feature_date),
            "bytes": published.bytes,
            "delta_version": published.source_version,
            "folder": str(folder),
        }

    @contextmanager
    def open(self) -> Iterator[OpenEndpoint]:
        """Open the running server, or start a temporary one.

        Raises:
            EndpointError: another lake's server or another program answers at the address, or the temporary
                server does not start.
        """
        url = self._settings.endpoint_url
        if is_running(self._settings):
            client = _client(url, endpoint_admin_token(self._settings))
            yield OpenEndpoint(client, f"bundled, at {url}", invocations(url))
            return
        from churn_assets.serving.rollout.temporary_server import temporary_server

        with temporary_server(self._settings) as server:
            client = _client(server.url, server.admin_token)
            yield OpenEndpoint(
                client, f"temporary, none is running at {url}", invocations(url), is_temporary=True
            )

    def target(self, entity_name: str, version: str) -> "Target":
        """Return a target without tags and inference table, which the bundled server lacks."""
        from churn_assets.serving.rollout.target import Target

        return Target(ENDPOINT_NAME, entity_name, version)


class WorkspaceEndpoint:
    """Databricks Model Serving.

    Args:
        settings: the deployment's settings.
        client: creates a client of the workspace on demand, so that loading definitions needs no secret.
        online_table: the copy of the latest features in an online store; None if the deployment has none.
    """

    online_folder: Path | None = None

    def __init__(
        self,
        settings: Settings,
        client: "Callable[[], WorkspaceClient]",
        online_table: OnlineTable | None = None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._online_table = online_table

    def publish(self, lake: "Lakehouse", latest: "LatestFeatures") -> dict[str, Any]:
        """Write the table of the latest features, and have the online store follow it.

        A store that is not there or refuses stops no run: nothing but look-ups depends on it.
        """
        from churn_assets.serving.features.online_features import write_latest

        if self._online_table is None:
            reason = "this deployment's endpoint takes features only, and looks nobody up by user_id"
            return {"not_published": reason}
        online, client = self._online_table, self._client()
        try:
            online.require_store(client)
            users = write_latest(lake, latest)
            pipeline_id = online.bring_up_to_date(client)
        except WorkspaceError as error:
            return {"online_store": online.store, "not_published": str(error)}
        return {
            "online_store": online.store,
            "table": online.name,
            "users": users,
            "feature_date": str(latest.feature_date),
            "delta_version": latest.delta_version,
            "pipeline_id": pipeline_id,
        }

    @contextmanager
    def open(self) -> Iterator[OpenEndpoint]:
        """Open the workspace."""
        client = self._client()
        host = client.config.host or ""
        yield OpenEndpoint(client, f"Databricks Model Serving, at {host}", invocations(host))

    def target(self, entity_name: str, version: str) -> "Target":
        """Return a target with the version, tags for the bill, and a table of logged requests."""
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
    """Return the URL of the scoring route of a server."""
    return f"{host}/serving-endpoints/{ENDPOINT_NAME}/invocations"


def _client(url: str, token: str) -> "WorkspaceClient":
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    # Without auth_type the SDK refuses a token beside other credentials in the environment.
    return WorkspaceClient(
        config=Config(host=url, token=token, auth_type="pat", retry_timeout_seconds=RETRY_SECONDS)
    )
