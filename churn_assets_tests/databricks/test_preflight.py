"""What a deployment asks of its workspace before it runs there."""

from collections.abc import Callable
from typing import Any

import pytest
from databricks.sdk.service.compute import DataSecurityMode
from databricks.sdk.service.ml import OnlineStore

from churn_assets.databricks.preflight import questions
from churn_assets.errors import ChurnError
from churn_assets_tests.workspace.emulator import Workspace

Make = Callable[..., Any]


def answers(settings: Any) -> dict[str, str]:
    replies = {}
    for name, question in questions(settings).items():
        try:
            replies[name] = question()
        except ChurnError as error:
            replies[name] = f"! {error}"
    return replies


def test_a_workspace_that_has_everything_says_what_it_has(workspace: Workspace, make_settings: Make) -> None:
    client = workspace.client()
    client.secrets.create_scope("ours")
    client.secrets.put_secret("ours", "endpoint-token", string_value="x")
    runtime = "17.3.x-scala2.13"
    client.feature_store.create_online_store(OnlineStore("churn-online", "CU_2"))
    settings = make_settings(
        databricks_secret_scope="ours",
        databricks_spark_version=runtime,
        databricks_online_store="churn-online",
    )
    replies = answers(settings)
    assert replies == {
        "workspace": f"{workspace.url} knows DATABRICKS_TOKEN as engineer@example.com",
        "staging": "/Volumes/main_catalog/gold/churn/staging can be written and read",
        "compute": f"one cluster a Dagster run: 1 workers of i3.xlarge, {runtime}",
        "job": "serverless, environment 4, standard; without machines, so not by "
        "CHURN_DATABRICKS_SPARK_VERSION, CHURN_DATABRICKS_WORKERS",
        "secrets": "ours has endpoint-token",
        "look-ups": "churn-online is available, CU_2; "
        "the copy there is main_catalog.gold.online_user_features",
        "cost": "i3.xlarge is counted as 1.0 DBU an hour, as remembered in November 2026; "
        "the bill: churn costs",
    }
    assert not list(workspace.folder.rglob("probe"))


def test_an_online_store_that_is_not_there_is_refused_with_what_makes_it(make_settings: Make) -> None:
    says = answers(make_settings(databricks_online_store="lookups"))["look-ups"]
    assert says.startswith("! CHURN_DATABRICKS_ONLINE_STORE=lookups is no online store of this workspace")
    assert says.endswith("databricks feature-store create-online-store lookups CU_1")


def test_nothing_set_is_said_for_each_and_nothing_is_asked(workspace: Workspace, make_settings: Make) -> None:
    replies = answers(make_settings(databricks_host=None, databricks_token=None))
    assert "! CHURN_DEPLOYMENT=databricks needs DATABRICKS_HOST and DATABRICKS_TOKEN" in replies["workspace"]
    assert workspace.requests == []


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"databricks_node_type": "i3.tiny"}, "CHURN_DATABRICKS_NODE_TYPE=i3.tiny is not offered"),
        (
            {"databricks_spark_version": "99.1.x-scala2.13"},
            "CHURN_DATABRICKS_SPARK_VERSION=99.1.x-scala2.13 is not",
        ),
        ({"databricks_compute": "existing", "databricks_cluster_id": "gone"}, "Cluster gone does not exist"),
        ({"databricks_spark_version": "16.4.x-scala2.13"}, "Use 17.3 LTS or newer"),
        ({"databricks_compute": "pool", "databricks_pool_id": "dry"}, "CHURN_DATABRICKS_COMPUTE=pool names"),
    ],
)
def test_compute_that_is_not_there_is_named(
    make_settings: Make, overrides: dict[str, str], says: str
) -> None:
    assert says in answers(make_settings(**overrides))["compute"]


def test_a_cluster_that_is_there_and_too_old_is_named(workspace: Workspace, make_settings: Make) -> None:
    clusters = workspace.client().clusters
    old = clusters.create("16.4.x-scala2.13", node_type_id="i3.xlarge", num_workers=1).response.cluster_id
    reply = answers(make_settings(databricks_compute="existing", databricks_cluster_id=old))["compute"]
    assert (
        f"CHURN_DATABRICKS_CLUSTER_ID={old} is 16.4.x-scala2.13, older than Databricks Runtime 17.3" in reply
    )
    clusters.permanent_delete(old or "")


def test_the_job_of_a_principal_under_a_policy_says_what_it_runs_on(
    workspace: Workspace, make_settings: Make
) -> None:
    workspace.clusters.policies.all["p"] = {}
    settings = make_settings(
        databricks_job_compute="cluster",
        databricks_access_mode="standard",
        databricks_policy_id="p",
        databricks_run_as=workspace.auth.client_id,
    )
    assert answers(settings)["job"] == f"one cluster, standard access, as {workspace.auth.client_id}"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            {"databricks_job_compute": "cluster", "databricks_budget_policy_id": "b"},
            "CHURN_DATABRICKS_BUDGET_POLICY_ID is for serverless compute",
        ),
        (
            {"databricks_job_compute": "cluster", "databricks_performance_target": "performance_optimized"},
            "CHURN_DATABRICKS_PERFORMANCE_TARGET is for serverless compute",
        ),
        ({"databricks_run_as": "engineers"}, "a job cannot run as a group"),
        ({"databricks_policy_id": "gone"}, "CHURN_DATABRICKS_POLICY_ID=gone is no policy"),
    ],
)
def test_what_the_jobs_compute_cannot_do_is_said_before_a_run(
    make_settings: Make, overrides: dict[str, str], says: str
) -> None:
    assert says in answers(make_settings(**overrides))["job"]


def test_a_catalog_in_default_storage_is_for_serverless_compute_only(
    workspace: Workspace, make_settings: Make
) -> None:
    root = "s3://dbstorage-prod-ab1cd/uc/1"
    workspace.client().catalogs.create("main_catalog", storage_root=root)
    said = {
        compute: answers(make_settings(databricks_job_compute=compute))["job"]
        for compute in ("serverless", "cluster")
    }
    assert said["serverless"].startswith("serverless")
    assert "The catalog main_catalog is in Default Storage, which no cluster can read" in said["cluster"]


def test_a_node_type_without_a_rate_gives_no_estimates(make_settings: Make) -> None:
    assert "no estimates" in answers(make_settings(databricks_node_type="r5d.xlarge"))["cost"]


def test_serverless_compute_needs_nothing_to_be_there(make_settings: Make) -> None:
    replies = answers(make_settings(databricks_compute="serverless", databricks_node_type="i3.tiny"))
    assert replies["compute"] == "serverless, environment version 4: nothing starts, nothing stays"
    assert replies["cost"] == "no estimates of serverless compute: system.billing.usage has what it took"


def test_a_cluster_without_unity_catalog_is_named(workspace: Workspace, make_settings: Make) -> None:
    clusters = workspace.client().clusters
    made = clusters.create(
        "17.3.x-scala2.13",
        node_type_id="i3.xlarge",
        num_workers=1,
        data_security_mode=DataSecurityMode.NONE,
    )
    cluster_id = made.response.cluster_id or ""
    reply = answers(make_settings(databricks_compute="existing", databricks_cluster_id=cluster_id))["compute"]
    assert "has the access mode NONE, which has no Unity Catalog" in reply
    clusters.permanent_delete(cluster_id)
