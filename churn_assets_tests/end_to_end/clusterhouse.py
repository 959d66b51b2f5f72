"""The graph on Databricks: a lake in an emulated workspace whose steps run on its compute."""

from typing import Any, NamedTuple

import dagster as dg

from churn_assets.assets.endpoint import AGREES_WITH_BATCH
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.runs.runner import PipelineReport
from churn_assets.graph import build_defs
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, TABLES, USERS, Table
from churn_assets_tests.end_to_end.conftest import NOW, Frame
from churn_assets_tests.end_to_end.warehouse import content
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.nights import production, served

INGEST, WHOLE = "ingest", "whole"
INGESTED = (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS, USERS)


class Way(NamedTuple):
    """How far the graph goes, and how steps get there."""

    stage: str
    launcher: str
    compute: str


class Clusterhouse:
    """A lake in Unity Catalog, with its graph and its history; ``tables`` are those that it is about."""

    def __init__(
        self, workspace: Workspace, settings: Settings, instance: dg.DagsterInstance, way: Way
    ) -> None:
        self.workspace = workspace
        self.settings = settings
        self.instance = instance
        self.lake: Lakehouse = lakehouse(settings)
        self.tables = INGESTED if way.stage == INGEST else TABLES
        self.way = way

    def run(self) -> PipelineReport:
        """What ``churn run`` does on the orchestrator, or the first stage of it."""
        pipeline = Pipeline(build_defs(self.settings), self.lake, self.instance, lambda _: None)
        return pipeline.run_stage(INGEST, NOW) if self.way.stage == INGEST else pipeline.run(NOW)

    def content(self, table: Table) -> Frame:
        """As ``House.content``, asked of the SQL warehouse."""
        return content(self.lake, table)


def assert_endpoint_agrees(house: Clusterhouse) -> None:
    """The endpoint serves the one version that was trained, and answered as the batch scored."""
    checks: Any = house.instance.event_log_storage.get_asset_check_execution_history(
        AGREES_WITH_BATCH, limit=1
    )
    evaluation = checks[0].event.dagster_event.event_specific_data

    assert served(house.workspace) == production(house.settings) == "1"
    assert evaluation.passed
    assert evaluation.metadata["compared_users"].value == 200
    assert evaluation.metadata["largest_difference"].value <= 1e-9
