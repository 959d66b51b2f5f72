"""Clusters, pools, permissions and secrets."""

import base64
import time

import pytest
from databricks.sdk.errors import BadRequest, NotFound, ResourceAlreadyExists, ResourceDoesNotExist
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.compute import ListClustersFilterBy, State
from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel
from databricks.sdk.service.workspace import AclPermission

from churn_assets_tests.workspace.emulator import Workspace


def _create(workspace: Workspace, minutes: int = 120) -> str:
    created = workspace.client().clusters.create(
        spark_version="17.3.x-scala2.13",
        node_type_id="i3.xlarge",
        num_workers=4,
        cluster_name="churn",
        autotermination_minutes=minutes,
    )
    return created.response.cluster_id


def test_a_cluster_is_pending_then_running_then_terminated(workspace: Workspace) -> None:
    workspace.faults.cluster_start_seconds = 0.2
    clusters = workspace.client().clusters
    cluster_id = _create(workspace)
    assert clusters.get(cluster_id).state == State.PENDING
    time.sleep(0.25)
    assert clusters.get(cluster_id).state == State.RUNNING
    assert [
        item.cluster_name for item in workspace.clusters.alive() for item in [clusters.get(item.cluster_id)]
    ] == ["churn"]
    clusters.delete(cluster_id)
    details = clusters.get(cluster_id)
    assert details.state == State.TERMINATED
    assert details.termination_reason
    assert details.termination_reason.code
    assert details.termination_reason.code.value == "USER_REQUEST"
    assert workspace.clusters.alive() == []
    assert [item.type.value for item in clusters.events(cluster_id) if item.type] == [
        "TERMINATING",
        "CREATING",
    ]


def test_a_cluster_that_is_deleted_for_good_is_unknown(workspace: Workspace) -> None:
    cluster_id = _create(workspace)
    workspace.client().clusters.permanent_delete(cluster_id)
    with pytest.raises(ResourceDoesNotExist, match="does not exist"):
        workspace.client().clusters.get(cluster_id)


def test_an_idle_cluster_ends_by_itself(workspace: Workspace) -> None:
    _create(workspace, minutes=10)
    workspace.clusters.seconds_per_minute = 0.01
    assert len(workspace.clusters.alive()) == 1
    time.sleep(0.15)
    assert workspace.clusters.alive() == []


def test_clusters_are_listed_by_state(workspace: Workspace) -> None:
    first, second = _create(workspace), _create(workspace)
    clusters = workspace.client().clusters
    clusters.delete(first)
    running = clusters.list(filter_by=ListClustersFilterBy(cluster_states=[State.RUNNING]), page_size=1)
    assert [item.cluster_id for item in running] == [second]
    assert len(list(clusters.list(page_size=1))) == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"spark_version": "9.9.x-scala2.12"}, "Invalid spark version"),
        ({"node_type_id": "z9.huge"}, "not supported"),
        ({"autoscale": {"min_workers": 1, "max_workers": 2}}, "takes one of num_workers"),
        ({"num_workers": 0}, "singleNode"),
        ({"num_workers": "4"}, "expected a int"),
        ({"init_scripts": []}, "not emulated"),
        ({"workers": 4}, "Unknown field 'workers'"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(
    workspace: Workspace, wrong: dict[str, object], message: str
) -> None:
    spec = {"spark_version": "17.3.x-scala2.13", "node_type_id": "i3.xlarge", "num_workers": 4} | wrong
    with pytest.raises(BadRequest, match=message):
        workspace.client().api_client.do("POST", "/api/2.1/clusters/create", body=spec)
    assert [item for item in workspace.violations if message in item]
    workspace.violations.clear()
    assert workspace.clusters.alive() == []


def test_a_cluster_says_what_its_policy_fixes_and_not_what_it_forbids(workspace: Workspace) -> None:
    workspace.clusters.policies.all["p"] = {
        "custom_tags.team": {"type": "fixed", "value": "growth"},
        "autoscale": {"type": "forbidden"},
    }
    api = workspace.client().api_client
    spec = {"spark_version": "17.3.x-scala2.13", "node_type_id": "i3.xlarge", "policy_id": "p"}
    tags = {"custom_tags": {"team": "growth"}}
    api.do("POST", "/api/2.1/clusters/create", body={**spec, **tags, "num_workers": 1})
    wrong = [
        ({"num_workers": 1}, "Validation failed for custom_tags.team"),
        ({**tags, "autoscale": {"min_workers": 1, "max_workers": 2}}, "Validation failed for autoscale"),
        ({**tags, "num_workers": 1, "policy_id": "q"}, "Cluster policy"),
    ]
    for changes, message in wrong:
        with pytest.raises(DatabricksError, match=message):
            api.do("POST", "/api/2.1/clusters/create", body={**spec, **changes})
    workspace.violations.clear()


def test_a_pool_gives_machines_until_it_is_deleted(workspace: Workspace) -> None:
    client = workspace.client()
    pool = client.instance_pools.create("churn", "i3.xlarge").instance_pool_id or ""
    assert [item.instance_pool_name for item in client.instance_pools.list()] == ["churn"]
    client.clusters.create(spark_version="17.3.x-scala2.13", instance_pool_id=pool, num_workers=1)
    client.instance_pools.delete(pool)
    with pytest.raises(NotFound, match=pool):
        client.clusters.create(spark_version="17.3.x-scala2.13", instance_pool_id=pool, num_workers=1)


def test_the_lists_of_runtimes_and_machines_name_the_defaults(workspace: Workspace) -> None:
    clusters = workspace.client().clusters
    assert "17.3.x-scala2.13" in {item.key for item in clusters.spark_versions().versions or []}
    assert "i3.xlarge" in {item.node_type_id for item in clusters.list_node_types().node_types or []}


def test_permissions_are_added_and_replaced(workspace: Workspace) -> None:
    permissions = workspace.client().permissions
    analysts = AccessControlRequest(group_name="analysts", permission_level=PermissionLevel.CAN_VIEW)
    engineers = AccessControlRequest(group_name="engineers", permission_level=PermissionLevel.CAN_MANAGE)
    permissions.update("jobs", "17", access_control_list=[analysts])
    permissions.update("jobs", "17", access_control_list=[engineers])
    entries = permissions.get("jobs", "17").access_control_list or []
    assert {item.group_name or item.user_name for item in entries} == {
        "engineer@example.com",
        "analysts",
        "engineers",
    }
    permissions.set("jobs", "17", access_control_list=[engineers])
    entries = permissions.get("jobs", "17").access_control_list or []
    assert {item.group_name or item.user_name for item in entries} == {"engineer@example.com", "engineers"}
    with pytest.raises(BadRequest, match="CAN_VIEW is not one of"):
        permissions.update("clusters", "c", access_control_list=[analysts])


def test_secrets_are_kept_by_scope(workspace: Workspace) -> None:
    secrets = workspace.client().secrets
    secrets.create_scope("prod")
    with pytest.raises(ResourceAlreadyExists):
        secrets.create_scope("prod")
    secrets.put_secret("prod", "token", string_value="abc")
    assert base64.b64decode(secrets.get_secret("prod", "token").value or "") == b"abc"
    assert [item.key for item in secrets.list_secrets("prod")] == ["token"]
    secrets.put_acl("prod", "engineers", AclPermission.READ)
    assert secrets.get_acl("prod", "engineers").permission == AclPermission.READ
    secrets.delete_secret("prod", "token")
    with pytest.raises(NotFound):
        secrets.get_secret("prod", "token")
    secrets.delete_scope("prod")
    assert list(secrets.list_scopes()) == []
