"""What a Dagster run through the launcher leaves: one run, looked at from many sides."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest
from dagster._serdes import serialize_value

from churn_assets.databricks.compute.libraries import cluster_requirements
from churn_assets.identity import OF_THIS_MACHINE
from churn_assets_tests.databricks import tiny
from churn_assets_tests.databricks.tiny_churn.definitions import defs
from churn_assets_tests.workspace.emulator import Workspace

EVENTS_OF_A_STEP = {
    "step": [
        "ENGINE_EVENT",
        "RESOURCE_INIT_STARTED",
        "RESOURCE_INIT_SUCCESS",
        "STEP_START",
        "STEP_OUTPUT",
        "ASSET_MATERIALIZATION",
        "STEP_SUCCESS",
    ],
    "pipes": [
        "STEP_START",
        "ENGINE_EVENT",
        "STEP_OUTPUT",
        "ASSET_MATERIALIZATION",
        "STEP_SUCCESS",
    ],
}
OWN_FILES = {"step": {"step_run_ref.pkl", "config.json"}, "pipes": {"config.json"}}


class Done(NamedTuple):
    launcher: str
    workspace: Workspace
    instance: dg.DagsterInstance
    result: dg.ExecuteInProcessResult

    def materialization(self, name: str) -> dg.AssetMaterialization:
        (event,) = self.result.asset_materializations_for_node(name)
        return event

    def metadata(self, name: str) -> dict[str, Any]:
        return {key: entry.value for key, entry in self.materialization(name).metadata.items()}


@pytest.fixture(scope="module", params=["step", "pipes"])
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, remote_python: Path
) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("happy")
    with (
        Workspace(folder / "workspace", python=remote_python) as workspace,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        client = workspace.client()
        client.secrets.create_scope("ours")
        for key in ("databricks-token", "endpoint-token"):
            client.secrets.put_secret("ours", key, string_value="of-the-scope")
        launcher = tiny.make_launcher(
            workspace,
            folder,
            databricks_launcher=request.param,
            horizon_days=14,
            main_catalog="prod",
            databricks_volume=tiny.STAGING.removesuffix("/staging"),
            dagster_home=folder,
            databricks_secret_scope="ours",
            databricks_dbu_rates={"i3.xlarge": 36.0},
        )
        result = tiny.materialize(launcher, instance, "source", "derived")
        yield Done(request.param, workspace, instance, result)
    assert workspace.violations == []


def test_each_step_runs_on_the_cluster_in_the_order_of_the_graph(done: Done) -> None:
    assert done.result.success
    names = [run.name.split()[0] for run in done.workspace.jobs.runs.values()]
    assert names == ["source", "derived", "source_source_is_seven"]
    assert {run.end.result for run in done.workspace.jobs.runs.values() if run.end} == {"SUCCESS"}


def test_what_a_step_logs_is_in_dagsters_log(done: Done) -> None:
    messages = [entry.user_message for entry in done.instance.all_logs(done.result.run_id)]
    assert messages.count("source says hello") == 1


def test_each_event_is_stored_once_and_in_order(done: Done) -> None:
    of_source = [
        entry.dagster_event.event_type_value
        for entry in done.instance.all_logs(done.result.run_id)
        if entry.step_key == "source" and entry.dagster_event
    ]
    assert of_source == ["ASSET_MATERIALIZATION_PLANNED", *EVENTS_OF_A_STEP[done.launcher]]


def test_a_materialisation_says_what_it_took_and_where(done: Done) -> None:
    metadata = done.metadata("source")
    (run,) = [run for run in done.workspace.jobs.runs.values() if run.name.startswith("source of")]
    assert metadata["run_id"] == run.run_id
    assert str(run.run_id) in metadata["run_url"]
    assert metadata["cluster"] == run.tasks["dagster-task"].cluster.cluster_id  # type: ignore[union-attr]  # it ran
    assert metadata["execution_seconds"] > 0
    # Driver and one worker, 36 DBU an hour each: 0.02 a second.
    assert metadata["dbu_estimate"] == pytest.approx(metadata["execution_seconds"] * 0.02, abs=1e-5)


def test_the_settings_travel_but_for_dagsters_home(done: Done) -> None:
    environment = done.metadata("source")["environment"]
    assert environment["CHURN_DEPLOYMENT"] == "databricks"
    assert environment["CHURN_HORIZON_DAYS"] == "14"
    assert environment["CHURN_MAIN_CATALOG"] == "prod"
    assert "DAGSTER_HOME" not in environment


def test_a_new_cluster_reads_its_secrets_from_the_scope_and_is_itself(done: Done) -> None:
    (spec,) = [request.body for request in done.workspace.calls("POST", "/clusters/create")]
    assert spec["custom_tags"] == {"project": "churn-assets", "dagster_run_id": done.result.run_id}
    assert spec["spark_env_vars"] == {"CHURN_ENDPOINT_TOKEN": "{{secrets/ours/endpoint-token}}"}
    environment = done.metadata("source")["environment"]
    assert environment["CHURN_ENDPOINT_TOKEN"] == "of-the-scope"
    assert not {"DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", *OF_THIS_MACHINE} & set(environment)


def test_a_materialisation_names_the_versions_it_was_made_from(done: Done) -> None:
    tags = done.materialization("derived").tags or {}
    assert tags["dagster/input_data_version/source"] == "seven"
    pointer = int(tags["dagster/input_event_pointer/source"])
    record = done.instance.get_latest_materialization_event(dg.AssetKey("source"))
    stored = done.instance.fetch_materializations(dg.AssetKey("source"), limit=1).records[0]
    assert record is not None
    assert stored.storage_id == pointer


def test_nothing_is_stale_at_birth(done: Done) -> None:
    graph = defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(done.instance, graph, LoadingContextForTest(done.instance))
    assert {name: resolver.get_status(dg.AssetKey(name)).value for name in ("source", "derived")} == {
        "source": "FRESH",
        "derived": "FRESH",
    }


def test_a_check_names_the_materialisation_that_it_checked(done: Done) -> None:
    (evaluation,) = done.result.get_asset_check_evaluations()
    assert evaluation.passed
    assert evaluation.description == "it is"
    target = evaluation.target_materialization_data
    assert target is not None
    assert target.run_id == done.result.run_id


def test_the_code_is_uploaded_once_and_is_the_package_alone(done: Done) -> None:
    uploads = [
        request
        for request in done.workspace.requests
        if request.path.endswith("code.zip") and request.method == "PUT"
    ]
    assert len(uploads) == 1
    names = zipfile.ZipFile(io.BytesIO(uploads[0].body)).namelist()
    assert {name.split("/")[0] for name in names} == {"tiny_churn", "dagster_pyspark", "churn_remote"}
    assert not [name for name in names if "__pycache__" in name]


def test_a_step_uploads_nothing_but_its_own_files_and_a_sign_of_life(done: Done) -> None:
    put = [
        request.path
        for request in done.workspace.requests
        if request.method == "PUT" and "/fs/files/" in request.path
    ]
    of_derived = [path.partition("/derived/0.0/")[2] for path in put if "/derived/" in path]
    assert {path for path in of_derived if not path.startswith("beats/")} == OWN_FILES[done.launcher]
    assert [path for path in of_derived if path.startswith("beats/")]


def test_the_program_is_a_workspace_file_of_whom_the_launcher_is(done: Done) -> None:
    (home,) = {
        request.body["tasks"][0]["spark_python_task"]["python_file"].rsplit("/", 2)[0]
        for request in done.workspace.calls("POST", "/runs/submit")
    }
    assert home == "/Workspace/Users/engineer@example.com/.churn/steps"
    assert len(done.workspace.calls("POST", "/workspace/import")) == 1


def test_one_cluster_serves_the_run_and_ends_with_it(done: Done) -> None:
    assert len(done.workspace.calls("POST", "/clusters/create")) == 1
    assert len({done.metadata(name)["cluster"] for name in ("source", "derived")}) == 1
    assert done.workspace.clusters.alive() == []
    run = done.instance.get_run_by_id(done.result.run_id)
    assert run is not None
    assert run.tags["churn/databricks_cluster"] == done.metadata("source")["cluster"]


def test_no_staged_file_of_a_step_is_left(done: Done) -> None:
    assert tiny.staged(done.workspace) == []
    assert done.workspace.local(f"{tiny.STAGING}/code").is_dir()


def test_the_cluster_installs_one_file_that_is_staged_once(done: Done) -> None:
    submitted = [request.body for request in done.workspace.calls("POST", "/runs/submit")]
    (named,) = {str(body["tasks"][0]["libraries"]) for body in submitted}
    uploads = done.workspace.calls("PUT", "/requirements.txt")
    assert len(uploads) == 1
    path = uploads[0].path.removeprefix("/api/2.0/fs/files")
    assert named == str([{"requirements": path}])
    assert uploads[0].body == cluster_requirements().content


def test_the_token_is_in_no_request_event_log_or_file(done: Done) -> None:
    token = done.workspace.token.encode()
    bodies = [_bytes(request.body) for request in done.workspace.requests]
    events = [serialize_value(entry).encode() for entry in done.instance.all_logs(done.result.run_id)]
    files = [file.read_bytes() for file in done.workspace.folder.rglob("*") if file.is_file()]
    run = done.instance.get_run_by_id(done.result.run_id)
    assert run is not None
    places = [*bodies, *events, *files, serialize_value(run).encode()]
    assert [place[:200] for place in places if token in place] == []
    # And it would be found: the settings that travelled are there to be seen.
    assert any(b"CHURN_DEPLOYMENT" in body for body in bodies)


def _bytes(body: Any) -> bytes:
    if not isinstance(body, bytes):
        return json.dumps(body).encode()
    if not zipfile.is_zipfile(io.BytesIO(body)):
        return body
    archive = zipfile.ZipFile(io.BytesIO(body))
    return b"".join(archive.read(name) for name in archive.namelist())
