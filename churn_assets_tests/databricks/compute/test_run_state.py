"""What a Databricks run says of itself."""

import pytest

from churn_assets.databricks.compute.run_state import read


def test_a_state_that_nobody_knows_yet_is_one_to_wait_in() -> None:
    assert not read({"status": {"state": "HIBERNATING"}}).has_ended
    assert not read({"state": {"life_cycle_state": "HIBERNATING"}}).has_ended
    assert not read({}).has_ended


def test_a_run_that_is_terminating_has_not_ended() -> None:
    # The shipped launcher stops listening here, while the process may still write.
    assert not read(
        {"state": {"life_cycle_state": "TERMINATING"}, "status": {"state": "TERMINATING"}}
    ).has_ended


@pytest.mark.parametrize(
    "ended",
    [
        {"state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}},
        {"state": {"life_cycle_state": "INTERNAL_ERROR"}},
        {"state": {"life_cycle_state": "SKIPPED"}},
        {"status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}}},
        {"state": {"life_cycle_state": "A_NEW_END", "result_state": "A_NEW_RESULT"}},
    ],
)
def test_a_run_has_ended_whichever_way_the_service_says_it(ended: dict) -> None:
    assert read(ended).has_ended


@pytest.mark.parametrize(
    ("code", "is_clients_fault"),
    [
        ("DRIVER_ERROR", False),
        ("CLUSTER_ERROR", False),
        ("CLOUD_FAILURE", False),
        ("A_NEW_CODE", False),
        ("USER_CANCELED", True),
        ("LIBRARY_INSTALLATION_ERROR", True),
        ("INVALID_CLUSTER_REQUEST", True),
    ],
)
def test_a_failing_machine_is_told_from_what_asking_again_would_not_change(
    code: str, is_clients_fault: bool
) -> None:
    status = {"state": "TERMINATED", "termination_details": {"code": code}}
    assert read({"status": status}).is_clients_fault is is_clients_fault


def test_times_and_cluster_are_those_of_the_task() -> None:
    state = read(
        {
            "run_id": 1,
            "run_page_url": "https://w/run/1",
            "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"},
            "tasks": [
                {
                    "run_id": 2,
                    "setup_duration": 60_000,
                    "execution_duration": 9_000,
                    "cleanup_duration": 1_000,
                    "cluster_instance": {"cluster_id": "c-1"},
                }
            ],
        }
    )
    assert (state.task_run_id, state.cluster_id, state.url) == (2, "c-1", "https://w/run/1")
    assert (state.execution_seconds, state.cluster_seconds) == (9.0, 70.0)
