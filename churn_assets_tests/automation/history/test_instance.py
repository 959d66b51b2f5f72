"""Dagster's instance beside the tables, and what is left of a ``churn run`` that was killed."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.automation.history import instance as instance_module
from churn_assets.automation.history.dead_runs import fail_dead_cli_runs
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.history.run_tags import STARTED_BY_CLI
from churn_assets.errors import LakeError
from churn_assets.settings import Settings
from churn_assets_tests.conftest import MakeSettings

POOL = "main_catalog__gold__user_features"


@pytest.fixture
def history(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    settings = make_settings()
    # The instance exports it; so that the next test finds what was there before.
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home_folder))
    with dagster_instance(settings) as instance:
        yield instance


def run_of(history: dg.DagsterInstance, status: dg.DagsterRunStatus, tags: dict[str, str]) -> str:
    """A run that holds the pool's slot or waits for it, as its process left it."""
    run = history.add_run(dg.DagsterRun(job_name="job", status=status, tags=tags))
    history.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    history.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "step")
    return run.run_id


def statuses(history: dg.DagsterInstance) -> dict[str, dg.DagsterRunStatus]:
    return {run.run_id: run.status for run in history.get_runs()}


def slots(history: dg.DagsterInstance) -> tuple[int, int]:
    info = history.event_log_storage.get_concurrency_info(POOL)
    return info.active_slot_count, info.pending_step_count


def test_a_run_of_a_dead_process_is_failed_and_its_pool_is_free(history: dg.DagsterInstance) -> None:
    dead = run_of(history, dg.DagsterRunStatus.STARTED, STARTED_BY_CLI)
    assert slots(history) == (1, 0)

    assert fail_dead_cli_runs(history) == 1

    assert statuses(history) == {dead: dg.DagsterRunStatus.FAILURE}
    assert slots(history) == (0, 0)
    next_run = history.event_log_storage.claim_concurrency_slot(POOL, "next run", "step")
    assert next_run.is_claimed


def test_who_is_killed_while_it_buries_a_run_leaves_no_pool_held(
    history: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(history, dg.DagsterRunStatus.STARTED, STARTED_BY_CLI)
    steps = ((history, "report_run_failed"), (history.event_log_storage, "free_concurrency_slots_for_run"))
    for where, step in steps:
        with monkeypatch.context() as patch:
            patch.setattr(where, step, _killed)
            with pytest.raises(KeyboardInterrupt):
                fail_dead_cli_runs(history)

    fail_dead_cli_runs(history)

    assert slots(history) == (0, 0)


def test_a_pool_that_a_failed_run_still_holds_is_freed(history: dg.DagsterInstance) -> None:
    # As releases left it that were killed between marking a run as failed and freeing its pools.
    run_of(history, dg.DagsterRunStatus.FAILURE, STARTED_BY_CLI)

    assert fail_dead_cli_runs(history) == 0

    assert slots(history) == (0, 0)


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_the_history_says_why_the_run_failed(history: dg.DagsterInstance) -> None:
    dead = run_of(history, dg.DagsterRunStatus.STARTED, STARTED_BY_CLI)

    fail_dead_cli_runs(history)

    assert "The process that ran it is gone." in [entry.message for entry in history.all_logs(dead)]


def test_a_run_that_died_before_it_started_is_buried_too(history: dg.DagsterInstance) -> None:
    for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING):
        run_of(history, status, STARTED_BY_CLI)

    assert fail_dead_cli_runs(history) == 2

    assert set(statuses(history).values()) == {dg.DagsterRunStatus.FAILURE}
    assert slots(history) == (0, 0)


def test_runs_of_the_daemon_and_finished_runs_are_left_alone(history: dg.DagsterInstance) -> None:
    of_the_daemon = run_of(history, dg.DagsterRunStatus.STARTED, {})
    finished = history.add_run(
        dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.SUCCESS, tags=STARTED_BY_CLI)
    ).run_id

    assert fail_dead_cli_runs(history) == 0

    assert statuses(history) == {
        of_the_daemon: dg.DagsterRunStatus.STARTED,
        finished: dg.DagsterRunStatus.SUCCESS,
    }
    assert slots(history) == (1, 0)


def test_the_instance_lies_where_the_settings_say_and_says_so_to_children(
    history: dg.DagsterInstance, make_settings: MakeSettings
) -> None:
    home = make_settings().dagster_home_folder

    assert history.root_directory == str(home)
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert history.telemetry_enabled is False


def test_a_configuration_that_is_there_stays_as_it_is(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    settings.dagster_home_folder.mkdir(parents=True)
    own = settings.dagster_home_folder / "dagster.yaml"
    own.write_text("telemetry:\n  enabled: true\n")

    instance_module.prepare_dagster_home(settings)

    assert own.read_text() == "telemetry:\n  enabled: true\n"


def test_a_home_that_cannot_be_written_is_one_line(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "untouched")
    (tmp_path / "file").touch()

    with pytest.raises(
        LakeError, match=r"cannot be written at .*/file/home: Not a directory\. .* DAGSTER_HOME"
    ):
        instance_module.prepare_dagster_home(make_settings(dagster_home=tmp_path / "file" / "home"))

    assert os.environ["DAGSTER_HOME"] == "untouched"


@pytest.fixture
def home(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nobody has made anything."""
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    return make_settings().dagster_home_folder


def runs_in(settings: Settings) -> int:
    """How many runs the history holds; it takes one more."""
    with dagster_instance(settings) as instance:
        instance.add_run(dg.DagsterRun(job_name="job"))
        return instance.get_runs_count()


def test_databases_are_put_in_their_place_whole_and_the_configuration_last(
    make_settings: MakeSettings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: (put.append(Path(to).name), replace(path, to)))

    instance_module.prepare_dagster_home(make_settings())

    assert {"history", "schedules"} < set(put)
    assert put[-1] == "dagster.yaml"
    assert not (home / ".new").exists()
    assert (home / "history" / "runs" / "index.db").exists()


def test_a_making_that_was_killed_is_made_again(make_settings: MakeSettings, home: Path) -> None:
    (home / ".new" / "history").mkdir(parents=True)
    (home / ".new" / "history" / "runs.db").write_text("half of a database")
    (home / "dagster.yaml").write_text("# Dagster's instance: cop")

    assert runs_in(make_settings()) == 1
    assert "PooledSqliteEventLogStorage" in (home / "dagster.yaml").read_text()


def test_databases_that_a_kill_left_half_made_before_are_completed(
    make_settings: MakeSettings, home: Path
) -> None:
    settings = make_settings()
    instance_module.prepare_dagster_home(settings)
    for database in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db"):
        # No mark of a version and not all tables, as between two of the statements that make them.
        with closing(sqlite3.connect(home / database)) as half_made:
            half_made.execute("DROP TABLE alembic_version")
            named = half_made.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            last = [name for (name,) in named if not name.startswith("sqlite_")][-1]
            half_made.execute(f"DROP TABLE {last}")

    assert runs_in(settings) == 1


def test_a_home_whose_name_no_url_takes_gets_a_link(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    home = tmp_path / "homes" / "50%25 of what?"
    settings = make_settings(dagster_home=home)

    assert [runs_in(settings), runs_in(settings)] == [1, 2]

    assert (home / "history" / "runs.db").exists()
    assert [path.name for path in home.parent.iterdir()] == [home.name]
