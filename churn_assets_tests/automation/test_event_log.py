"""The event log with open connections is Dagster's own: same files, same answers, no file left open."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import resources
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage  # what dagster.yaml has by default

from churn_assets.automation.event_log import OPEN_DATABASES, PooledSqliteEventLogStorage

OpenInstance = Callable[..., AbstractContextManager[dg.DagsterInstance]]

DAYS = [f"2026-01-{day:02}" for day in range(1, 11)]
KEY = dg.AssetKey(["gold", "numbers"])


@dg.asset(
    key=KEY,
    partitions_def=dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="gold__numbers",
)
def numbers(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("counting")
    return dg.MaterializeResult(metadata={"rows": 7}, data_version=dg.DataVersion("3"))


@dg.asset_check(asset=KEY)
def is_counted() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def open_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenInstance:
    """An instance in a folder of its own, configured as the platform does it or as Dagster does."""

    @contextmanager
    def opened(name: str = "home", *, pooled: bool = True) -> Iterator[dg.DagsterInstance]:
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        ours = (resources.files("churn_assets") / "dagster.yaml").read_text()
        (home / "dagster.yaml").write_text(ours if pooled else "telemetry:\n  enabled: false\n")
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            kind = PooledSqliteEventLogStorage if pooled else SqliteEventLogStorage
            assert type(instance.event_log_storage) is kind
            yield instance

    return opened


def materialize(instance: dg.DagsterInstance, start: str = DAYS[0], end: str = DAYS[-1]) -> str:
    """One run over a range of dates, as ``churn run`` starts it."""
    tags = {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}
    job = dg.Definitions(assets=[numbers], asset_checks=[is_counted]).resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(instance=instance, tags=tags, run_config=quiet).run_id


def recorded(instance: dg.DagsterInstance, run_id: str) -> list[tuple]:
    """What a run's log says, but for times and ids."""
    return [
        (
            entry.dagster_event_type,
            entry.level,
            entry.step_key,
            entry.dagster_event.partition if entry.dagster_event else entry.user_message,
        )
        for entry in instance.all_logs(run_id)
        # These two name processes and places.
        if entry.dagster_event_type
        not in (dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.LOGS_CAPTURED)
    ]


def answers(instance: dg.DagsterInstance) -> dict:
    """What the platform and Dagster's UI ask of the log."""
    latest = instance.get_latest_materialization_event(KEY)
    assert latest is not None
    assert latest.asset_materialization is not None
    check = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(KEY, "is_counted"), limit=1
    )
    return {
        "partitions": sorted(instance.get_materialized_partitions(KEY)),
        "with an id": sorted(
            instance.get_latest_storage_id_by_partition(KEY, dg.DagsterEventType.ASSET_MATERIALIZATION)
        ),
        "rows": latest.asset_materialization.metadata["rows"].value,
        "data version": (latest.asset_materialization.tags or {})["dagster/data_version"],
        "assets": instance.all_asset_keys(),
        "check": [record.status.value for record in check],
    }


def open_databases(home: Path) -> set[str]:
    """The databases below the folder of which this process holds a file, by name."""
    opened = {link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    return {path.name for path in opened if path.is_relative_to(home) and ".db" in path.name}


on_linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed in /proc")


def test_a_range_of_dates_is_recorded_as_dagsters_own_storage_records_it(
    open_instance: OpenInstance,
) -> None:
    outcomes = []
    for pooled in (True, False):
        with open_instance(f"pooled-{pooled}", pooled=pooled) as instance:
            outcomes.append((recorded(instance, materialize(instance)), answers(instance)))

    ours, dagsters = outcomes
    assert ours == dagsters
    assert ours[1]["partitions"] == DAYS
    assert ours[1]["check"] == ["SUCCEEDED"]
    assert "counting" in [message for *_, message in ours[0]]


def test_one_can_switch_to_dagsters_own_storage_and_back(open_instance: OpenInstance) -> None:
    with open_instance() as instance:
        run_id = materialize(instance, DAYS[0], DAYS[4])
        before = recorded(instance, run_id)
    with open_instance(pooled=False) as instance:
        assert recorded(instance, run_id) == before
        materialize(instance, DAYS[5], DAYS[9])
    with open_instance() as instance:
        assert recorded(instance, run_id) == before
        assert answers(instance)["partitions"] == DAYS


def test_another_process_sees_what_this_one_has_just_written(open_instance: OpenInstance) -> None:
    ask = (
        "import dagster as dg\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    print(sorted(instance.get_materialized_partitions(dg.AssetKey(['gold', 'numbers']))))\n"
        "    print([len(instance.all_logs(run.run_id)) for run in instance.get_runs()])\n"
    )
    with open_instance() as instance:
        run_id = materialize(instance)
        # While this process holds its connections open, as dagster dev's webserver does.
        process = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)

        assert process.stdout.splitlines() == [str(DAYS), str([len(instance.all_logs(run_id))])]


@on_linux
def test_few_databases_stay_open_however_many_runs_are_read(
    open_instance: OpenInstance, tmp_path: Path
) -> None:
    with open_instance() as instance:
        run_ids = [materialize(instance, day, day) for day in DAYS[: OPEN_DATABASES + 2]]
        for run_id in run_ids:
            assert recorded(instance, run_id)

        opened = {
            name for name in open_databases(tmp_path / "home" / "history" / "runs") if name.endswith(".db")
        }
        # The last ones read: the index has not been asked since.
        assert opened == {f"{run_id}.db" for run_id in run_ids[-OPEN_DATABASES:]}


@on_linux
def test_no_file_stays_open_after_the_instance(open_instance: OpenInstance, tmp_path: Path) -> None:
    with open_instance() as instance:
        materialize(instance)
        assert "index.db" in open_databases(tmp_path)

    assert open_databases(tmp_path) == set()


def test_a_wiped_log_forgets_every_run_and_takes_new_ones(
    open_instance: OpenInstance, tmp_path: Path
) -> None:
    with open_instance() as instance:
        run_id = materialize(instance)
        instance.event_log_storage.wipe()
        assert instance.all_logs(run_id) == []

        instance.report_engine_event("after", dagster_run=instance.get_run_by_id(run_id))

        storage = SqliteEventLogStorage(str(tmp_path / "home" / "history" / "runs"))
        assert [entry.message for entry in storage.get_logs_for_run(run_id)] == [
            entry.message for entry in instance.all_logs(run_id)
        ]
        assert len(instance.all_logs(run_id)) == 1
