"""What the assets and checks of the whole graph report is what Pipes can carry, and comes back as it was."""

import json
from collections.abc import Iterator
from typing import Any

from dagster._core.definitions.metadata.external_metadata import metadata_map_from_external

from churn_assets.databricks.steps.churn_remote.pipes_reports import as_pipes
from churn_assets_tests.end_to_end.conftest import House


def reported(house: House) -> Iterator[tuple[str, Any]]:
    """Materialisations, observations and checks of all runs, with the asset's name."""
    for run in house.instance.get_runs():
        for entry in house.instance.all_logs(run.run_id):
            event: Any = entry.dagster_event
            match event.event_type_value if event else "":
                case "ASSET_MATERIALIZATION":
                    yield str(event.asset_key), event.step_materialization_data.materialization
                case "ASSET_OBSERVATION":
                    yield str(event.asset_key), event.asset_observation_data.asset_observation
                case "ASSET_CHECK_EVALUATION":
                    yield str(event.asset_key), event.asset_check_evaluation_data


def test_all_that_is_reported_goes_through_pipes(house: House) -> None:
    kinds = set()
    for name, what in reported(house):
        kinds |= {type(value).__name__ for value in what.metadata.values()}
        carried = json.loads(json.dumps(as_pipes(what.metadata)))
        assert metadata_map_from_external(carried) == what.metadata, name
    # Not only text and numbers.
    assert {"TableMetadataValue", "TableColumnLineageMetadataValue", "MarkdownMetadataValue"} <= kinds
