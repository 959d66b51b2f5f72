"""Assets and checks as the Pipes launcher has them here: the same definitions, whose steps open a session."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_shared.utils.warnings import disable_dagster_warnings

LAUNCHER = "pyspark_step_launcher"


def through_pipes(definition: Any) -> Any:
    """Return an asset or check whose step is launched through Pipes, if the launcher is what it requires.

    Keys, partitions, checks, policies, configuration and retries stay; the code that computes, and what
    reads and writes tables for it, are the cluster's.
    """
    if not isinstance(definition, dg.AssetsDefinition) or LAUNCHER not in definition.required_resource_keys:
        return definition
    attributes = {**definition.get_attributes_dict(), "node_def": _launching(definition.op)}
    # The attributes are all that there are, and some are beta: each run's log need not say so.
    with disable_dagster_warnings():
        return type(definition)(**attributes)


def _launching(op: dg.OpDefinition) -> dg.OpDefinition:
    """The op with the same name, inputs, outputs and configuration, without data: tables stay there."""

    @dg.op(
        name=op.name,
        description=op.description,
        ins={name: dg.In(dg.Nothing) for name in op.ins},
        out={
            name: dg.Out(
                dg.Nothing,
                description=out.description,
                is_required=out.is_required,
                code_version=out.code_version,
            )
            for name, out in op.outs.items()
        },
        config_schema=op.config_schema,  # type: ignore[arg-type]  # taken as it is, says OpDefinition
        required_resource_keys={LAUNCHER},
        tags=op.tags,
        retry_policy=op.retry_policy,
        pool=op.pool,
    )
    def launched(context: dg.OpExecutionContext) -> Iterator[Any]:
        yield from getattr(context.resources, LAUNCHER).launch(context)

    return launched
