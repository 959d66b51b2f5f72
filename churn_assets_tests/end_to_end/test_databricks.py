"""The graph on Databricks: ``churn run`` through a launcher, on an emulated workspace.

The clusters have another Python minor version, the emulated runtime and no copy of the working tree but what
the launcher stages. What comes out must be what a folder lake gets from the same files.

Each step and each check is a process of its own, three dozen in all, so ``make test`` goes no further than
the first stage, serverless and by Pipes. ``make test-all`` goes all the way, by both launchers; the whole
graph on a cluster is also test_workflow.py's.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.graph import build_defs
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    DELIVERIES,
    EVENTS,
    USER_FEATURES,
    Table,
)
from churn_assets_tests.end_to_end.clusterhouse import (
    INGEST,
    WHOLE,
    Clusterhouse,
    Way,
    assert_endpoint_agrees,
)
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, HORIZON, Frame
from churn_assets_tests.end_to_end.warehouse import assert_same_rows
from churn_assets_tests.workspace.deployment import LANDING, set_up
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.fixtures import remote_python

__all__ = ["remote_python"]

PACKAGE_ARCHIVES = ".zip"

# Both launchers go all the way, and each of the two kinds of compute does.
FIRST_STAGE = Way(INGEST, "pipes", "serverless")
WHOLE_WAYS = [Way(WHOLE, "step", "serverless"), Way(WHOLE, "pipes", "run")]


@pytest.fixture(
    scope="module",
    params=[FIRST_STAGE, *(pytest.param(way, marks=pytest.mark.slow) for way in WHOLE_WAYS)],
    ids="-".join,
)
def on_databricks(
    request: pytest.FixtureRequest,
    landed: Path,
    remote_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Clusterhouse]:
    """A lake that has run once, with every step on a cluster."""
    folder = tmp_path_factory.mktemp("databricks")
    with (
        Workspace(folder / "workspace", python=remote_python, with_spark=True) as workspace,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        way: Way = request.param
        choice = {"databricks_launcher": way.launcher, "databricks_compute": way.compute}
        settings = set_up(workspace, folder, FIRST_DAY, HORIZON, **choice)
        shutil.copytree(landed, workspace.local(LANDING), dirs_exist_ok=True)
        house = Clusterhouse(workspace, settings, instance, way)
        house.run()
        yield house
        assert workspace.violations == []


def test_every_table_is_what_a_folder_lake_gets(
    on_databricks: Clusterhouse, expected: Callable[[Table], Frame]
) -> None:
    for table in on_databricks.tables:
        assert_same_rows(on_databricks.content(table), expected(table), table)


@pytest.mark.slow
@pytest.mark.parametrize("on_databricks", WHOLE_WAYS, indirect=True, ids="-".join)
def test_the_endpoint_serves_what_was_trained_and_agrees_with_the_batch(on_databricks: Clusterhouse) -> None:
    assert_endpoint_agrees(on_databricks)


def test_every_check_was_asked_on_the_cluster_and_passed(on_databricks: Clusterhouse) -> None:
    checks = build_defs(on_databricks.settings).resolve_asset_graph().asset_check_keys
    history = on_databricks.instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    found: dict[Any, Any] = {key: record.event for key, record in history.items()}

    # A plain run hands its list to nobody and has heard of no contact: those tables' checks were not due.
    ours = {key.asset_key for key in checks}
    computed = {key for key in ours if on_databricks.instance.get_latest_materialization_event(key)}
    assert {asset_key(table) for table in on_databricks.tables if table is not DELIVERIES} <= computed
    assert set(found) == {key for key in checks if key.asset_key in computed}
    failed = [
        key.to_user_string()
        for key, event in found.items()
        # The simulated year is over: dates are behind those that are due today. And in so young a lake
        # features still grow, as 30-day windows fill: that drifts indeed.
        if key.name not in ("latest_date", "feature_drift")
        and not event.dagster_event.event_specific_data.passed
    ]
    assert failed == []


def test_each_materialisation_says_where_it_ran_and_what_it_cost(on_databricks: Clusterhouse) -> None:
    for table in {EVENTS, USER_FEATURES, CHURN_PREDICTIONS}.intersection(on_databricks.tables):
        event: Any = on_databricks.instance.get_latest_materialization_event(asset_key(table))
        metadata = event.asset_materialization.metadata

        assert {"run_url", "run_id", "execution_seconds"} <= set(metadata)
        # Serverless compute is no cluster, and has no nodes to count.
        on_cluster = on_databricks.way.compute != "serverless"
        assert ({"cluster", "dbu_estimate"} <= set(metadata)) == on_cluster


def test_the_package_was_uploaded_once_for_all_runs_and_nothing_is_left(on_databricks: Clusterhouse) -> None:
    workspace = on_databricks.workspace
    uploads = [
        one.path for one in workspace.requests if one.method == "PUT" and one.path.endswith(PACKAGE_ARCHIVES)
    ]

    assert len(uploads) == len(set(uploads)) > 0
    assert workspace.jobs.active() == []
    assert workspace.clusters.alive() == []


def test_nothing_new_computes_nothing_but_looks_for_files(on_databricks: Clusterhouse) -> None:
    versions = {table: on_databricks.lake.version(table) for table in on_databricks.tables}

    report = on_databricks.run()

    assert set(report.computed) == {"raw_catalog.landing.events"}
    assert {table: on_databricks.lake.version(table) for table in versions} == versions


def test_no_secret_is_in_what_was_staged_recorded_or_logged(on_databricks: Clusterhouse) -> None:
    secret = on_databricks.workspace.token.encode()
    files = [file for file in on_databricks.workspace.folder.rglob("*") if file.is_file()]
    events = [
        entry.to_json()
        for run in on_databricks.instance.get_runs()
        for entry in on_databricks.instance.all_logs(run.run_id)
    ]

    assert [str(file) for file in files if secret in file.read_bytes()] == []
    assert not any(secret.decode() in event for event in events)
