"""A lake damaged in many ways: each named in one line, mended by commands, and its tables those of before."""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from churn_assets.automation.history.instance import dagster_instance, prepare_dagster_home
from churn_assets.graph import build_defs
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    COMPUTED_DATES,
    DAILY_SUMMARY,
    EVENTS,
    FEATURE_DRIFT,
    LANDED_EVENTS,
    MODEL_PROMOTIONS,
    QUARANTINED_EVENTS,
    TABLES,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
    Table,
)
from churn_assets_tests.end_to_end.command import settings_in
from churn_assets_tests.end_to_end.conftest import House
from churn_assets_tests.in_process import Churn, churn_on
from churn_assets_tests.memory import write_down
from churn_assets_tests.model.conftest import mlflow_state_as_it_was
from churn_assets_tests.rows import line

# Sail: what is damaged and mended are files, the same on either engine.
pytestmark = pytest.mark.usefixtures("on_sail")


@pytest.fixture(scope="module")
def whole(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake that has run once, with its history on disk, as commands find it."""
    return on_disk(house, tmp_path_factory.mktemp("whole"))


def on_disk(house: House, folder: Path) -> Path:
    """The lake of a house and its landing zone, with its history in files."""
    shutil.copytree(house.settings.lake_root, folder / "lake")
    shutil.copytree(house.landing, folder / "landing")
    settings = settings_in(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        prepare_dagster_home(settings)
    write_down(house.instance, settings.dagster_home_folder)
    return folder


@pytest.fixture
def settings(whole: Path, tmp_path: Path) -> Settings:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return settings_in(tmp_path)


@pytest.fixture
def churn_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Settings], Churn]]:
    with mlflow_state_as_it_was():
        yield lambda settings: churn_on(settings, monkeypatch, capsys)


@pytest.fixture
def churn(settings: Settings, churn_in: Callable[[Settings], Churn]) -> Churn:
    return churn_in(settings)


def location(settings: Settings, table: Table) -> Path:
    return FolderLakehouse(settings, _no_engine).location(table)


def _no_engine():
    raise AssertionError("looking at a lake needs no engine")


def content(settings: Settings, table: Table) -> pd.DataFrame:
    rows = DeltaTable(location(settings, table)).to_pyarrow_table(columns=table.content_columns)
    return rows.sort_by([(name, "ascending") for name in table.content_columns]).to_pandas()


def versions(settings: Settings) -> dict[str, int]:
    return {str(table): DeltaTable(location(settings, table)).version() for table in TABLES}


def stamps(settings: Settings) -> pd.DataFrame:
    """When each file's lines were taken in, which events are judged by."""
    columns = ["_source_file", "_ingested_at", "_clock_at", "_processing_date"]
    rows = DeltaTable(location(settings, LANDED_EVENTS)).to_pyarrow_table(columns=columns).to_pandas()
    return rows.drop_duplicates().sort_values("_source_file", ignore_index=True)


def assert_equal(settings: Settings, house: House, but: tuple[Table, ...] = ()) -> None:
    for table in TABLES:
        if table not in but:
            pd.testing.assert_frame_equal(content(settings, table), house.content(table), obj=str(table))


# Damages.


def a_file(settings: Settings, table: Table, place: int = -2) -> Path:
    files = [file for file in location(settings, table).rglob("*.parquet") if "_delta_log" not in file.parts]
    return sorted(files)[max(place, -len(files))]


def last_commit(settings: Settings, table: Table) -> Path:
    return max((location(settings, table) / "_delta_log").glob("*.json"))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def garbage(file: Path) -> None:
    """As many bytes as before, and none of them right."""
    file.write_bytes(b"\x5a" * file.stat().st_size)


def model_file(settings: Settings, name: str) -> Path:
    return next((settings.lake_root / "mlflow" / "artifacts" / "models").rglob(name))


Damage = Callable[[Settings], object]

# What is done; what of it the line says; the command that mends it.
DAMAGES: dict[str, tuple[Damage, tuple[str, ...], str]] = {
    "a file of Bronze is missing": (
        lambda s: a_file(s, LANDED_EVENTS).unlink(),
        ("raw_catalog.landing.events: 1 of 1 files are damaged", "is missing", "Depend on it: events, "),
        "churn repair landing.events",
    ),
    "a file of Silver is cut": (
        lambda s: cut(a_file(s, EVENTS)),
        ("main_catalog.clean.events: 1 of ", " instead of ", "Depend on it: users, user_daily_activity"),
        "churn repair clean.events",
    ),
    "the quarantine's log is cut": (
        lambda s: cut(last_commit(s, QUARANTINED_EVENTS)),
        ("clean.quarantined_events: its log is damaged: commit 1 is cut off",),
        "churn repair quarantined_events",
    ),
    "the quarantine is gone": (
        lambda s: shutil.rmtree(location(s, QUARANTINED_EVENTS)),
        ("clean.quarantined_events: it is missing",),
        "churn repair quarantined_events",
    ),
    "the last entry of a log is empty": (
        lambda s: last_commit(s, USER_FEATURES).write_bytes(b""),
        ("gold.user_features: its log is damaged: commit 1 is empty", "churn_labels, churn_predictions"),
        "churn repair user_features",
    ),
    "the first entry of a log is missing": (
        lambda s: (location(s, USERS) / "_delta_log" / f"{0:020}.json").unlink(),
        ("clean.users: its log is damaged: commit 0 is missing",),
        "churn repair users",
    ),
    "the ledger of dates is cut": (
        lambda s: cut(last_commit(s, COMPUTED_DATES)),
        ("ops.computed_dates: its log is damaged",),
        "churn repair computed_dates",
    ),
    "MLflow's database is no database": (
        lambda s: garbage(s.lake_root / "mlflow" / "mlflow.db"),
        ("mlflow/mlflow.db: MLflow's database cannot be read: file is not a database",),
        "restore it from a backup; without one, models are trained anew after: churn repair mlflow",
    ),
    "Dagster's index is no database": (
        lambda s: garbage(s.dagster_home_folder / "history" / "runs" / "index.db"),
        ("dagster/history/runs/index.db: a database of Dagster's history cannot be read",),
        "churn repair dagster",
    ),
    "Dagster's configuration is no YAML": (
        lambda s: (s.dagster_home_folder / "dagster.yaml").write_text("a: [b"),
        ("dagster/dagster.yaml: Dagster's configuration cannot be read",),
        "churn repair dagster",
    ),
    "a model's estimator is missing": (
        lambda s: model_file(s, "estimator.pkl").unlink(),
        ("churn-prediction-model version 1: 1 of its files are missing: artifacts/estimator.pkl",),
        "churn repair model",
    ),
    "a model's estimator is cut": (
        lambda s: cut(model_file(s, "estimator.pkl")),
        ("churn-prediction-model version 1: artifacts/estimator.pkl is cut off", "churn_prediction_endpoint"),
        "churn repair model",
    ),
    "a model's description is missing": (
        lambda s: model_file(s, "MLmodel").unlink(),
        ("churn-prediction-model version 1: its files are missing: there is no ", "MLmodel"),
        "churn repair model",
    ),
    "the online features are cut": (
        lambda s: cut(next((s.lake_root / "serving").rglob("features.npy"))),
        ("online_user_features: the files at ",),
        "churn repair online_user_features",
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_each_damage_is_one_line_with_what_depends_on_it_and_what_mends_it(
    settings: Settings, churn: Churn, what: str
) -> None:
    damage, says, mend = DAMAGES[what]
    damage(settings)

    answer = churn("verify")

    assert (answer.exit_code, answer.reason) == (1, "")
    assert len(answer.to_mend()) == 1, answer.to_mend()
    line = answer.to_mend()[0]
    for part in says:
        assert part in line
    assert line.endswith(f". Mend it: {mend}")


def test_a_whole_lake_has_nothing_to_mend_and_only_a_deep_look_reads_rows(
    settings: Settings, churn: Churn
) -> None:
    assert (churn("verify").to_mend(), churn("verify").exit_code) == ([], 0)
    assert churn("verify", "--deep").to_mend() == []
    assert churn("repair").out.startswith("Nothing to repair.")

    # As long as before, so that the log and the folder agree.
    garbage(a_file(settings, DAILY_SUMMARY))

    assert churn("verify").exit_code == 0
    deep = churn("verify", "--deep", "--json")
    found = {one["subject"]: one for one in json.loads(deep.out) if not one["is_well"]}
    assert list(found) == ["main_catalog.gold.daily_summary"]
    assert "cannot be read" in found["main_catalog.gold.daily_summary"]["says"]
    assert found["main_catalog.gold.daily_summary"]["mend"] == "churn repair daily_summary"


def test_a_deep_look_runs_no_code_that_this_lake_did_not_register_and_a_repair_replaces_it(
    settings: Settings, churn: Churn, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    with model_file(settings, "churn_model.py").open("a") as code:
        code.write(f"\nopen({str(ran)!r}, 'w').close()\n")

    (line,) = churn("verify", "--deep").to_mend()

    assert "The files of version 1 are not those that this lake's platform registered" in line
    assert "version 1" in churn("repair", "model").out
    assert churn("verify", "--deep").to_mend() == []
    assert not ran.exists()


@pytest.mark.parametrize(
    ("what", "command", "says"),
    [
        ("a file of Silver is cut", "doctor", "mend files: main_catalog.clean.events: 1 of "),
        ("the quarantine's log is cut", "status", "The log of "),
        ("the last entry of a log is empty", "run", "ends with an empty commit"),
        ("the ledger of dates is cut", "run", "computed_dates cannot be read ("),
        ("MLflow's database is no database", "run", "(file is not a database)"),
        ("Dagster's index is no database", "runs", "file is not a database"),
        ("Dagster's configuration is no YAML", "run", "while parsing"),
    ],
)
def test_no_command_prints_a_trace_and_each_says_how_to_see_what_is_damaged(
    settings: Settings, churn: Churn, what: str, command: str, says: str
) -> None:
    DAMAGES[what][0](settings)

    answer = churn(command)

    assert answer.exit_code == 1
    assert "Traceback" not in answer.out + answer.reason
    assert "<unknown>" not in answer.out + answer.reason
    said = answer.reason if command != "doctor" else answer.out
    assert says in said
    assert "churn verify" in said or "churn repair" in said
    assert len(answer.reason.splitlines()) <= 1


def test_debug_shows_the_trace_wherever_it_stands(settings: Settings, churn: Churn) -> None:
    DAMAGES["Dagster's configuration is no YAML"][0](settings)

    assert "yaml.parser.ParserError" in churn("run", "--debug").reason
    assert "yaml.parser.ParserError" in churn("--debug", "run").reason


def test_what_was_made_of_something_else_is_made_again_and_nothing_is_computed_twice(
    settings: Settings, churn: Churn, house: House
) -> None:
    before, stamped = versions(settings), stamps(settings)
    for what in (
        "a file of Bronze is missing",
        "a file of Silver is cut",
        "the quarantine's log is cut",
        "the first entry of a log is missing",
        "a model's estimator is missing",
        "the online features are cut",
        "Dagster's configuration is no YAML",
    ):
        DAMAGES[what][0](settings)
    cut(last_commit(settings, MODEL_PROMOTIONS))
    garbage(a_file(settings, EVENTS, 3))

    assert churn("repair", "clean.events").reason.endswith("First: churn repair landing.events")
    repaired = churn("repair")
    assert (repaired.exit_code, repaired.reason) == (0, ""), repaired
    # A quick look sees no change within a file.
    assert churn("repair", "clean.events").exit_code == 0
    online = "online_user_features: none of "
    assert [one[: len(online)] for one in churn("verify", "--deep").to_mend()] == [online]
    assert_equal(settings, house)
    pd.testing.assert_frame_equal(stamps(settings), stamped)

    assert churn("run").exit_code == 0
    assert churn("verify").to_mend() == []
    gold = {str(table) for table in TABLES if table.reads}
    assert {name: v for name, v in versions(settings).items() if name in gold} == {
        name: v for name, v in before.items() if name in gold
    }
    assert_equal(settings, house)


def test_dates_of_gold_that_were_lost_are_computed_again_and_only_these(
    settings: Settings, churn: Churn, house: House
) -> None:
    # The last, which no label reads: a model is trained when labels are new.
    a_file(settings, USER_FEATURES, -1).unlink()
    last_commit(settings, FEATURE_DRIFT).write_bytes(b"")

    repaired = churn("repair")

    assert "user_features: the next run computes 1 dates." in repaired.out
    assert "feature_drift: back to version 0; the next run computes 50 dates." in repaired.out
    assert churn("verify").to_mend()[0].endswith("Mend it: churn run")
    assert churn("run").exit_code == 0
    assert churn("verify").to_mend() == []
    assert_equal(settings, house)


def test_a_last_commit_of_bronze_that_is_lost_is_found_again(
    settings: Settings, churn: Churn, house: House
) -> None:
    stamped = stamps(settings)
    last_commit(settings, LANDED_EVENTS).write_bytes(b"")

    assert "landing.events: the last commit was lost, and its 1 files are listed again" in churn("repair").out

    assert churn("verify").to_mend() == []
    assert_equal(settings, house)
    pd.testing.assert_frame_equal(stamps(settings), stamped)


def test_models_that_are_lost_are_given_up_by_name_and_the_next_run_trains_one(
    settings: Settings, churn: Churn, house: House
) -> None:
    DAMAGES["MLflow's database is no database"][0](settings)
    # It is not given up without being asked for.
    assert churn("repair").out.startswith("Nothing to repair.")

    assert "the next run trains a model, as version 1" in churn("repair", "mlflow").out
    ran = churn("run")

    assert (ran.exit_code, ran.reason) == (0, "")
    assert "Production model: version 1," in ran.out
    assert churn("verify").to_mend() == []
    pd.testing.assert_frame_equal(
        content(settings, CHURN_PREDICTIONS), house.content(CHURN_PREDICTIONS), atol=1e-9
    )


def test_a_lake_that_is_renamed_goes_on_with_its_models(
    settings: Settings, churn_in: Callable[[Settings], Churn], tmp_path: Path
) -> None:
    """The original is gone, as MLflow's absolute paths would still lead there."""
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "lake").rename(moved / "renamed lake")
    (tmp_path / "landing").rename(moved / "landing")
    now = settings_in(moved).model_copy(
        update={
            "lake_root": moved / "renamed lake",
            "dagster_home": moved / "renamed lake" / "dagster",
            "mlflow_tracking_uri": f"sqlite:///{moved}/renamed lake/mlflow/mlflow.db",
        }
    )
    churn = churn_in(now)
    assert churn("verify").to_mend() == []
    before = content(now, CHURN_PREDICTIONS)
    # The last date is scored again, by the version of before, and the endpoint compared with it.
    DeltaTable(location(now, CHURN_PREDICTIONS)).delete(f"feature_date = '{before['feature_date'].max()}'")

    ran = churn("run")

    assert (ran.exit_code, ran.reason) == (0, "")
    pd.testing.assert_frame_equal(content(now, CHURN_PREDICTIONS), before)
    assert churn("verify", "--deep").to_mend() == []
    assert churn("reproduce", 1).exit_code == 0


def test_a_restore_of_what_the_ledger_knows_leaves_nothing_to_compute(
    settings: Settings, churn: Churn, house: House
) -> None:
    DeltaTable(location(settings, CHURN_LABELS)).delete("label = 1")
    assert "is not as the ledger of dates left it" in churn("verify").to_mend()[0]

    restored = churn("restore", "churn_labels", "--version", 1)

    assert restored.out == (
        "main_catalog.gold.churn_labels: version 1 is back, as version 3; other than noted: nothing. What is "
        "stale by it is computed by: churn run\n"
    )
    assert churn("verify").to_mend() == []
    before = versions(settings)
    assert churn("run").exit_code == 0
    assert versions(settings) == before
    assert_equal(settings, house)


# A lake of a few lines, which takes seconds to make.

DAYS = 3
MOVES_WITH_THE_LAKE = ("CHURN_LAKE_ROOT", "MLFLOW_TRACKING_URI", "DAGSTER_HOME")


def land(settings: Settings, name: str, *lines: str) -> None:
    folder = Path(settings.landing_root)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{text}\n" for text in lines))


@pytest.fixture(scope="module")
def whole_small(make_house: Callable[..., House], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of two users, a broken line that comes twice, and a repeated one, in two files."""
    house = make_house(tmp_path_factory.mktemp("small"), deployment="local")
    days = [f"2026-01-0{day}" for day in range(1, DAYS + 1)]
    of_one = [line(f"a{day}", 1, f"{day}T08:00:00Z") for day in days]
    land(house.settings, "a.json", *of_one, "no json", "no json")
    land(house.settings, "b.json", *(line(f"b{day}", 2, f"{day}T09:00:00Z") for day in days), of_one[0])
    house.run()
    return on_disk(house, tmp_path_factory.mktemp("whole_small"))


@pytest.fixture
def small(whole_small: Path, tmp_path: Path) -> Settings:
    shutil.copytree(whole_small, tmp_path, dirs_exist_ok=True)
    return settings_in(tmp_path)


@pytest.fixture
def churn_small(small: Settings, churn_in: Callable[[Settings], Churn]) -> Churn:
    return churn_in(small)


def made(settings: Settings) -> list[Table]:
    return [table for table in TABLES if (location(settings, table) / "_delta_log").exists()]


def contents(settings: Settings) -> dict[str, str | None]:
    # As text, in which a missing number equals another.
    return {str(table): content(settings, table).to_json(date_format="iso") for table in made(settings)}


def versions_of(settings: Settings) -> dict[str, int]:
    return {str(table): DeltaTable(location(settings, table)).version() for table in made(settings)}


def test_bronze_is_made_of_the_landing_zone_and_no_quarantined_line_is_doubled(
    small: Settings, churn_small: Churn
) -> None:
    before = contents(small)
    shutil.rmtree(location(small, LANDED_EVENTS))
    assert churn_small("verify").to_mend()[0].endswith("Mend it: churn repair landing.events")

    assert "the 2 files of the landing zone are taken in anew" in churn_small("repair").out
    assert churn_small("run").exit_code == 0

    assert contents(small) == before
    assert churn_small("verify", "--deep").to_mend() == []


def test_bronze_is_left_as_it_is_where_its_files_have_left_the_landing_zone(
    small: Settings, churn_small: Churn
) -> None:
    (Path(small.landing_root) / "a.json").unlink()
    a_file(small, LANDED_EVENTS).unlink()

    refused = churn_small("repair")

    assert refused.exit_code == 1
    assert "1 files that it was made of are no longer in " in refused.reason
    assert "(a.json). Bring them back and try again, or restore the lake from a backup. " in refused.reason
    assert len(content(small, EVENTS)) == 2 * DAYS


def test_a_file_that_landed_since_is_not_taken_for_one_that_bronze_has_lost(
    small: Settings, churn_small: Churn
) -> None:
    """It has as many lines as were lost; so everything is taken in anew."""
    land(small, "c.json", *(line(f"c{n}", 3, "2026-01-02T10:00:00Z") for n in range(9)))
    a_file(small, LANDED_EVENTS).unlink()

    assert churn_small("repair").exit_code == 0
    assert churn_small("run").exit_code == 0

    assert len(content(small, EVENTS)) == 2 * DAYS + 9
    assert len(content(small, QUARANTINED_EVENTS)) == 2
    assert churn_small("verify", "--deep").to_mend() == []


@pytest.mark.parametrize("table", [EVENTS, USERS, USER_DAILY_ACTIVITY], ids=str)
def test_a_table_that_was_put_back_is_brought_up_to_date_by_the_next_run(
    small: Settings, churn_small: Churn, table: Table
) -> None:
    before = versions_of(small)[str(table)]
    land(small, "late.json", line("late", 3, "2026-01-02T10:00:00Z"), "nor this")
    assert churn_small("run").exit_code == 0
    never_damaged = contents(small)

    restored = churn_small("restore", f"{table.schema}.{table.name}", "--version", before)

    assert (restored.exit_code, restored.reason) == (0, "")
    assert contents(small) != never_damaged
    ran = churn_small("run")
    assert ran.exit_code == 0, ran.reason
    assert contents(small) == never_damaged
    assert churn_small("verify", "--deep").to_mend() == []


def test_a_time_names_the_version_of_then(small: Settings, churn_small: Churn) -> None:
    then = dt.datetime.now(dt.UTC)
    DeltaTable(location(small, DAILY_SUMMARY)).delete()

    restored = churn_small("restore", "daily_summary", "--at", then.isoformat())

    assert "daily_summary: version 1 is back, as version 3; other than noted: nothing." in restored.out
    assert churn_small("verify").to_mend() == []


def test_what_cannot_be_put_back_is_refused_in_one_line(small: Settings, churn_small: Churn) -> None:
    before = versions_of(small)

    refused = {
        ("landing.events", "--version", 0): "raw_catalog.landing.events is not put back alone",
        ("events", "--version", 0): "2 tables are called events. Say one of: landing.events, clean.events",
        ("user_features", "--version", 9): "version 1, and 9 is no earlier one: choose one of 0 to 0",
        ("user_features", "--at", "2020-01-01"): "Choose a later time.",
    }

    for arguments, says in refused.items():
        answer = churn_small("restore", *arguments)
        assert (answer.exit_code, answer.out) == (1, "")
        assert says in answer.reason
        assert len(answer.reason.splitlines()) == 1
    assert versions_of(small) == before


# Around it.


def test_the_weekly_maintenance_changes_no_row_and_says_what_was_there(
    small: Settings, churn_small: Churn, spark: SparkSession
) -> None:
    before = contents(small)
    leftover = location(small, EVENTS).with_name(".events.damaged-1")
    leftover.mkdir()
    os.utime(leftover, (0, 0))
    definitions = build_defs(small)
    schedule = definitions.resolve_schedule_def("maintenance_schedule")
    assert (schedule.cron_schedule, schedule.default_status.value) == ("40 3 * * 0", "RUNNING")

    with dagster_instance(small) as instance:
        result = definitions.resolve_job_def("maintenance").execute_in_process(instance=instance)
        events = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)

    assert result.success
    metadata = events[0].dagster_event.step_output_data.metadata  # type: ignore[union-attr]  # an output has it
    assert int(str(metadata["bytes_before"].value)) > 0
    assert metadata["files_that_nothing_reads"].value == 1
    assert not leftover.exists()
    assert contents(small) == before
    assert churn_small("verify").to_mend() == []
    assert churn_small("maintain", "--dry-run").exit_code == 0


def test_the_commands_of_the_page_on_backups_bring_a_lake_back(small: Settings, tmp_path: Path) -> None:
    before = contents(small)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "backup.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    commands = [text[2:] for block in blocks for text in block.splitlines() if text.startswith("$ ")]
    assert [command.split()[0] for command in commands] == [
        *("mkdir", "flock", "CHURN_LAKE_ROOT=/backup/lake-1"),
        *("mv", "cp", "churn", "churn"),
    ]
    script = "\n".join(commands).replace("/backup", f"{tmp_path}/backup")
    # Damage between the two.
    script = script.replace("mv lake ", "rm -r lake/main_catalog/clean lake/mlflow/mlflow.db\nmv lake ")
    ours = {name: value for name, value in small.as_env().items() if name not in MOVES_WITH_THE_LAKE}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"

    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env={"HOME": os.environ["HOME"], "PATH": path, **ours},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "mend " not in done.stdout
    assert contents(small) == before
