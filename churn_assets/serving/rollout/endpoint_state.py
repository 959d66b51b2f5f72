"""Reads an endpoint's state from Databricks' API."""

from databricks.sdk.service.serving import (
    EndpointStateConfigUpdate,
    EndpointStateReady,
    ServedEntityOutput,
    ServingEndpointDetailed,
)

from churn_assets.errors import one_line


def served(endpoint: ServingEndpointDetailed) -> ServedEntityOutput | None:
    """Return the entity with the most traffic, or the only one; None without entities."""
    share = _shares(endpoint)
    return max(_entities(endpoint), key=lambda entity: share.get(entity.name, 0), default=None)


def shadows(endpoint: ServingEndpointDetailed) -> list[ServedEntityOutput]:
    """Return the entities without traffic."""
    share = _shares(endpoint)
    return [entity for entity in _entities(endpoint) if share.get(entity.name) == 0]


def config_version(endpoint: ServingEndpointDetailed) -> int:
    """Return the number of configurations so far."""
    return (endpoint.config.config_version if endpoint.config else None) or 0


def is_updating(endpoint: ServingEndpointDetailed) -> bool:
    """Return whether an update is in progress, during which no other is accepted."""
    return _update(endpoint) is EndpointStateConfigUpdate.IN_PROGRESS


def has_failed(endpoint: ServingEndpointDetailed) -> bool:
    """Return whether the last update failed or was cancelled, so that the configuration before it stays."""
    return _update(endpoint) in (
        EndpointStateConfigUpdate.UPDATE_FAILED,
        EndpointStateConfigUpdate.UPDATE_CANCELED,
    )


def is_ready(endpoint: ServingEndpointDetailed) -> bool:
    """Return whether the endpoint answers, or would after scaling up from zero."""
    return endpoint.state is not None and endpoint.state.ready is EndpointStateReady.READY


def description(endpoint: ServingEndpointDetailed, version: str) -> str:
    """Return the state in words, with that of one version; the pending configuration's comes first."""
    state = endpoint.state
    ready = state.ready.value if state and state.ready else "unknown"
    update = state.config_update.value if state and state.config_update else "unknown"
    entity = _of_version(endpoint, version)
    if entity is None or entity.state is None:
        return f"{ready}, {update}"
    deployment = entity.state.deployment.value if entity.state.deployment else "unknown"
    message = one_line(entity.state.deployment_state_message or "")
    return f"{ready}, {update}, version {version} {deployment}{message and ': ' + message}"


def _of_version(endpoint: ServingEndpointDetailed, version: str) -> ServedEntityOutput | None:
    pending = endpoint.pending_config.served_entities if endpoint.pending_config else None
    entities = [*(pending or []), *_entities(endpoint)]
    return next((entity for entity in entities if entity.entity_version == version), None)


def _update(endpoint: ServingEndpointDetailed) -> EndpointStateConfigUpdate | None:
    return endpoint.state.config_update if endpoint.state else None


def _entities(endpoint: ServingEndpointDetailed) -> list[ServedEntityOutput]:
    return (endpoint.config.served_entities if endpoint.config else None) or []


def _shares(endpoint: ServingEndpointDetailed) -> dict[str | None, int]:
    traffic = endpoint.config.traffic_config if endpoint.config else None
    routes = (traffic.routes if traffic else None) or []
    return {route.served_model_name or route.served_entity_name: route.traffic_percentage for route in routes}
