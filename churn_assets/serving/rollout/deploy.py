"""Puts one model version behind an endpoint through Databricks' API, which the bundled server speaks too."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.errors.platform import InternalError, InvalidState, NotFound, ResourceConflict
from databricks.sdk.service.serving import (
    AiGatewayInferenceTableConfig,
    EndpointCoreConfigInput,
    ServingEndpointDetailed,
)
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_exponential,
)

from churn_assets.errors import EndpointError
from churn_assets.serving.rollout import endpoint_state
from churn_assets.serving.rollout.endpoint_errors import first_line, in_one_line
from churn_assets.serving.rollout.target import Target, as_tags

# Told what happens, a line at a time.
Progress = Callable[[str], None]

LOG_LINES = 3


@dataclass(frozen=True)
class Deployment:
    """An endpoint that is ready. ``changed`` is false where it served the version already."""

    endpoint: str
    version: str
    seconds: float
    changed: bool
    notes: tuple[str, ...] = ()


def deploy(client: WorkspaceClient, target: Target, progress: Progress, timeout: float) -> Deployment:
    """Create the endpoint or update it, and wait until it serves the version.

    Nothing is changed where it does so already. An update of somebody else is waited for. Entities without
    traffic, which score in the shadow, are kept.

    Args:
        client: of a workspace, or of the bundled server.
        target: what to serve.
        progress: told each change of state.
        timeout: seconds after which to give up waiting.

    Raises:
        EndpointError: refused, failed or too slow, in one line; what was served before is served still.
    """
    started = time.monotonic()
    with in_one_line(target.endpoint, f"deploy version {target.version}"):
        deployer = _Deployer(client, target, progress, started + timeout)
        endpoint, changed = deployer.deploy()
        notes = deployer.annotate(endpoint)
    return Deployment(
        endpoint=target.endpoint,
        version=target.version,
        seconds=time.monotonic() - started,
        changed=changed,
        notes=notes,
    )


class _Deployer:
    def __init__(self, client: WorkspaceClient, target: Target, progress: Progress, deadline: float) -> None:
        self._api = client.serving_endpoints
        self._target = target
        self._name = target.endpoint
        self._progress = progress
        self._deadline = deadline
        self._said = ""

    def deploy(self) -> tuple[ServingEndpointDetailed, bool]:
        """The endpoint once it is ready, and whether anything had to be changed for it."""
        while True:
            endpoint = self._find()
            if endpoint is None:
                if self._create():
                    return self._wait_for_ours(0), True
                continue
            if endpoint_state.is_updating(endpoint):
                self._progress(f"{self._name} is being updated; waiting for that to end")
                endpoint = self._poll(lambda found: not endpoint_state.is_updating(found))
            before = endpoint_state.config_version(endpoint)
            if self._target.is_served_by(endpoint):
                if endpoint_state.is_ready(endpoint):
                    return endpoint, False
                return self._poll(self._is_ours_and_ready), False
            if self._update(endpoint):
                return self._wait_for_ours(before), True

    def annotate(self, endpoint: ServingEndpointDetailed) -> tuple[str, ...]:
        """Set tags and the inference table where they differ; a refused table is a note."""
        found = {tag.key: tag.value for tag in endpoint.tags or []}
        missing = {key: value for key, value in self._target.tags.items() if found.get(key) != value}
        if missing:
            self._api.patch(self._name, add_tags=as_tags(missing))
        table = self._target.inference_table
        logs_to = endpoint.ai_gateway.inference_table_config if endpoint.ai_gateway else None
        if table is None or (logs_to and logs_to.enabled):
            return ()
        try:
            # Not auto_capture_config: workspaces take no new one since February 2026.
            self._api.put_ai_gateway(
                self._name,
                inference_table_config=AiGatewayInferenceTableConfig(
                    catalog_name=table.catalog,
                    schema_name=table.schema,
                    table_name_prefix=table.prefix,
                    enabled=True,
                ),
            )
        except DatabricksError as error:
            return (f"Requests are not logged to {table.catalog}.{table.schema}: {first_line(error)}",)
        return ()

    def _find(self) -> ServingEndpointDetailed | None:
        try:
            return self._api.get(self._name)
        except NotFound:
            return None

    def _create(self) -> bool:
        target = self._target
        self._progress(f"creating {self._name} with version {target.version}")
        config = EndpointCoreConfigInput(served_entities=target.entities(), traffic_config=target.traffic())
        try:
            self._api.create(
                self._name,
                config=config,
                tags=as_tags(target.tags) or None,
            )
        except ResourceConflict:
            return False  # somebody created it in this moment
        return True

    def _update(self, endpoint: ServingEndpointDetailed) -> bool:
        target = self._target
        shadows = [
            entity for entity in endpoint_state.shadows(endpoint) if entity.entity_version != target.version
        ]
        self._progress(f"updating {self._name} to version {target.version}")
        try:
            self._api.update_config(
                self._name, served_entities=target.entities(shadows), traffic_config=target.traffic(shadows)
            )
        except (ResourceConflict, InvalidState):
            if time.monotonic() > self._deadline:
                raise
            time.sleep(0.1)  # another update began in this moment, and shows at the next look
            return False
        return True

    def _wait_for_ours(self, before: int) -> ServingEndpointDetailed:
        endpoint = self._poll(lambda found: self._has_ended(found, before))
        if self._is_ours_and_ready(endpoint):
            return endpoint
        going_on = endpoint_state.served(endpoint) if endpoint_state.is_ready(endpoint) else None
        stays = f"version {going_on.entity_version} goes on serving" if going_on else "nothing is served"
        if not endpoint_state.has_failed(endpoint):
            raise EndpointError(
                f"{self._name} got version {self._target.version}, but another deployment came after it: "
                f"{stays}. Deploy again if it should not."
            )
        state = endpoint_state.description(endpoint, self._target.version)
        raise EndpointError(
            f"{self._name} could not serve version {self._target.version} ({state}); {stays}. "
            f"Mend what its log says and deploy again: {self._log_tail()}"
        )

    def _has_ended(self, endpoint: ServingEndpointDetailed, before: int) -> bool:
        if endpoint_state.is_updating(endpoint):
            return False
        # The old configuration without a failure is an update that does not show yet.
        is_newer = endpoint_state.is_ready(endpoint) and endpoint_state.config_version(endpoint) > before
        return endpoint_state.has_failed(endpoint) or is_newer or self._is_ours_and_ready(endpoint)

    def _is_ours_and_ready(self, endpoint: ServingEndpointDetailed) -> bool:
        return self._target.is_served_by(endpoint) and endpoint_state.is_ready(endpoint)

    def _poll(self, is_over: Callable[[ServingEndpointDetailed], bool]) -> ServingEndpointDetailed:
        retrying = Retrying(
            # The SDK itself repeats what is throttled or unavailable, but no internal error.
            retry=retry_if_result(lambda found: not is_over(found)) | retry_if_exception_type(InternalError),
            wait=wait_exponential(multiplier=0.05, max=10),
            stop=stop_after_delay(max(0.0, self._deadline - time.monotonic())),
        )
        try:
            return retrying(self._look)
        except RetryError as error:
            raise EndpointError(
                f"{self._name} does not serve version {self._target.version} in the time given; last seen: "
                f"{self._said}. It may still come: look at the endpoint, or deploy again to wait on."
            ) from error

    def _look(self) -> ServingEndpointDetailed:
        endpoint = self._api.get(self._name)
        state = endpoint_state.description(endpoint, self._target.version)
        if state != self._said:
            self._said = state
            self._progress(f"{self._name}: {state}")
        return endpoint

    def _log_tail(self) -> str:
        try:
            logs = self._api.build_logs(self._name, self._target.served_name).logs
        except DatabricksError as error:
            return f"there is no build log ({first_line(error)})"
        lines = [line.strip() for line in (logs or "").splitlines() if line.strip()]
        return " | ".join(lines[-LOG_LINES:]) or "the build log is empty"
