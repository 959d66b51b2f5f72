"""The names of a start, and how a restarted worker finds it."""

import dagster as dg

from churn_assets.databricks.steps.launch import Launch, last_launch

RUN = "0b8e7a34-7c05-4a3e-9d47-6f6a2a5f9d11"


def test_asking_twice_for_one_start_is_one_run_and_each_start_is_another() -> None:
    starts = [
        Launch(RUN, "main_catalog__gold__user_features", 0),
        Launch(RUN, "main_catalog__gold__user_features", 1),
        Launch(RUN, "main_catalog__gold__user_features", 0, restart=1),
        Launch(RUN, "main_catalog__gold__churn_labels", 0),
    ]
    again = Launch(RUN, "main_catalog__gold__user_features", 0, databricks_run_id=7)
    assert again.idempotency_token == starts[0].idempotency_token
    assert len({start.idempotency_token for start in starts}) == 4
    assert len({start.folder("/staging") for start in starts}) == 4
    # The service takes no more.
    assert max(len(start.idempotency_token) for start in starts) <= 64


def test_a_dynamic_steps_brackets_stay_out_of_paths() -> None:
    assert Launch(RUN, "each[a/b]", 0).folder("/staging") == f"/staging/runs/{RUN}/each_a_b_/0.0"


def test_a_start_is_found_by_the_same_attempt_only(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(_job())
    start = Launch(run.run_id, "step", 1, restart=2, databricks_run_id=123)
    assert last_launch(instance, run.run_id, "step", 1) is None
    start.note(instance)
    assert last_launch(instance, run.run_id, "step", 1) == start
    assert last_launch(instance, run.run_id, "step", 0) is None
    assert last_launch(instance, run.run_id, "another", 1) is None


def _job() -> dg.JobDefinition:
    @dg.op
    def one() -> None: ...

    @dg.job
    def nothing() -> None:
        one()

    return nothing
