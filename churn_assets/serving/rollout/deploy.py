"""Deploys a model version to an endpoint through Databricks' API, which the bundled server implements too."""

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

from churn_assets.errors import EndpointError, one_line
from churn_assets.serving.rollout import endpoint_state
from churn_assets.serving.rollout.endpoint_errors import endpoint_errors
from churn_assets.serving.rollout.target import Target, as_tags

# Receives the progress of a deployment, one line at a time.
Progress = Callable[[str], None]

LOG_LINES = 3


@dataclass(frozen=True)
class Deployment:
    """A finished deployment. ``changed`` is false if the endpoint served the version already."""

    endpoint: str
    version: str
    seconds: float
    changed: bool
    notes: tuple[str, ...] = ()


def deploy(client: WorkspaceClient, target: Target, progress: Progress, timeout: float) -> Deployment:
    """Create or update the endpoint, and wait until it serves the version.

    An endpoint that serves it already is left alone, and another update in progress is waited for. Shadows,
    which are entities without traffic, are kept.

    Args:
        client: a client of a workspace or of the bundled server.
        target: the version and configuration to serve.
        progress: receives each change of state.
        timeout: seconds to wait.

    Raises:
        EndpointError: refused, failed or too slow; the version before goes on serving.
    """
    started = time.monotonic()
    with endpoint_errors(target.endpoint, f"deploy version {target.version}"):
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


def annotate(client: WorkspaceClient, target: Target) -> tuple[str, ...] | None:
    """Set missing tags and the inference table of an endpoint, whatever version it serves.

    Returns:
        A note if the table is refused; None where there is no endpoint yet.

    Raises:
        EndpointError: the tags are refused.
    """
    with endpoint_errors(target.endpoint, "be annotated"):
        deployer = _Deployer(client, target, lambda _: None, deadline=0.0)
        endpoint = deployer.find()
        return deployer.annotate(endpoint) if endpoint else None


class _Deployer:
    def __init__(self, client: WorkspaceClient, target: Target, progress: Progress, deadline: float) -> None:
        self._api = client.serving_endpoints
        self._target = target
        self._name = target.endpoint
        self._progress = progress
        self._deadline = deadline
        self._last_state = ""

    def deploy(self) -> tuple[ServingEndpointDetailed, bool]:
        """Return the endpoint once it is ready, and whether it was changed."""
        while True:
            endpoint = self.find()
            if endpoint is None:
                if self._create():
                    return self._wait_for_target(0), True
                continue
            if endpoint_state.is_updating(endpoint):
                self._progress(f"{self._name} is being updated; waiting for that to end")
                endpoint = self._poll(lambda polled: not endpoint_state.is_updating(polled))
            before = endpoint_state.config_version(endpoint)
            if self._target.is_served_by(endpoint):
                if endpoint_state.is_ready(endpoint):
                    return endpoint, False
                return self._poll(self._is_target_ready), False
            if self._update(endpoint):
                return self._wait_for_target(before), True

    def annotate(self, endpoint: ServingEndpointDetailed) -> tuple[str, ...]:
        """Set missing tags and the inference table; return a note if the table is refused."""
        tags = {tag.key: tag.value for tag in endpoint.tags or []}
        missing = {key: value for key, value in self._target.tags.items() if tags.get(key) != value}
        if missing:
            self._api.patch(self._name, add_tags=as_tags(missing))
        table, gateway = self._target.inference_table, endpoint.ai_gateway
        existing = gateway.inference_table_config if gateway else None
        if table is None or (existing and existing.enabled):
            return ()
        try:
            # Not auto_capture_config: workspaces accept no new one since February 2026.
            self._api.put_ai_gateway(
                self._name,
                inference_table_config=AiGatewayInferenceTableConfig(
                    catalog_name=table.catalog,
                    schema_name=table.schema,
                    table_name_prefix=table.prefix,
                    enabled=True,
                ),
                # A PUT: what somebody has set there besides would be gone.
                fallback_config=gateway.fallback_config if gateway else None,
                guardrails=gateway.guardrails if gateway else None,
                rate_limits=gateway.rate_limits if gateway else None,
                usage_tracking_config=gateway.usage_tracking_config if gateway else None,
            )
        except DatabricksError as error:
            reason = one_line(error, with_class=True)
            return (f"Requests are not logged to {table.catalog}.{table.schema}: {reason}",)
        return ()

    def find(self) -> ServingEndpointDetailed | None:
        """Return the endpoint, None where there is none."""
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
            return False  # another deployment created it at the same moment
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
            time.sleep(0.1)  # another update began at the same moment, and the next poll shows it
            return False
        return True

    def _wait_for_target(self, before: int) -> ServingEndpointDetailed:
        endpoint = self._poll(lambda polled: self._has_ended(polled, before))
        if self._is_target_ready(endpoint):
            return endpoint
        served = endpoint_state.served(endpoint) if endpoint_state.is_ready(endpoint) else None
        outcome = f"version {served.entity_version} goes on serving" if served else "nothing is served"
        if not endpoint_state.has_failed(endpoint):
            raise EndpointError(
                f"{self._name} got version {self._target.version}, but another deployment came after it: "
                f"{outcome}. Deploy again if it should not."
            )
        state = endpoint_state.description(endpoint, self._target.version)
        raise EndpointError(
            f"{self._name} could not serve version {self._target.version} ({state}); {outcome}. "
            f"Mend what its log says and deploy again: {self._log_tail()}"
        )

    def _has_ended(self, endpoint: ServingEndpointDetailed, before: int) -> bool:
        if endpoint_state.is_updating(endpoint):
            return False
        # The old configuration without a failure means that the update is not visible yet.
        is_newer = endpoint_state.is_ready(endpoint) and endpoint_state.config_version(endpoint) > before
        return endpoint_state.has_failed(endpoint) or is_newer or self._is_target_ready(endpoint)

    def _is_target_ready(self, endpoint: ServingEndpointDetailed) -> bool:
        return self._target.is_served_by(endpoint) and endpoint_state.is_ready(endpoint)

    def _poll(self, is_over: Callable[[ServingEndpointDetailed], bool]) -> ServingEndpointDetailed:
        retrying = Retrying(
            # The SDK itself retries throttled or unavailable requests, but not internal errors.
            retry=retry_if_result(lambda polled: not is_over(polled))
            | retry_if_exception_type(InternalError),
            wait=wait_exponential(multiplier=0.05, max=10),
            stop=stop_after_delay(max(0.0, self._deadline - time.monotonic())),
        )
        try:
            return retrying(self._get_and_report)
        except RetryError as error:
            raise EndpointError(
                f"{self._name} does not serve version {self._target.version} in the time given; last seen: "
                f"{self._last_state}. It may still come: look at the endpoint, or deploy again to wait on."
            ) from error

    def _get_and_report(self) -> ServingEndpointDetailed:
        endpoint = self._api.get(self._name)
        state = endpoint_state.description(endpoint, self._target.version)
        if state != self._last_state:
            self._last_state = state
            self._progress(f"{self._name}: {state}")
        return endpoint

    def _log_tail(self) -> str:
        try:
            logs = self._api.build_logs(self._name, self._target.served_name).logs
        except DatabricksError as error:
            return f"there is no build log ({one_line(error, with_class=True)})"
        lines = [line.strip() for line in (logs or "").splitlines() if line.strip()]
        return " | ".join(lines[-LOG_LINES:]) or "the build log is empty"
