"""Which runs of Dagster's history go: those from which nothing is read any more."""

import datetime as dt

import dagster as dg

from churn_assets.automation.maintenance.dagster_history import prune_runs

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


@dg.asset(partitions_def=DAYS)
def dated() -> None: ...


@dg.asset
def undated() -> None: ...


@dg.asset
def broken() -> None:
    raise ValueError("no")


def run(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, day: str | None = None) -> str:
    return dg.materialize([asset], instance=instance, partition_key=day, raise_on_error=False).run_id


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {record.run_id for record in instance.get_runs()}


def test_runs_go_whose_every_partition_was_materialised_again_and_runs_that_made_nothing(
    instance: dg.DagsterInstance,
) -> None:
    first, again = run(instance, undated), run(instance, undated)
    monday, tuesday = run(instance, dated, "2026-01-05"), run(instance, dated, "2026-01-06")
    monday_again, failed = run(instance, dated, "2026-01-05"), run(instance, broken)

    assert prune_runs(instance, LATER, dry_run=True) == 3
    assert {first, monday, failed} <= runs(instance)

    assert prune_runs(instance, LATER) == 3
    assert runs(instance) == {again, tuesday, monday_again}
    assert instance.get_materialized_partitions(dated.key) == {"2026-01-05", "2026-01-06"}


def test_recent_runs_and_runs_at_work_stay(instance: dg.DagsterInstance) -> None:
    run(instance, undated)
    run(instance, undated)
    at_work = instance.create_run_for_job(
        dg.Definitions([undated]).resolve_implicit_global_asset_job_def(), status=dg.DagsterRunStatus.STARTED
    ).run_id

    assert prune_runs(instance, LATER - dt.timedelta(days=2)) == 0
    assert prune_runs(instance, LATER) == 1
    assert at_work in runs(instance)
