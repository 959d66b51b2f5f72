"""The parts of a materialisation that the cluster cannot know: upstream versions and cost.

A step runs on the cluster with a Dagster instance of its own, which is empty. Left as they are, its
materialisations would name INITIAL as the version of everything upstream, and so be stale at birth.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DataVersion,
    compute_logical_data_version,
)
from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.events import DagsterEventType, StepMaterializationData
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.plan.execute_step import _build_data_version_tags, _get_input_provenance_data
from dagster_shared.record import replace


def with_provenance(
    entry: dg.EventLogEntry, step_context: StepExecutionContext, metadata: Mapping[str, Any]
) -> dg.EventLogEntry:
    """Complete a materialisation or check evaluation from this side; return other entries unchanged.

    Call it for one entry after the other, each stored before the next: a later asset of the same step may
    have read an earlier one.

    Args:
        entry: as the cluster wrote it.
        step_context: of the step on this side; it looked its upstream versions up before the step started.
        metadata: joins every materialisation's own.
    """
    event = entry.dagster_event
    if event is None:
        return entry
    if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
        data = event.step_materialization_data
        materialization = data.materialization
        step_context.wipe_input_asset_version_info(materialization.asset_key)
        whole = materialization._replace(
            metadata={**materialization.metadata, **normalize_metadata(metadata)},
            tags={**(materialization.tags or {}), **_version_tags(materialization, step_context)},
        )
        changed: Any = StepMaterializationData(whole, data.asset_lineage)
    elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
        changed = _with_target(event.asset_check_evaluation_data, step_context)
    else:
        return entry
    return entry._replace(dagster_event=event._replace(event_specific_data=changed))


def _version_tags(
    materialization: dg.AssetMaterialization, step_context: StepExecutionContext
) -> dict[str, str]:
    tags = materialization.tags or {}
    key = materialization.asset_key
    if CODE_VERSION_TAG not in tags or key not in step_context.job_def.asset_layer.executable_asset_keys:
        # Logged by the asset itself, beside what it returns: Dagster gives it no versions either.
        return {}
    upstream = _get_input_provenance_data(key, step_context)
    code_version = tags[CODE_VERSION_TAG]
    is_user_provided = DATA_VERSION_IS_USER_PROVIDED_TAG in tags
    version = (
        DataVersion(tags[DATA_VERSION_TAG])
        if is_user_provided
        else compute_logical_data_version(
            code_version,
            {upstream_key: provenance["data_version"] for upstream_key, provenance in upstream.items()},
        )
    )
    return _build_data_version_tags(version, code_version, upstream, is_user_provided)


def _with_target(
    evaluation: AssetCheckEvaluation, step_context: StepExecutionContext
) -> AssetCheckEvaluation:
    """Add the checked materialisation, without which the UI cannot tell whether the result is current."""
    key = evaluation.asset_key
    step_context.wipe_input_asset_version_info(key)
    checked = step_context.maybe_fetch_and_get_input_asset_version_info(key)
    if checked is None or checked.event_type != DagsterEventType.ASSET_MATERIALIZATION:
        return evaluation
    target = AssetCheckEvaluationTargetMaterializationData(
        run_id=checked.run_id, storage_id=checked.storage_id, timestamp=checked.timestamp
    )
    return replace(evaluation, target_materialization_data=target)
