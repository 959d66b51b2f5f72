"""The desired configuration of an endpoint, in the terms of Databricks' API."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from databricks.sdk.service.serving import (
    EndpointTag,
    Route,
    ServedEntityInput,
    ServedEntityOutput,
    ServingEndpointDetailed,
    TrafficConfig,
)

from churn_assets.serving.rollout import endpoint_state


@dataclass(frozen=True)
class InferenceTable:
    """The table of logged requests and answers: ``<catalog>.<schema>.<prefix>_payload``."""

    catalog: str
    schema: str
    prefix: str


@dataclass(frozen=True)
class Target:
    """The desired configuration. ``version`` is a number: stages and aliases are resolved before."""

    endpoint: str
    entity_name: str
    version: str
    workload_size: str = "Small"
    scale_to_zero: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    inference_table: InferenceTable | None = None

    @property
    def served_name(self) -> str:
        """The entity's name in answers, logs and routes: model and version."""
        return f"{self.entity_name.rpartition('.')[2]}-{self.version}"

    def is_served_by(self, endpoint: ServingEndpointDetailed) -> bool:
        """Return whether the endpoint's current configuration is this one, apart from shadows."""
        entity = endpoint_state.served(endpoint)
        return entity is not None and (
            entity.entity_name,
            entity.entity_version,
            entity.workload_size,
            bool(entity.scale_to_zero_enabled),
        ) == (self.entity_name, self.version, self.workload_size, self.scale_to_zero)

    def entities(self, shadows: Iterable[ServedEntityOutput] = ()) -> list[ServedEntityInput]:
        """Return this version, followed by its shadows."""
        own = ServedEntityInput(
            name=self.served_name,
            entity_name=self.entity_name,
            entity_version=self.version,
            workload_size=self.workload_size,
            scale_to_zero_enabled=self.scale_to_zero,
        )
        return [own, *(_as_input(entity) for entity in shadows)]

    def traffic(self, shadows: Iterable[ServedEntityOutput] = ()) -> TrafficConfig:
        """Return the routes, which send all requests to this version."""
        routes = [Route(served_model_name=self.served_name, traffic_percentage=100)]
        routes += [Route(served_model_name=entity.name or "", traffic_percentage=0) for entity in shadows]
        return TrafficConfig(routes=routes)


def as_tags(tags: Mapping[str, str]) -> list[EndpointTag]:
    """Return tags in the API's type."""
    return [EndpointTag(key=key, value=value) for key, value in tags.items()]


def _as_input(entity: ServedEntityOutput) -> ServedEntityInput:
    return ServedEntityInput(
        name=entity.name,
        entity_name=entity.entity_name,
        entity_version=entity.entity_version,
        workload_size=entity.workload_size,
        scale_to_zero_enabled=entity.scale_to_zero_enabled,
    )
