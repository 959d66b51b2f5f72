"""What happens in a step, said in messages of Dagster Pipes.

Pipes has logs, materialisations and checks. What it has no message for, the metadata of each date of a range
and observations, goes as custom messages, with metadata in Pipes' own form.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster import AssetMaterialization, AssetObservation, EventLogEntry
    from dagster_pipes import PipesContext

# Metadata whose value Pipes takes as it is, by the name of its class.
PLAIN = {
    "TextMetadataValue": "text",
    "UrlMetadataValue": "url",
    "PathMetadataValue": "path",
    "NotebookMetadataValue": "notebook",
    "JsonMetadataValue": "json",
    "MarkdownMetadataValue": "md",
    "FloatMetadataValue": "float",
    "IntMetadataValue": "int",
    "BoolMetadataValue": "bool",
    "NullMetadataValue": "null",
    "TimestampMetadataValue": "timestamp",
    "DagsterRunMetadataValue": "dagster_run",
}


class Reports:
    """Passes a step's events on through Pipes.

    Attributes:
        ended_well: whether the step succeeded.
        exception: its error as Pipes tells errors, None while there is none.
    """

    def __init__(self, pipes: "PipesContext") -> None:
        self._pipes = pipes
        self._materialized: set[str] = set()
        self.ended_well = False
        self.exception: Any = None

    def take(self, entry: "EventLogEntry") -> None:
        """Pass one entry of Dagster's event log on; Dagster calls this as it happens."""
        event = entry.dagster_event
        if event is None:
            self._pipes.log.log(int(entry.level), entry.user_message)
            return
        match event.event_type_value:
            case "ASSET_MATERIALIZATION":
                self._materialization(event.step_materialization_data.materialization)
            case "ASSET_OBSERVATION":
                self._observation(event.asset_observation_data.asset_observation)
            case "ASSET_CHECK_EVALUATION":
                self._check(event.asset_check_evaluation_data)
            case "STEP_FAILURE":
                failure = event.step_failure_data
                error, source = failure.error, failure.error_source
                # What a policy would try again Dagster wraps, and then says nothing of where it is from.
                by_policy = error is not None and error.cls_name == "RetryRequestedFromPolicy"
                is_final = source is not None and source.value == "FRAMEWORK_ERROR" and not by_policy
                self._pipes.report_custom_message({"failure": {"is_final": is_final}})
                self.exception = as_exception(error.cause if error and by_policy else error)
            case "STEP_SUCCESS" | "STEP_SKIPPED":
                self.ended_well = True

    def _materialization(self, materialization: "AssetMaterialization") -> None:
        from dagster._core.definitions.data_version import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG

        key = materialization.asset_key.to_escaped_user_string()
        tags = materialization.tags or {}
        if key not in self._materialized:
            self._materialized.add(key)
            of_user = DATA_VERSION_IS_USER_PROVIDED_TAG in tags
            self._pipes.report_asset_materialization(
                asset_key=key,
                # The rest is computed where the versions of what is upstream are known.
                data_version=tags[DATA_VERSION_TAG] if of_user else None,
                metadata={} if materialization.partition else as_pipes(materialization.metadata),
            )
        if materialization.partition:
            self._pipes.report_custom_message(
                {
                    "partition": {
                        "asset_key": key,
                        "partition": materialization.partition,
                        "metadata": as_pipes(materialization.metadata),
                    }
                }
            )

    def _observation(self, observation: "AssetObservation") -> None:
        self._pipes.report_custom_message(
            {
                "observation": {
                    "asset_key": observation.asset_key.to_escaped_user_string(),
                    "partition": observation.partition,
                    "description": observation.description,
                    "metadata": as_pipes(observation.metadata),
                    "tags": dict(observation.tags or {}),
                }
            }
        )

    def _check(self, evaluation: Any) -> None:
        self._pipes.report_custom_message(
            {
                "check": {
                    "asset_key": evaluation.asset_key.to_escaped_user_string(),
                    "check_name": evaluation.check_name,
                    "description": evaluation.description,
                }
            }
        )
        self._pipes.report_asset_check(
            asset_key=evaluation.asset_key.to_escaped_user_string(),
            check_name=evaluation.check_name,
            passed=evaluation.passed,
            severity=evaluation.severity.value,
            metadata=as_pipes(evaluation.metadata),
        )


def as_pipes(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as Pipes says it: a type and a raw value each."""
    return {name: _as_pipes(value) for name, value in metadata.items()}


def _as_pipes(value: Any) -> dict[str, Any]:
    kind = type(value).__name__
    if kind in PLAIN:
        return {"type": PLAIN[kind], "raw_value": value.value}
    match kind:
        case "DagsterAssetMetadataValue":
            return {"type": "asset", "raw_value": value.asset_key.to_user_string()}
        case "TableMetadataValue":
            records = [dict(record.data) for record in value.records]
            return {
                "type": "table",
                "raw_value": {
                    "records": records,
                    "schema": [_column(column) for column in value.schema.columns],
                },
            }
        case "TableSchemaMetadataValue":
            columns = [_column(column) for column in value.schema.columns]
            return {"type": "table_schema", "raw_value": {"columns": columns}}
        case "TableColumnLineageMetadataValue":
            by_column = {
                column: [
                    {"asset_key": list(dep.asset_key.path), "column_name": dep.column_name} for dep in deps
                ]
                for column, deps in value.column_lineage.deps_by_column.items()
            }
            return {"type": "table_column_lineage", "raw_value": {"deps_by_column": by_column}}
    # Rather read as text than lost.
    return {"type": "text", "raw_value": str(value.value)}


def _column(column: Any) -> dict[str, Any]:
    constraints = column.constraints
    return {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "tags": dict(column.tags),
        "constraints": {
            "nullable": constraints.nullable,
            "unique": constraints.unique,
            "other": list(constraints.other or []),
        },
    }


def as_exception(error: Any) -> Any:
    """Return an error that Dagster recorded, and what caused it, as Pipes tells exceptions."""
    if error is None:
        return None
    return {
        "message": error.message,
        "name": error.cls_name,
        "stack": list(error.stack),
        "cause": as_exception(error.cause),
        "context": as_exception(error.context),
    }
