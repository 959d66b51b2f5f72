"""Deployments over HTTP to an emulated workspace, and to the bundled server."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.service.serving import Route, ServedEntityInput, TrafficConfig

from churn_assets.errors import EndpointError
from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.serving.rollout.deploy import Deployment, annotate, deploy
from churn_assets.serving.rollout.target import InferenceTable, Target
from churn_assets.serving.rollout.temporary_server import temporary_server
from churn_assets.settings import Settings
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.faults import LostResponse, Refused
from churn_assets_tests.workspace.serving_endpoints import Build, Endpoint, ServingEndpoints

MODEL = "main_catalog.gold.churn-prediction-model"
CONFIG_CALLS = f"/api/2.0/serving-endpoints/{ENDPOINT_NAME}/config"
NOT_HAPPENING = Build(
    "UPDATE_FAILED", "Container image creation failed.", ["pip install", "ERROR: no skops==9"]
)


@pytest.fixture
def workspace(tmp_path: Path, registered: Settings) -> Iterator[Workspace]:
    with Workspace(tmp_path / "workspace") as emulator:
        serving = emulator.serving
        serving.registry_uri = registered.mlflow_tracking_uri
        yield emulator
        assert emulator.violations == []


@pytest.fixture
def serving(workspace: Workspace) -> ServingEndpoints:
    return workspace.serving


@pytest.fixture
def progress() -> list[str]:
    return []


def client_of(workspace: Workspace, **config: Any) -> WorkspaceClient:
    return WorkspaceClient(
        config=Config(
            **{
                "host": workspace.url,
                "token": workspace.token,
                "auth_type": "pat",
                "retry_timeout_seconds": 10,
            }
            | config
        )
    )


def target(version: str, **changes: Any) -> Target:
    return Target(ENDPOINT_NAME, MODEL, version, **changes)


def put(workspace: Workspace, version: str, progress: list[str] | None = None, **changes: Any) -> Deployment:
    notes = [] if progress is None else progress
    return deploy(client_of(workspace), target(version, **changes), notes.append, timeout=10)


def endpoint(serving: ServingEndpoints) -> Endpoint:
    return serving.endpoints[ENDPOINT_NAME]


def versions(serving: ServingEndpoints) -> list[str]:
    config = endpoint(serving).config or {"served_entities": []}
    return [entity["entity_version"] for entity in config["served_entities"]]


def test_an_endpoint_that_is_not_there_is_created_and_waited_for(
    workspace: Workspace, serving: ServingEndpoints, progress: list[str]
) -> None:
    deployment = put(workspace, "1", progress, tags={"project": "churn"})

    assert (deployment.version, deployment.changed) == ("1", True)
    assert versions(serving) == ["1"]
    assert endpoint(serving).tags == {"project": "churn"}
    assert workspace.calls("PATCH", "/tags") == []
    entity = (endpoint(serving).config or {})["served_entities"][0]
    assert (entity["workload_size"], entity["scale_to_zero_enabled"]) == ("Small", True)
    assert not endpoint(serving).route_optimized
    assert progress == [
        f"creating {ENDPOINT_NAME} with version 1",
        f"{ENDPOINT_NAME}: NOT_READY, IN_PROGRESS, version 1 DEPLOYMENT_CREATING: Building",
        f"{ENDPOINT_NAME}: READY, NOT_UPDATING, version 1 DEPLOYMENT_READY",
    ]


def test_another_version_is_an_update(workspace: Workspace, serving: ServingEndpoints) -> None:
    put(workspace, "1")

    deployment = put(workspace, "2")

    assert deployment.changed
    assert versions(serving) == ["2"]
    assert len(workspace.calls("PUT", "/config")) == 1


def test_a_version_that_is_served_already_is_left_alone(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    put(workspace, "1")

    deployment = put(workspace, "1")

    assert not deployment.changed
    assert endpoint(serving).updates == 1


def test_another_size_of_the_same_version_is_an_update(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    put(workspace, "1")

    assert put(workspace, "1", workload_size="Medium").changed
    assert endpoint(serving).updates == 2


def test_a_failed_build_keeps_the_old_version_and_shows_the_end_of_its_log(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    put(workspace, "1")
    serving.builds = [NOT_HAPPENING]

    with pytest.raises(EndpointError) as error:
        put(workspace, "2")

    assert "\n" not in str(error.value)
    assert "could not serve version 2 (READY, UPDATE_FAILED, version 2 DEPLOYMENT_FAILED: " in str(
        error.value
    )
    assert "Container image creation failed); version 1 goes on serving." in str(error.value)
    assert "Building container for model. | pip install | ERROR: no skops==9" in str(error.value)
    assert versions(serving) == ["1"]


def test_a_failed_first_build_serves_nothing_and_can_be_deployed_again(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    serving.builds = [NOT_HAPPENING]

    with pytest.raises(EndpointError, match=r"\(NOT_READY, UPDATE_FAILED.*nothing is served"):
        put(workspace, "1")

    assert put(workspace, "1").changed
    assert versions(serving) == ["1"]


def test_a_cancelled_update_is_a_failure(workspace: Workspace, serving: ServingEndpoints) -> None:
    put(workspace, "1")
    serving.builds = [Build("UPDATE_CANCELED", "Cancelled by ops@example.com.")]

    with pytest.raises(
        EndpointError, match=r"UPDATE_CANCELED, version 2 DEPLOYMENT_ABORTED: Cancelled by ops"
    ):
        put(workspace, "2")


def test_a_build_without_end_is_given_up_and_may_still_come(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    put(workspace, "1")
    serving.build_seconds = 60

    with pytest.raises(
        EndpointError, match=r"in the time given; last seen: READY, IN_PROGRESS.*may still come"
    ):
        deploy(client_of(workspace), target("2"), lambda _: None, timeout=0.5)


def test_an_update_of_somebody_else_is_waited_for(
    workspace: Workspace, serving: ServingEndpoints, progress: list[str]
) -> None:
    put(workspace, "1")
    serving.build_seconds = 0.4
    somebody_updates(workspace, "2")

    deployment = put(workspace, "1", progress)

    assert progress[0] == f"{ENDPOINT_NAME} is being updated; waiting for that to end"
    assert deployment.changed
    assert versions(serving) == ["1"]
    assert endpoint(serving).updates == 3


def test_the_same_update_of_somebody_else_is_enough(workspace: Workspace, serving: ServingEndpoints) -> None:
    put(workspace, "1")
    serving.build_seconds = 0.4
    somebody_updates(workspace, "2")

    deployment = put(workspace, "2")

    assert not deployment.changed
    assert endpoint(serving).updates == 2


def test_an_update_that_collides_is_tried_again(workspace: Workspace, serving: ServingEndpoints) -> None:
    put(workspace, "1")
    workspace.faults.add("PUT", "/config$", Refused(409))

    assert put(workspace, "2").changed
    assert versions(serving) == ["2"]


def test_two_who_create_at_once_end_with_one_endpoint(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    results: list[Deployment] = []
    both = [threading.Thread(target=lambda: results.append(put(workspace, "1"))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()

    assert [result.version for result in results] == ["1", "1"]
    assert endpoint(serving).updates == 1


def test_an_endpoint_created_in_between_is_updated(workspace: Workspace, serving: ServingEndpoints) -> None:
    put(workspace, "1")
    # The first look finds nothing, as if somebody created it just after.
    workspace.faults.add("GET", f"/{ENDPOINT_NAME}$", Refused(404))

    assert put(workspace, "2").changed
    assert versions(serving) == ["2"]


def test_a_deployment_that_another_one_overtakes_says_so(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    put(workspace, "1")
    serving.build_seconds = 0.2

    def overtake(line: str) -> None:
        if "version 2 DEPLOYMENT_CREATING" in line:
            time.sleep(0.3)
            serving.build_seconds = 0.0
            somebody_updates(workspace, "1")

    with pytest.raises(EndpointError, match="another deployment came after it: version 1 goes on serving"):
        deploy(client_of(workspace), target("2"), overtake, timeout=10)


def test_an_answer_that_is_lost_does_not_harm(workspace: Workspace, serving: ServingEndpoints) -> None:
    workspace.faults.add("POST", "/api/2.0/serving-endpoints$", LostResponse())
    put(workspace, "1")
    workspace.faults.add("PUT", "/config$", LostResponse())

    put(workspace, "2")

    assert versions(serving) == ["2"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_workspace_is_asked_again(
    workspace: Workspace, serving: ServingEndpoints, status: int
) -> None:
    workspace.faults.add("*", "serving-endpoints", Refused(status, retry_after=0), times=2)

    put(workspace, "1")

    assert versions(serving) == ["1"]


def test_an_internal_error_while_waiting_is_asked_again(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    put(workspace, "1")
    serving.build_seconds = 0.3

    def fail_the_next_look(line: str) -> None:
        if "DEPLOYMENT_CREATING" in line:
            workspace.faults.add("GET", f"/{ENDPOINT_NAME}$", Refused(500))

    deploy(client_of(workspace), target("2"), fail_the_next_look, timeout=10)

    assert workspace.faults.happened["Refused"] == 1
    assert versions(serving) == ["2"]


def test_a_spent_quota_is_one_line_that_says_what_to_do(workspace: Workspace) -> None:
    full = Refused(429, retry_after=0, message="Endpoint limit of 50 reached.")
    workspace.faults.add("POST", "serving-endpoints", full, times=99)

    with pytest.raises(
        EndpointError, match=r"RequestLimitExceeded: Endpoint limit of 50 reached\. A limit is reached"
    ):
        deploy(client_of(workspace, retry_timeout_seconds=1), target("1"), lambda _: None, timeout=20)


def test_a_missing_permission_is_one_line_that_names_the_grants(workspace: Workspace) -> None:
    workspace.faults.add("POST", "serving-endpoints", Refused(403, message="No CAN MANAGE."))

    with pytest.raises(
        EndpointError, match=r"PermissionDenied: No CAN MANAGE\. Who deploys needs CAN MANAGE"
    ):
        put(workspace, "1")


def test_an_expired_token_is_one_line_that_names_the_setting(workspace: Workspace) -> None:
    workspace.auth.expire()

    with pytest.raises(EndpointError, match=r"Access token expired\. Check DATABRICKS_TOKEN"):
        put(workspace, "1")


def test_a_version_that_is_not_registered_is_named(workspace: Workspace) -> None:
    with pytest.raises(EndpointError, match=r"gold\.churn-prediction-model/9 does not exist"):
        put(workspace, "9")


def test_a_workspace_that_is_not_there_is_named(workspace: Workspace) -> None:
    nowhere = client_of(workspace, host="http://127.0.0.1:9", retry_timeout_seconds=1)

    with pytest.raises(EndpointError, match=r"ConnectionError: .*Check the address"):
        deploy(nowhere, target("1"), lambda _: None, timeout=20)


def test_requests_are_logged_where_the_catalog_allows(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    table = InferenceTable("main_catalog", "gold", "churn_prediction_endpoint")

    deployment = put(workspace, "1", inference_table=table)

    assert deployment.notes == ()
    logs_to = (endpoint(serving).ai_gateway or {})["inference_table_config"]
    assert logs_to["table_name_prefix"] == "churn_prediction_endpoint"
    assert put(workspace, "1", inference_table=table).notes == ()
    assert len(workspace.calls("PUT", "/ai-gateway")) == 1


def test_an_inference_table_leaves_what_somebody_set_in_the_gateway_besides(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    assert annotate(client_of(workspace), target("1")) is None
    put(workspace, "1")
    limits = [{"calls": 10, "renewal_period": "minute"}]
    endpoint(serving).ai_gateway = {"rate_limits": limits}

    table = InferenceTable("main_catalog", "gold", "requests")
    assert annotate(client_of(workspace), target("1", inference_table=table)) == ()

    gateway = endpoint(serving).ai_gateway or {}
    assert (gateway["rate_limits"], gateway["inference_table_config"]["enabled"]) == (limits, True)


def test_a_catalog_that_takes_no_inference_table_is_a_note(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    serving.catalogs = set()

    deployment = put(workspace, "1", inference_table=InferenceTable("main_catalog", "gold", "requests"))

    assert deployment.notes == (
        "Requests are not logged to main_catalog.gold: PermissionDenied: No CREATE TABLE on main_catalog",
    )
    assert versions(serving) == ["1"]


def test_tags_that_are_missing_are_added_and_others_stay(
    workspace: Workspace, serving: ServingEndpoints
) -> None:
    put(workspace, "1", tags={"team": "growth"})

    put(workspace, "1", tags={"project": "churn"})

    assert endpoint(serving).tags == {"team": "growth", "project": "churn"}


def test_a_shadow_goes_on_beside_the_new_version(workspace: Workspace, serving: ServingEndpoints) -> None:
    put(workspace, "1")
    somebody_updates(workspace, "1", shadow="2")
    # Another size, and version 2 still gets no traffic but every request.
    put(workspace, "1", workload_size="Large")
    assert versions(serving) == ["1", "2"]

    put(workspace, "2")

    assert versions(serving) == ["2"]


def somebody_updates(workspace: Workspace, version: str, shadow: str | None = None) -> None:
    entities = [entity for entity in (version, shadow) if entity]
    client_of(workspace).serving_endpoints.update_config(
        ENDPOINT_NAME,
        served_entities=[
            ServedEntityInput(
                name=f"churn-prediction-model-{entity}",
                entity_name=MODEL,
                entity_version=entity,
                workload_size="Small",
                scale_to_zero_enabled=True,
            )
            for entity in entities
        ],
        traffic_config=TrafficConfig(
            routes=[
                Route(
                    served_model_name=f"churn-prediction-model-{entity}",
                    traffic_percentage=100 if entity == version else 0,
                )
                for entity in entities
            ]
        ),
    )


def test_the_bundled_server_is_deployed_to_in_the_same_way(lake: Settings, progress: list[str]) -> None:
    ours = Target(ENDPOINT_NAME, "churn-prediction-model", "1")
    with temporary_server(lake) as server:
        client = WorkspaceClient(config=Config(host=server.url, token=server.admin_token, auth_type="pat"))

        assert deploy(client, ours, progress.append, timeout=20).changed
        assert not deploy(client, ours, progress.append, timeout=20).changed
        with pytest.raises(
            EndpointError, match=r"could not serve version 9 .*version 1 goes on.*version=9\) not found"
        ):
            deploy(client, Target(ENDPOINT_NAME, "churn-prediction-model", "9"), progress.append, timeout=20)
        assert deploy(
            client, Target(ENDPOINT_NAME, "churn-prediction-model", "2"), progress.append, timeout=20
        ).changed
    assert progress[:2] == [
        f"updating {ENDPOINT_NAME} to version 1",
        f"{ENDPOINT_NAME}: NOT_READY, IN_PROGRESS, version 1 DEPLOYMENT_CREATING",
    ]
