"""What a step has reported through Pipes, as results of the asset or check in Dagster."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.metadata.external_metadata import metadata_map_from_external
from dagster._core.pipes.context import PipesSession

Result = dg.MaterializeResult | dg.AssetCheckResult


def results(
    session: PipesSession, context: dg.OpExecutionContext, metadata: Mapping[str, Any]
) -> Iterator[Result]:
    """Yield the results of a session that is over; log its observations.

    Args:
        session: of the step.
        context: of the asset or check on this side.
        metadata: joins every materialisation's own.
    """
    descriptions: dict[tuple[dg.AssetKey | None, str | None], str | None] = {}
    for message in session.get_custom_messages():
        match message:
            case {"partition": partition}:
                context.get_step_execution_context().add_asset_metadata(
                    metadata_map_from_external(partition["metadata"]), _key(partition), partition["partition"]
                )
            case {"observation": observation}:
                context.log_event(
                    dg.AssetObservation(
                        _key(observation),
                        description=observation["description"],
                        partition=observation["partition"],
                        metadata=metadata_map_from_external(observation["metadata"]),
                        tags=observation["tags"],
                    )
                )
            case {"check": check}:
                descriptions[_key(check), check["check_name"]] = check["description"]
    for result in session.get_reported_results():
        if isinstance(result, dg.AssetCheckResult):
            yield result._replace(description=descriptions.get((result.asset_key, result.check_name)))
        else:
            yield result._replace(metadata={**(result.metadata or {}), **metadata})


def _key(payload: dict[str, Any]) -> dg.AssetKey:
    return dg.AssetKey.from_escaped_user_string(payload["asset_key"])
