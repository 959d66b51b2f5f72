"""What the settings make of the launcher: staging, compute, partitions, credentials, secrets."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.compute import DataSecurityMode

from churn_assets.databricks.compute.libraries import Requirements
from churn_assets.databricks.preflight import require_workspace
from churn_assets.errors import SettingsError, WorkspaceError
from churn_assets_tests.databricks import tiny
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.faults import Refused

Make = Callable[..., Any]


def test_the_python_of_the_runtime_computes_the_step(
    tmp_path: Path, remote_python: Path, instance: dg.DagsterInstance
) -> None:
    with Workspace(tmp_path / "other", python=remote_python) as other:
        launcher = tiny.make_launcher(other, tmp_path)
        result = tiny.materialize(launcher, instance, "derived")
        assert other.violations == []
    assert result.success
    (materialization,) = result.asset_materializations_for_node("derived")
    # That of Runtime 17.3, whatever ours is.
    assert materialization.metadata["python"].value == "3.12"


@pytest.mark.usefixtures("each_launcher")
def test_a_range_of_days_is_one_step_that_materialises_each(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    tags = {
        "dagster/asset_partition_range_start": "2026-01-02",
        "dagster/asset_partition_range_end": "2026-01-04",
    }
    result = materialize(make_launcher(databricks_compute="step"), "by_day", tags=tags)
    materializations = result.asset_materializations_for_node("by_day")
    assert [materialization.partition for materialization in materializations] == [
        "2026-01-02",
        "2026-01-03",
        "2026-01-04",
    ]
    assert {materialization.metadata["first"].value for materialization in materializations} == {"2026-01-02"}
    # Each has its own metadata, and what the step has seen of other assets comes along.
    for materialization in materializations:
        assert materialization.metadata["day"].value == materialization.partition
    (observation,) = [event for event in result.all_events if event.event_type_value == "ASSET_OBSERVATION"]
    seen = observation.asset_observation_data.asset_observation
    assert (seen.asset_key, seen.partition, seen.tags) == (
        dg.AssetKey("by_month"),
        "2026-01",
        {"seen": "yes"},
    )
    assert len(workspace.jobs.runs) == 1
    # The cluster was the step's own, and its start is part of the cost.
    assert workspace.calls("POST", "/clusters/create") == []
    assert all("dbu_estimate" in materialization.metadata for materialization in materializations)


def test_a_volume_whose_overwritten_files_look_old_ends_no_step(
    workspace: Workspace, make_launcher: Make, materialize: Make, tmp_path: Path
) -> None:
    workspace.files.stale = True
    marks, done = tmp_path / "marks", tmp_path / "done"

    def finish_after_many_beats() -> None:
        tiny.until(marks.exists)
        before = len(workspace.calls("PUT", ""))
        tiny.until(lambda: len(workspace.calls("PUT", "")) > before + 12)
        done.touch()

    somebody = threading.Thread(target=finish_after_many_beats)
    somebody.start()
    launcher = make_launcher(databricks_compute="step", heartbeat_seconds=0.2, missed_heartbeats=5)
    result = materialize(launcher, "probe", config={"marks": str(marks), "waits_for": str(done)})
    somebody.join()
    assert result.success
    # And old beats do not pile up.
    assert len([one for one in workspace.requests if one.method == "DELETE" and "/beats/" in one.path]) > 10


def test_a_step_runs_on_a_cluster_that_is_there_and_stays(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    client = workspace.client()
    client.secrets.create_scope("ours")
    client.secrets.put_secret("ours", "endpoint-token", string_value="told-to-the-cluster-alone")
    cluster_id = client.clusters.create(
        "17.3.x-scala2.13",
        node_type_id="i3.2xlarge",
        num_workers=2,
    ).response.cluster_id
    launcher = make_launcher(
        databricks_compute="existing",
        databricks_cluster_id=cluster_id,
        databricks_secret_scope="ours",
        databricks_dbu_rates={"i3.2xlarge": 1200.0},
    )
    result = materialize(launcher, "probe", config={"says": "x"})
    (materialization,) = result.asset_materializations_for_node("probe")
    seconds = materialization.metadata["execution_seconds"].value
    assert materialization.metadata["cluster"].value == cluster_id
    # Two workers and a driver at 1,200 DBU an hour: one a second.
    assert materialization.metadata["dbu_estimate"].value == pytest.approx(seconds, abs=1e-3)
    # A cluster that is there cannot be told of secrets any more: the step asks for them by name.
    environment: Any = materialization.metadata["environment"].value
    assert environment["CHURN_ENDPOINT_TOKEN"] == "told-to-the-cluster-alone"
    uploads = [request for request in workspace.requests if request.path.startswith("/api/2.0/fs/files/")]
    assert uploads
    assert "told-to-the-cluster-alone" not in str([upload.body for upload in uploads])
    assert not [request for request in workspace.requests if "/dbfs/" in request.path]
    assert [file.name for file in workspace.local(tiny.STAGING).rglob("*.zip")] == ["code.zip"]
    assert [cluster.cluster_id for cluster in workspace.clusters.alive()] == [cluster_id]
    client.clusters.permanent_delete(cluster_id)


@pytest.mark.usefixtures("each_launcher")
def test_a_serverless_step_has_no_cluster_and_reads_its_secrets_itself(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    client = workspace.client()
    client.secrets.create_scope("ours")
    client.secrets.put_secret("ours", "endpoint-token", string_value="told-to-the-step-alone")
    launcher = make_launcher(databricks_compute="serverless", databricks_secret_scope="ours")
    result = materialize(launcher, "probe", config={"says": "x"})
    (materialization,) = result.asset_materializations_for_node("probe")
    environment: Any = materialization.metadata["environment"].value
    assert environment["CHURN_ENDPOINT_TOKEN"] == "told-to-the-step-alone"
    assert environment["IS_SERVERLESS"] == "TRUE"
    # Nothing to count DBU by, and no cluster to name.
    assert {"run_url", "run_id", "execution_seconds"} <= set(materialization.metadata)
    assert not {"cluster", "dbu_estimate"} & set(materialization.metadata)
    (submitted,) = workspace.calls("POST", "/runs/submit")
    (environments,) = submitted.body["environments"]
    assert environments["spec"]["environment_version"] == "4"
    assert environments["spec"]["dependencies"][0].startswith(f"-r {tiny.STAGING}/code/requirements-")
    assert workspace.calls("POST", "/clusters/create") == []
    staged = [one.body for one in workspace.requests if one.path.startswith("/api/2.0/fs/files/")]
    assert "told-to-the-step-alone" not in str(staged)


def test_a_serverless_environment_that_cannot_be_had_is_not_tried_again(
    workspace: Workspace, make_launcher: Make, materialize: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Requirements(b"dagster==0.1 --hash=sha256:00\n", "broken")
    monkeypatch.setattr("churn_assets.databricks.steps.staged_code.cluster_requirements", lambda: broken)
    result = materialize(make_launcher(databricks_compute="serverless"), "retried_probe", config={})
    assert "LIBRARY_INSTALLATION_ERROR" in tiny.failure(result, "retried_probe").message
    assert len(workspace.jobs.runs) == 1


def test_a_cluster_without_unity_catalog_is_refused(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    clusters = workspace.client().clusters
    made = clusters.create(
        "17.3.x-scala2.13",
        node_type_id="i3.xlarge",
        num_workers=1,
        data_security_mode=DataSecurityMode.NONE,
    )
    cluster_id = made.response.cluster_id or ""
    launcher = make_launcher(databricks_compute="existing", databricks_cluster_id=cluster_id)
    result = materialize(launcher, "probe", config={})
    assert "has the access mode NONE, which has no Unity Catalog" in tiny.failure(result, "probe").message
    assert workspace.calls("POST", "/runs/submit") == []
    clusters.permanent_delete(cluster_id)


def test_a_cluster_that_is_there_and_too_old_is_refused(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    clusters = workspace.client().clusters
    old = clusters.create("16.4.x-scala2.13", node_type_id="i3.xlarge", num_workers=1).response.cluster_id
    result = materialize(
        make_launcher(databricks_compute="existing", databricks_cluster_id=old), "probe", config={}
    )
    assert (
        f"CHURN_DATABRICKS_CLUSTER_ID={old} is 16.4.x-scala2.13, older"
        in tiny.failure(result, "probe").message
    )
    assert workspace.calls("POST", "/runs/submit") == []
    clusters.permanent_delete(old or "")


def test_a_service_principal_needs_no_token_of_a_person(workspace: Workspace, make_settings: Make) -> None:
    ours = {
        "databricks_client_id": workspace.auth.client_id,
        "databricks_client_secret": workspace.auth.client_secret,
    }
    assert require_workspace(make_settings(databricks_token=None, **ours)).endswith(workspace.auth.client_id)
    # It goes before a token that happens to be set as well.
    assert require_workspace(make_settings(**ours)).endswith(workspace.auth.client_id)
    with pytest.raises(WorkspaceError, match="does not let this deployment in") as error:
        require_workspace(make_settings(**{**ours, "databricks_client_secret": "dose-guessed"}))
    assert "dose-guessed" not in str(error.value)


def test_a_secret_scope_that_is_not_there_says_so(make_launcher: Make, materialize: Make) -> None:
    result = materialize(make_launcher(databricks_secret_scope="nowhere"), "probe", config={"says": "x"})
    assert "CHURN_DATABRICKS_SECRET_SCOPE=nowhere is no scope" in tiny.failure(result, "probe").message


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"databricks_host": None}, "needs DATABRICKS_HOST"),
        ({"databricks_token": None}, "needs DATABRICKS_TOKEN"),
        (
            {"databricks_token": None, "databricks_client_id": "me"},
            "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET",
        ),
        ({"databricks_compute": "pool"}, "CHURN_DATABRICKS_POOL_ID"),
    ],
)
def test_what_is_not_set_is_said_before_the_workspace_is_asked(
    workspace: Workspace, make_launcher: Make, overrides: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        make_launcher(**overrides)
    # With an id alone the SDK looks where tokens of an OIDC issuer would be exchanged.
    assert [
        request for request in workspace.requests if not request.path.startswith("/oidc/.well-known/")
    ] == []


def test_a_wrong_token_ends_the_run_before_anything_is_started(
    workspace: Workspace, make_launcher: Make, instance: dg.DagsterInstance
) -> None:
    launcher = make_launcher(databricks_token="dapi-of-somebody-else")
    with (
        pytest.raises(
            WorkspaceError, match=r"does not let this deployment in.*Check DATABRICKS_HOST"
        ) as error,
        launcher.for_run(instance, "a run"),
    ):
        pass
    assert "dapi-of-somebody-else" not in str(error.value)
    assert len(workspace.requests) == 1


def test_a_host_that_does_not_answer_is_given_up_soon(
    instance: dg.DagsterInstance, make_launcher: Make
) -> None:
    launcher = make_launcher(databricks_host="http://127.0.0.1:9", patience_seconds=1)
    with (
        pytest.raises(WorkspaceError, match=r"http://127\.0\.0\.1:9 does not let this deployment in"),
        launcher.for_run(instance, "a run"),
    ):
        pass


def test_leftovers_of_runs_that_other_instances_know_are_left_alone(
    workspace: Workspace, make_launcher: Make, instance: dg.DagsterInstance
) -> None:
    client = workspace.client()
    theirs = client.clusters.create(
        "17.3.x-scala2.13", cluster_name="churn-run-of-theirs", node_type_id="i3.xlarge", num_workers=1
    ).response.cluster_id
    launcher = make_launcher()
    launcher.launches.staging.put(f"{tiny.STAGING}/runs/of-theirs/step/0.0/config.json", b"{}")
    with launcher.for_run(instance, "ours"):
        pass
    assert [cluster.cluster_id for cluster in workspace.clusters.alive()] == [theirs]
    assert len(tiny.staged(workspace)) == 1
    client.clusters.permanent_delete(theirs)
    launcher.launches.staging.delete(f"{tiny.STAGING}/runs")


def test_a_workspace_that_refuses_the_clearing_up_does_not_stop_the_run(
    workspace: Workspace, make_launcher: Make, instance: dg.DagsterInstance
) -> None:
    workspace.faults.add("GET", r"/clusters/list$", Refused(403, message="not yours"), times=2)
    with (
        make_launcher().for_run(instance, "ours") as launcher,
        pytest.raises(PermissionDenied, match="not yours"),
    ):
        list(launcher.launches.workspace.clusters.list())
