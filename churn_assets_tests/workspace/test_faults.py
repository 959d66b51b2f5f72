"""Each failure that a test can ask for, as the unmodified SDK sees it; credentials; and strictness."""

import time

import pytest
from databricks.sdk.errors import BadRequest, InternalError, NotFound, PermissionDenied, Unauthenticated
from databricks.sdk.service.jobs import RunLifeCycleState, RunResultState

from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.faults import LostResponse, Refused, Slow, UnknownState
from churn_assets_tests.workspace.tasks import finished, submit


@pytest.mark.parametrize("status", [429, 503])
def test_the_sdk_asks_again_after_429_and_503(workspace: Workspace, status: int) -> None:
    workspace.faults.add("GET", "/scim/v2/Me$", Refused(status, retry_after=0))
    assert workspace.client().current_user.me().user_name == "engineer@example.com"
    assert [request.status for request in workspace.calls("GET", "/Me")] == [status, 200]


def test_the_sdk_waits_as_long_as_it_is_told(workspace: Workspace) -> None:
    workspace.faults.add("GET", "/Me$", Refused(429, retry_after=1))
    started = time.monotonic()
    workspace.client().current_user.me()
    assert time.monotonic() - started >= 1


def test_the_sdk_gives_up_after_500(workspace: Workspace) -> None:
    workspace.faults.add("GET", "/Me$", Refused(500))
    with pytest.raises(InternalError, match="asked for"):
        workspace.client().current_user.me()
    assert [request.status for request in workspace.requests] == [500]


def test_a_slow_answer_comes_late(workspace: Workspace) -> None:
    workspace.faults.add("*", "/Me$", Slow(0.3))
    started = time.monotonic()
    workspace.client().current_user.me()
    assert time.monotonic() - started >= 0.3


def test_a_lost_response_took_effect_and_the_sdk_asks_again(workspace: Workspace) -> None:
    workspace.faults.add("POST", "/runs/submit$", LostResponse())
    submit(workspace, "print(1)")
    assert [request.status for request in workspace.calls("POST", "/runs/submit")] == [0, 200]
    assert len(workspace.jobs.runs) == 2  # without an idempotency token the run is started twice


def test_a_driver_dies_when_it_is_told_to(workspace: Workspace) -> None:
    workspace.faults.kill_driver("main", seconds=0.05)
    run = finished(workspace, submit(workspace, "import time; time.sleep(600)"))
    assert run.state
    assert run.state.life_cycle_state == RunLifeCycleState.INTERNAL_ERROR
    assert "driver died" in (run.state.state_message or "")
    assert workspace.faults.happened == {"DriverDeath": 1}


def test_a_slow_cluster_keeps_its_run_pending(workspace: Workspace) -> None:
    workspace.faults.cluster_start_seconds = 0.3
    run_id = submit(workspace, "print(1)")
    state = workspace.client().jobs.get_run(run_id).state
    assert state
    assert state.life_cycle_state == RunLifeCycleState.PENDING
    run = finished(workspace, run_id)
    assert run.tasks
    assert run.tasks[0].setup_duration
    assert run.tasks[0].setup_duration >= 290
    assert run.state
    assert run.state.result_state == RunResultState.SUCCESS


def test_a_state_that_the_sdk_does_not_know_is_none_to_it(workspace: Workspace) -> None:
    run_id = submit(workspace, "print(1)")
    workspace.faults.add("GET", "/runs/get$", UnknownState())
    state = workspace.client().jobs.get_run(run_id).state
    assert state
    assert state.life_cycle_state is None


def test_an_expired_token_is_refused_until_there_is_a_new_one(workspace: Workspace) -> None:
    client = workspace.client()
    client.current_user.me()
    workspace.auth.expire()
    with pytest.raises(Unauthenticated, match="expired"):
        client.current_user.me()
    assert workspace.client(token=workspace.auth.issue("new@example.com")).current_user.me().user_name


def test_a_token_that_never_was_is_refused(workspace: Workspace) -> None:
    with pytest.raises(PermissionDenied, match="Invalid access token"):
        workspace.client(token="dapi0").current_user.me()


def test_a_service_principal_gets_tokens_for_its_secret(workspace: Workspace) -> None:
    credentials = {"client_id": workspace.auth.client_id, "client_secret": workspace.auth.client_secret}
    client = workspace.client(token=None, auth_type="oauth-m2m", **credentials)
    assert client.current_user.me().user_name == workspace.auth.client_id
    assert workspace.auth.issued == 1
    assert workspace.auth.client_secret not in str(workspace.requests)


def test_a_wrong_secret_gets_no_token(workspace: Workspace) -> None:
    credentials = {"client_id": workspace.auth.client_id, "client_secret": "wrong"}
    with pytest.raises(ValueError, match="invalid_client"):
        workspace.client(token=None, auth_type="oauth-m2m", **credentials).current_user.me()


def test_an_unknown_route_is_a_violation(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="No API found"):
        workspace.client().api_client.do("GET", "/api/2.0/clusters/get", query={"cluster_id": "x"})
    assert workspace.violations == [
        "GET /api/2.0/clusters/get: No API found for 'GET /api/2.0/clusters/get'."
    ]
    workspace.violations.clear()


@pytest.mark.parametrize(
    ("method", "path", "fields", "message"),
    [
        ("GET", "/api/2.2/jobs/runs/get", {}, "Missing required field: run_id"),
        ("GET", "/api/2.2/jobs/runs/get", {"run_id": "first"}, "expected a number"),
        ("GET", "/api/2.2/jobs/runs/get", {"run_id": 1, "verbose": True}, "Unknown query field 'verbose'"),
        ("GET", "/api/2.2/jobs/runs/list", {"run_type": "DREAM"}, "expected one of"),
        ("POST", "/api/2.2/jobs/runs/cancel", {"run_id": "1"}, "expected a int"),
        ("POST", "/api/2.2/jobs/runs/submit", {"tasks": {}}, "expected a list"),
        ("POST", "/api/2.2/jobs/runs/submit", {"tasks": [{"key": "a"}]}, "Unknown field 'key'"),
        ("POST", "/api/2.2/jobs/runs/submit", {"tasks": [{}]}, "Missing required field: task_key"),
        (
            "POST",
            "/api/2.2/jobs/runs/submit",
            {"tasks": [{"task_key": "a", "run_if": "NEVER"}]},
            "expected one of",
        ),
    ],
)
def test_a_request_of_the_wrong_shape_is_a_violation(
    workspace: Workspace, method: str, path: str, fields: dict[str, object], message: str
) -> None:
    query, body = (fields, None) if method == "GET" else (None, fields)
    with pytest.raises(BadRequest, match=message):
        workspace.client().api_client.do(method, path, query=query, body=body)
    assert [violation for violation in workspace.violations if message in violation]
    workspace.violations.clear()
