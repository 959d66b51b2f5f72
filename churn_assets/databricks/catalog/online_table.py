"""The online table: a copy of ``gold.latest_user_features`` in a Databricks Online Feature Store (Lakebase).

Feature Serving looks users up there by user_id. The store is made by people, as it is paid for while it runs;
the platform publishes the table and has the copy brought up to date.
"""

from typing import TYPE_CHECKING

from databricks.sdk.errors import NotFound, ResourceConflict
from databricks.sdk.errors.base import DatabricksError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from churn_assets.databricks.client import patiently
from churn_assets.errors import WorkspaceError, one_line
from churn_assets.settings import Settings
from churn_assets.tables import LATEST_USER_FEATURES

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

# A copy that is under way may have begun before the table was written: it is waited for, for so long.
BUSY_SECONDS = 600.0
BUSY_POLL_SECONDS = 5.0


class OnlineTable:
    """The online table of one deployment.

    Args:
        settings: the deployment's, with an online store.
        busy_seconds: how long to wait for a copy that is under way.

    Attributes:
        store: the name of the online store.
        name: the table's full name, which may not be its source's.
        source: the full name of the table that is copied.
    """

    def __init__(self, settings: Settings, busy_seconds: float = BUSY_SECONDS) -> None:
        gold = f"{settings.main_catalog}.{LATEST_USER_FEATURES.schema}"
        self.store = settings.databricks_online_store
        self.name = f"{gold}.online_user_features"
        self.source = f"{gold}.{LATEST_USER_FEATURES.name}"
        self._busy_seconds = busy_seconds

    def require_store(self, client: "WorkspaceClient") -> str:
        """Return a line about the online store.

        Raises:
            WorkspaceError: it is not there, not available, or the workspace has none.
        """
        from databricks.sdk.service.ml import OnlineStoreState

        setting = f"CHURN_DATABRICKS_ONLINE_STORE={self.store}"
        try:
            store = patiently(lambda: client.feature_store.get_online_store(self.store))
        except NotFound as error:
            raise WorkspaceError(
                f"{setting} is no online store of this workspace: {one_line(error)}. Create it with: "
                f"databricks feature-store create-online-store {self.store} CU_1"
            ) from error
        except DatabricksError as error:
            raise WorkspaceError(
                f"{setting} cannot be used: {one_line(error, with_class=True)}. It takes Lakebase in the "
                "workspace's region, and CAN USE on the store; without the setting all else works."
            ) from error
        if store.state is not OnlineStoreState.AVAILABLE:
            state = store.state.value if store.state else "in an unknown state"
            raise WorkspaceError(
                f"{setting} is {state}; it has to be AVAILABLE. Start it, or wait until it is."
            )
        return f"{self.store} is available, {store.capacity}; the copy there is {self.name}"

    def bring_up_to_date(self, client: "WorkspaceClient") -> str:
        """Publish the source, or have the copy follow it once more. It follows in its own time.

        Returns:
            The id of the pipeline that copies.

        Raises:
            WorkspaceError: refused; the online table, if there is one, keeps what it had.
        """
        try:
            pipeline_id = self._pipeline(client)
            if pipeline_id is None:
                return self._publish(client)
            self._follow(client, pipeline_id)
        except DatabricksError as error:
            raise WorkspaceError(
                f"{self.source} cannot be copied to {self.name}: {one_line(error, with_class=True)}. "
                "What is missing is said by: churn doctor"
            ) from error
        return pipeline_id

    def _pipeline(self, client: "WorkspaceClient") -> str | None:
        try:
            found = patiently(lambda: client.tables.get(self.name))
        except NotFound:
            return None
        if not found.pipeline_id:
            raise WorkspaceError(
                f"{self.name} is a table that no pipeline copies to, and so not the online table. Rename or "
                "drop it."
            )
        return found.pipeline_id

    def _publish(self, client: "WorkspaceClient") -> str:
        from databricks.sdk.service.ml import PublishSpec, PublishSpecPublishMode

        # Continuous would keep a pipeline running all day for one change a day.
        spec = PublishSpec(self.store, self.name, PublishSpecPublishMode.TRIGGERED)
        answer = patiently(lambda: client.feature_store.publish_table(self.source, spec))
        return answer.pipeline_id or ""

    def _follow(self, client: "WorkspaceClient", pipeline_id: str) -> None:
        waiting = Retrying(
            # "If there is already an active update for the pipeline, the request will fail": databricks-sdk.
            retry=retry_if_exception_type(ResourceConflict),
            stop=stop_after_delay(self._busy_seconds),
            wait=wait_fixed(min(BUSY_POLL_SECONDS, self._busy_seconds / 10)),
            reraise=True,
        )
        waiting(lambda: patiently(lambda: client.pipelines.start_update(pipeline_id)))


def online_table(settings: Settings) -> OnlineTable | None:
    """Return the deployment's online table; None where no store is set."""
    return OnlineTable(settings) if settings.databricks_online_store else None
