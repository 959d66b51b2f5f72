"""The ``churn`` command as its user meets it: what it prints, what it leaves on disk, how it ends."""

import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from churn_assets import cli
from churn_assets import settings as settings_module
from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.ingestion import ingest
from churn_assets.resources import lakehouse
from churn_assets.tables import EVENTS, LANDED_EVENTS, USER_DAILY_ACTIVITY, USER_FEATURES, Table
from churn_assets_tests.conftest import NOBODY_LISTENS
from churn_assets_tests.rows import line

CHURN = Path(sys.executable).with_name("churn")


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    exit_code: int
    out: str
    err: str

    @property
    def reason(self) -> str:
        """The one line that says why it failed; progress before it is indented."""
        lines = [text for text in self.err.splitlines() if not text.startswith("  ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("churn: ")
        assert "Traceback" not in self.out + self.err
        assert self.out == ""
        return lines[0]


Churn = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deployment: str) -> None:
    """A folder of its own, and the deployment that the tests run on."""
    monkeypatch.chdir(tmp_path)
    for name in {*settings_module.Settings().as_env(), "DAGSTER_HOME"}:
        # Set before it is removed, so that what a command exports is gone after the test too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHURN_DEPLOYMENT", deployment)
    monkeypatch.setenv("CHURN_SPARK_MASTER", "local[2]")
    monkeypatch.setenv("CHURN_ENDPOINT_URL", NOBODY_LISTENS)


@pytest.fixture
def churn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Churn:
    """The command, in this process: it shares the tests' engine."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["churn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def process(deployment: str, tmp_path: Path) -> Churn:
    """The installed command, in a process that knows nothing but these variables."""
    if deployment != "local":
        pytest.skip("each command would start a Spark of its own")

    def run(*arguments: str, **environment: str) -> Answer:
        process = subprocess.run(
            [CHURN, *arguments],
            cwd=tmp_path,
            env={
                "HOME": os.environ["HOME"],
                "PATH": "/usr/bin:/bin",
                "CHURN_ENDPOINT_URL": NOBODY_LISTENS,
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(process.returncode, process.stdout, process.stderr)

    return run


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def land(*lines: str) -> None:
    landing = Path("lake/landing/events")
    landing.mkdir(parents=True)
    (landing / "events.json").write_text("".join(f"{text}\n" for text in lines))


def two_events(day: str = "2026-01-05") -> list[str]:
    return [line("e1", 1, f"{day}T08:00:00Z"), line("e2", 2, f"{day}T09:00:00Z", "purchase")]


def tables() -> list[str]:
    """The tables that have been written to, as the status names them."""
    logs = Path("lake").glob("*/*/*/_delta_log/00000000000000000001.json")
    return sorted(".".join(path.parts[1:4]) for path in logs)


def impostor(table: Table) -> Path:
    """A table of other columns where the platform's table belongs."""
    folder = Path("lake", table.catalog, table.schema, table.name)
    write_deltalake(folder, pa.table({"user_id": ["a"], "shoe_size": [41]}))
    return folder


# What a person types first.


def test_simulated_events_land_one_file_a_day(churn: Churn, tmp_path: Path) -> None:
    answer = churn("simulate", "--users", 20, "--days", 3, "--seed", 7)

    assert answer.exit_code == 0
    assert "2026-01-01 to 2026-01-03" in answer.out
    assert files(tmp_path / "lake" / "landing") == [f"events/events-2026-01-0{day}.json" for day in (1, 2, 3)]


def test_two_lines_of_a_csv_become_two_events_and_their_features(churn: Churn) -> None:
    Path("sales.csv").write_text(
        "customer,when,what\n7,2026-01-05 10:00:00,purchase\n8,2026-01-06 11:30:00,visit\n"
    )

    columns = ["--user-id", "customer", "--event-ts", "when", "--event-type", "what"]

    imported = churn("import", "sales.csv", *columns)
    again = churn("import", "sales.csv", *columns)
    ran = churn("run")

    assert imported.exit_code == again.exit_code == ran.exit_code == 0, ran.err
    assert imported.out.startswith("Landed 2 rows of 1 files in ")
    assert again.out.startswith("Landed 0 rows of 0 files in ")
    assert "1 files had landed before" in again.out
    assert "data covers 2026-01-05 to 2026-01-06" in ran.out
    assert "2 lines landed: 2 events, 0 quarantined; 2 users." in ran.out
    assert "Nothing was scored: there is no Production model yet" in ran.out
    status = {row["table"]: row for row in json.loads(churn("status", "--json").out)["tables"]}
    assert status[str(USER_FEATURES)]["rows"] == 3


def test_a_lake_without_tables_has_a_status(churn: Churn, tmp_path: Path) -> None:
    answer = churn("status")

    assert answer.exit_code == 0
    assert "has no tables yet. Land events, then: churn run" in answer.out
    assert files(tmp_path) == []


def test_status_is_the_same_for_programs(churn: Churn) -> None:
    land(*two_events(), "not json")
    assert churn("run").exit_code == 0

    answer = churn("status", "--json")

    status = json.loads(answer.out)
    assert answer.exit_code == 0
    assert (status["model"], status["scores"]) == (None, None)
    rows = {row["table"]: row for row in status["tables"]}
    assert {name: row["rows"] for name, row in rows.items()} == {
        "raw_catalog.landing.events": 3,
        "main_catalog.clean.events": 2,
        "main_catalog.clean.quarantined_events": 1,
        "main_catalog.clean.users": 2,
        "main_catalog.gold.user_daily_activity": 2,
        "main_catalog.gold.daily_summary": 1,
        "main_catalog.gold.user_monthly_activity": 0,
        "main_catalog.gold.user_features": 2,
    }
    features = rows["main_catalog.gold.user_features"]
    assert (features["first_date"], features["last_date"]) == ("2026-01-05", "2026-01-05")
    assert features["version"] == 1
    assert features["bytes"] > 0
    assert dt.datetime.fromisoformat(features["changed_at"]).tzinfo is not None

    again = churn("run")
    assert [step.split("(")[0].strip() for step in again.err.splitlines()] == ["files to events"]
    later = json.loads(churn("status", "--json").out)
    # But Bronze's, which has been looked after once more.
    assert {**later, "freshness": None} == {**status, "freshness": None}


# Sample data.


def yesterday() -> dt.date:
    return dt.datetime.now(dt.UTC).date() - ONE_DAY


def test_sample_data_starts_180_days_back_and_env_says_so_once(churn: Churn, tmp_path: Path) -> None:
    Path(".env").write_text("CHURN_HORIZON_DAYS=14")
    start = yesterday() - 179 * ONE_DAY

    answer = churn("simulate", "--sample", "--users", 5)
    landed = files(tmp_path / "lake" / "landing" / "events")
    again = churn("simulate", "--sample", "--users", 5)

    assert answer.exit_code == again.exit_code == 0
    assert f"Wrote CHURN_START_DATE={start}, 180 days back, to .env of this folder.\n" in answer.out
    assert Path(".env").read_text() == f"CHURN_HORIZON_DAYS=14\nCHURN_START_DATE={start}\n"
    assert (landed[0], landed[-1]) == (f"events-{start}.json", f"events-{yesterday()}.json")
    assert len(landed) == 180
    assert "simulating none" in again.out
    assert files(tmp_path / "lake" / "landing" / "events") == landed


def test_sample_data_obeys_a_start_date_that_is_set(churn: Churn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_START_DATE", str(yesterday() - ONE_DAY))

    answer = churn("simulate", "--sample", "--users", 5)

    assert answer.exit_code == 0
    assert not Path(".env").exists()
    assert len(files(Path("lake/landing"))) == 2


def test_sample_data_is_not_mixed_with_events_that_are_there(churn: Churn) -> None:
    land(*two_events())

    answer = churn("simulate", "--sample")

    assert answer.exit_code == 0
    assert files(Path("lake")) == ["landing/events/events.json"]
    assert not Path(".env").exists()


# What a person can mend is one line, and nothing is half written.


def test_a_landing_zone_that_does_not_exist_says_what_to_do(process: Churn, tmp_path: Path) -> None:
    answer = process("run")

    assert answer.exit_code == 1
    assert answer.reason.startswith(f"churn: The landing zone {tmp_path}/lake/landing/events does not exist.")
    assert answer.reason.endswith("land sample events with: churn simulate")
    assert tables() == []


def test_a_landing_zone_without_event_files_names_the_endings(churn: Churn) -> None:
    Path("lake/landing/events").mkdir(parents=True)
    Path("lake/landing/events/notes.txt").touch()

    answer = churn("run")

    assert answer.exit_code == 1
    assert "holds no event files (1 others: notes.txt): expected names that end in .json, " in answer.reason
    assert tables() == []


def test_what_is_not_taken_in_is_named_by_run_and_status_until_it_is(churn: Churn) -> None:
    land(*two_events())
    landing = Path("lake/landing/events")
    for name in ("a.csv", "b.txt", "[bold].parquet", "d.xml"):
        (landing / name).touch()
    (landing / "gone.json").symlink_to("nowhere")
    (landing / "sick.json").symlink_to("/proc/self/mem")

    ran, status, as_json = churn("run"), churn("status"), json.loads(churn("status", "--json").out)

    assert ran.exit_code == 0
    for answer in (ran, status):
        assert (
            "2 files or folders were not taken in: gone.json is a link to nothing; "
            "sick.json cannot be read: Input/output error. They are tried again each time."
        ) in answer.out
        assert "4 files or folders were passed over: [bold].parquet, a.csv, b.txt and 1 more. " in answer.out
    assert as_json["landing"]["left_out_count"] == 2
    assert list(as_json["landing"]["left_out"]) == ["gone.json", "sick.json"]
    assert as_json["landing"]["passed_over_names"] == ["[bold].parquet", "a.csv", "b.txt", "d.xml"]

    for name in ("gone.json", "sick.json"):
        (landing / name).unlink()
        (landing / name).write_text(line(name, 3, "2026-01-05T10:00:00Z"))
    again = churn("run")
    assert "not taken in" not in again.out
    assert "4 lines landed: 4 events, 0 quarantined; 3 users." in again.out
    assert "not taken in" not in churn("status").out


def test_a_clock_that_jumped_once_is_said_and_events_are_judged_by_the_clock(churn: Churn) -> None:
    land(*two_events())
    tomorrow = dt.datetime.now(dt.UTC) + ONE_DAY
    ingest(lakehouse(settings_module.load()), lambda: dt.datetime.now(dt.UTC) + 400 * ONE_DAY)
    Path("lake/landing/events/late.json").write_text(
        f"{line('ahead', 3, f'{tomorrow:%Y-%m-%dT%H:%M:%SZ}')}\n{line('fine', 3, '2026-01-05T10:00:00Z')}\n"
    )

    ran, status, doctor = churn("run"), churn("status"), churn("doctor")

    assert "4 lines landed: 3 events, 1 quarantined; 3 users." in ran.out
    for answer in (ran, status, doctor):
        assert "Bronze's last ingestion is stamped 400 days ahead of this machine's clock" in answer.out
    assert (ran.exit_code, status.exit_code, doctor.exit_code) == (0, 0, 1)


def test_a_lost_bronze_is_one_line_and_doubles_nothing(churn: Churn) -> None:
    land(*two_events(), "not json", "nor this")
    assert churn("run").exit_code == 0
    bronze = Path("lake/raw_catalog/landing/events")
    bronze.rename("elsewhere")

    lost, doctor = churn("run"), churn("doctor")

    assert lost.exit_code == doctor.exit_code == 1
    assert (
        "Bronze, raw_catalog.landing.events, holds no line, and main_catalog.clean.events 2 rows and "
        "main_catalog.clean.quarantined_events 2 rows that were made from it. Restore it from a backup"
    ) in lost.reason
    assert "mend ledger: Bronze, " in doctor.out
    assert not bronze.exists()
    Path("elsewhere").rename(bronze)
    assert "4 lines landed: 2 events, 2 quarantined" in churn("run").out


def test_events_before_the_start_date_say_from_which_date_they_start(churn: Churn) -> None:
    land(*two_events("2025-12-24"))

    answer = churn("run")

    assert answer.exit_code == 1
    assert "Events start on 2025-12-24 and CHURN_START_DATE is 2026-01-01" in answer.reason
    assert "Set CHURN_START_DATE=2025-12-24 (in the environment or .env) and run again." in answer.reason
    assert [name for name in tables() if ".gold." in name] == []


def test_dates_that_the_data_does_not_cover_are_named(churn: Churn) -> None:
    land(*two_events())

    answer = churn("run", "--from", "2026-01-01", "--to", "2026-01-31")

    assert answer.exit_code == 1
    assert "Data covers 2026-01-05, not all of 2026-01-01 to 2026-01-31." in answer.reason
    assert [name for name in tables() if ".gold." in name] == []


def test_dates_in_the_wrong_order_are_refused_before_anything_runs(churn: Churn, tmp_path: Path) -> None:
    answer = churn("run", "--from", "2026-01-09", "--to", "2026-01-02")

    assert answer.exit_code == 1
    assert answer.reason == "churn: --to 2026-01-02 is before --from 2026-01-09. Swap them."
    assert files(tmp_path) == []


@pytest.mark.parametrize("command", ["run", "status", "doctor", "simulate"])
def test_an_unknown_deployment_says_which_there_are(
    churn: Churn, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHURN_DEPLOYMENT", "mars")

    answer = churn(command)

    assert answer.exit_code == 1
    assert "CHURN_DEPLOYMENT='mars': input should be 'local', 'spark' or 'databricks'" in answer.reason
    assert files(tmp_path) == []


def test_spark_without_java_says_what_to_install(
    churn: Churn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    land(*two_events())
    monkeypatch.setenv("CHURN_DEPLOYMENT", "spark")
    # A master that no session of this process has, so that one would have to start.
    monkeypatch.setenv("CHURN_SPARK_MASTER", "local[1]")
    monkeypatch.setenv("JAVA_HOME", "")
    monkeypatch.setenv("PATH", str(tmp_path))

    answer = churn("run")

    assert answer.exit_code == 1
    assert "CHURN_DEPLOYMENT=spark needs Java 17 or newer, and there is no java" in answer.reason
    assert "use CHURN_DEPLOYMENT=local, which needs none" in answer.reason
    assert tables() == []


def test_the_default_deployment_needs_no_java(process: Churn, tmp_path: Path) -> None:
    land(*two_events())

    answer = process("doctor", PATH=str(tmp_path))

    assert (answer.exit_code, answer.err) == (0, "")
    assert "engine: Sail answers 1" in answer.out


def test_a_java_home_without_java_is_found_by_the_doctor(process: Churn) -> None:
    answer = process("doctor", CHURN_DEPLOYMENT="spark", JAVA_HOME="/nowhere")

    assert answer.exit_code == 1
    assert "mend engine: CHURN_DEPLOYMENT=spark needs Java 17 or newer" in answer.out
    assert "Traceback" not in answer.out + answer.err


@pytest.mark.parametrize("table", [LANDED_EVENTS, EVENTS, USER_DAILY_ACTIVITY], ids=lambda table: table.name)
def test_a_table_of_other_columns_is_named_and_left_alone(churn: Churn, table: Table) -> None:
    land(*two_events())
    folder = impostor(table)
    before = files(folder)

    answer = churn("run")

    assert answer.exit_code == 1
    assert f"is not {table}:" in answer.reason
    assert "shoe_size bigint instead of none" in answer.reason
    assert f"tables.{table.constant}: move the folder away and run again" in answer.reason
    assert files(folder) == before
    if table is LANDED_EVENTS:
        assert tables() == []


@pytest.mark.parametrize("command", ["run", "status"])
def test_a_file_where_the_lake_should_be_is_said(churn: Churn, command: str, tmp_path: Path) -> None:
    Path("lake").touch()

    answer = churn(command)

    assert answer.exit_code == 1
    assert str(tmp_path / "lake") in answer.reason
    assert "CHURN_LAKE_ROOT" in answer.reason
    assert files(tmp_path) == ["lake"]


def test_nothing_lands_where_the_landing_zone_is_a_file(churn: Churn, tmp_path: Path) -> None:
    Path("lake").touch()

    answer = churn("simulate", "--users", 5, "--days", 2)

    assert answer.exit_code == 1
    assert "cannot be written to" in answer.reason
    assert files(tmp_path) == ["lake"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("customer,when\nanna,2026-01-05 10:00:00\n", "--hash-user-id"),
        ("client,when\n7,2026-01-05 10:00:00\n", "customer"),
    ],
    ids=["ids that are no integers", "a column that is not there"],
)
def test_a_file_that_cannot_be_imported_lands_nothing(
    churn: Churn, content: str, message: str, spark: SparkSession
) -> None:
    Path("sales.csv").write_text(content)

    answer = churn("import", "sales.csv", "--user-id", "customer", "--event-ts", "when")

    assert answer.exit_code == 1
    assert message in answer.reason
    assert files(Path("lake")) == []


def test_a_file_that_does_not_exist_cannot_be_imported(churn: Churn) -> None:
    answer = churn("import", "nowhere.csv", "--user-id", "customer", "--event-ts", "when")

    assert answer.exit_code == 1
    assert "nowhere.csv" in answer.reason
    assert files(Path("lake")) == []


def test_an_env_file_that_cannot_be_written_says_what_to_set(churn: Churn) -> None:
    Path(".env").mkdir()

    answer = churn("simulate", "--sample", "--users", 5)

    assert answer.exit_code == 1
    assert "Set CHURN_START_DATE=" in answer.reason
    assert files(Path("lake")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run", "--from", "yesterday"],
        ["run", "--sideways"],
        ["simulate", "--users", "0"],
        ["simulate", "--late-share", "2"],
        ["import", "sales.csv"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(churn: Churn, arguments: list[str], tmp_path: Path) -> None:
    answer = churn(*arguments)

    assert answer.exit_code == 2
    assert "Traceback" not in answer.out + answer.err
    assert "Usage: churn" in answer.out + answer.err
    assert files(tmp_path) == []


def test_it_says_its_release_and_where_no_script_is_on_the_path_a_module_is_the_command(churn: Churn) -> None:
    release = f"churn {importlib.metadata.version('churn-assets')}\n"

    assert churn("--version").out == release
    as_module = [sys.executable, "-m", "churn_assets", "--version"]
    assert subprocess.run(as_module, capture_output=True, text=True, check=True).stdout == release


@pytest.mark.parametrize("arguments", [["-h"], ["run", "-h"], ["workflow", "-h"]], ids=" ".join)
def test_h_is_help(churn: Churn, arguments: list[str]) -> None:
    assert churn(*arguments).out == churn(*arguments[:-1], "--help").out


def test_a_shell_completes_commands() -> None:
    asked = {"_CHURN_COMPLETE": "complete_bash", "COMP_WORDS": "churn re", "COMP_CWORD": "1"}

    answer = subprocess.run([CHURN], env=asked, capture_output=True, text=True, check=True)

    assert answer.stdout.split() == ["report", "reproduce", "repair", "restore"]


def test_the_demo_of_a_lake_with_events_simulates_none_and_says_what_it_made_of_them(churn: Churn) -> None:
    land(*two_events())

    answer = churn("demo")

    assert answer.exit_code == 0, answer.err
    simulated, done, *_ = answer.out.splitlines()
    assert simulated.endswith("lake/landing/events already; simulating none.")
    assert done.startswith("Done in ")
    assert "main_catalog.gold.user_features" in answer.out
    assert answer.out.count("2 lines landed: 2 events, 0 quarantined; 2 users.") == 1


def test_what_else_uses_the_endpoints_port_is_said_before_anything_is_computed(
    churn: Churn, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(*two_events())
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setenv("CHURN_ENDPOINT_URL", url)
        threading.Thread(target=hang_up_on_everybody, args=(other,), daemon=True).start()

        answer = churn("run")

    assert answer.exit_code == 1
    assert answer.reason.startswith(
        f"churn: A program that is no churn serve listens at {url}. Set CHURN_ENDPOINT_URL to http://127.0.0.1:"
    )
    assert tables() == []


def hang_up_on_everybody(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.close()


def test_every_command_option_and_argument_says_what_it_is() -> None:
    def without_help(command: Any, path: tuple[str, ...] = ("churn",)) -> Iterator[str]:
        if not command.help:
            yield " ".join(path)
        yield from (f"{' '.join(path)} {one.name}" for one in command.params if not one.help)
        for name, below in getattr(command, "commands", {}).items():
            yield from without_help(below, (*path, name))

    assert list(without_help(typer.main.get_command(cli.app))) == []


def test_where_a_user_would_stay_nobody_is_erased(churn: Churn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_DEPLOYMENT", "local")
    monkeypatch.setenv("CHURN_LAKE_ROOT", "gs://bucket/lake")

    answer = churn("forget", "--user-id", "1", "--yes")

    assert answer.reason.startswith("churn: Nobody is erased from gs://bucket/lake: older versions of its")
