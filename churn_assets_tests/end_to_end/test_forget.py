"""A user who is forgotten is in no byte of the lake, and whoever is left is as if nothing had been."""

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from churn_assets.automation.history.instance import prepare_dagster_home
from churn_assets.erasure.files import NO_SAMPLE
from churn_assets.serving.endpoint import online_folder
from churn_assets.serving.features import online_store
from churn_assets.settings import Settings
from churn_assets.tables import (
    ERASED_LINE,
    EVENTS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    TABLES,
    USER_FEATURES,
    USERS,
    Table,
)
from churn_assets_tests.end_to_end import person
from churn_assets_tests.end_to_end.command import settings_in
from churn_assets_tests.end_to_end.conftest import Frame, House
from churn_assets_tests.end_to_end.person import OWN_LINES, PERSON, SOURCE, land_others, land_the_person
from churn_assets_tests.forked import at_work, wait_until
from churn_assets_tests.in_process import Churn, churn_on
from churn_assets_tests.memory import write_down
from churn_assets_tests.model.conftest import mlflow_state_as_it_was
from churn_assets_tests.postgres_server import programs
from churn_assets_tests.rows import line

# Sail: what is erased are files, the same on either engine; the refusal is tested on both.
pytestmark = pytest.mark.usefixtures("on_sail")


@pytest.fixture(scope="module")
def made(make_house: Callable[..., House], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the person among 40 users, and its history on disk."""
    house = make_house(tmp_path_factory.mktemp("made"))
    land_others(house.landing)
    land_the_person(house.landing)
    house.run()
    features: Frame = DeltaTable(house.lake.location(USER_FEATURES)).to_pandas()
    last = features[features["feature_date"] == features["feature_date"].max()]
    online_store.publish(
        online_folder(house.settings),
        last["user_id"],
        last[["event_count_30d"]],
        ["event_count_30d"],
        last["feature_date"].iloc[0],
        house.lake.version(USER_FEATURES),
    )
    folder = tmp_path_factory.mktemp("on disk")
    shutil.copytree(house.settings.lake_root, folder / "lake")
    shutil.copytree(house.landing, folder / "landing")
    settings = settings_in(folder)
    (settings.lake_root / "sample").mkdir()
    (settings.lake_root / "sample" / "truth.csv").write_text(f"user_id,churned\n1,0\n{PERSON},1\n")
    (settings.lake_root / "logs").mkdir()
    (settings.lake_root / "logs" / "churn.log").write_text(f"Row of user_id {PERSON}: {SOURCE}\n")
    aside = settings.lake_root / "main_catalog" / "gold" / ".user_features.damaged-1"
    shutil.copytree(house.lake.location(USER_FEATURES), aside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        prepare_dagster_home(settings)
    write_down(house.instance, settings.dagster_home_folder)
    return folder


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> Settings:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return settings_in(tmp_path)


@pytest.fixture
def churn(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Churn]:
    with mlflow_state_as_it_was():
        yield churn_on(settings, monkeypatch, capsys)


def location(settings: Settings, table: Table) -> Path:
    return settings.lake_root / table.catalog / table.schema / table.name


def rows(settings: Settings, table: Table) -> Frame:
    found = DeltaTable(location(settings, table)).to_pyarrow_table(columns=table.column_names)
    return found.sort_by([(name, "ascending") for name in table.column_names]).to_pandas()


def where_the_person_is(settings: Settings) -> list[str]:
    """Every file in whose bytes, raw, unpacked or decoded, or name one of the ids is."""
    return person.files_of_the_person(settings.lake_root.parent)


def without_the_person(table: Table, before: Frame) -> Frame:
    if "user_id" in table.column_names and table is not LANDED_EVENTS:
        return before[before["user_id"] != PERSON].reset_index(drop=True)
    return before


def test_no_byte_of_the_lake_names_who_was_forgotten(settings: Settings, churn: Churn) -> None:
    places = where_the_person_is(settings)
    folders = {Path(place).parts[1] for place in places}
    assert {"raw_catalog", "main_catalog", "dagster", "serving", "sample", "logs", "a-own.json"} <= folders
    before = {table: rows(settings, table) for table in TABLES if location(settings, table).exists()}
    # What is stale before, as there is no model, is stale afterwards.
    status = json.loads(churn("status", "--json").out)

    answer = churn("forget", "--source-user-id", SOURCE, "--yes")

    assert (answer.exit_code, answer.reason) == (0, "")
    assert where_the_person_is(settings) == []
    for table in before.keys() - {LANDED_EVENTS, QUARANTINED_EVENTS}:
        pd.testing.assert_frame_equal(
            rows(settings, table), without_the_person(table, before[table]), obj=str(table)
        )
    after = json.loads(churn("status", "--json").out)
    assert after["freshness"] == status["freshness"]
    assert [table["version"] for table in after["tables"]] == [table["version"] for table in status["tables"]]
    deep = churn("verify", "--deep")
    assert [said for said in deep.out.splitlines() if not said.startswith("ok")] == []
    published = online_store.OnlineStore(online_folder(settings)).snapshot()
    assert published
    assert published.lookup([PERSON, 1])[1].tolist() == [False, True]
    assert (settings.lake_root / "sample" / "truth.csv").read_text() == "user_id,churned\n1,0\n"
    index = settings.dagster_home_folder / "history" / "runs" / "index.db"
    assert NO_SAMPLE.encode() in index.read_bytes()


def test_bronze_and_quarantine_lose_these_lines_and_no_others(settings: Settings, churn: Churn) -> None:
    before = {table: rows(settings, table) for table in (LANDED_EVENTS, QUARANTINED_EVENTS)}

    churn("forget", "--user-id", PERSON, "--yes")

    for table, then in before.items():
        theirs = then["_raw"].str.contains(str(PERSON))
        now = rows(settings, table)
        emptied = now["_raw"] == ERASED_LINE
        pd.testing.assert_frame_equal(
            now[~emptied].reset_index(drop=True), then[~theirs].reset_index(drop=True)
        )
        # Of the file that was theirs alone one line is left, by which it is known.
        assert now[emptied]["_source_file"].tolist() == ["a-own.json"]
    own = Path(settings.landing_root) / "a-own.json"
    assert own.read_text() == f"{ERASED_LINE}\n"
    mixed = gzip.decompress((own.parent / "a-mixed.json.gz").read_bytes()).decode().splitlines()
    assert mixed == [line("of-another", 1, "2026-01-05", "purchase", "FR"), '{"user_id": 2}']


def test_the_next_run_finds_nothing_to_do_and_refuses_what_comes_again(
    settings: Settings, churn: Churn
) -> None:
    churn("forget", "--user-id", PERSON, "--yes")
    quiet = churn("run")
    assert "a-own" not in quiet.out
    versions = {
        str(table): DeltaTable(location(settings, table)).version()
        for table in TABLES
        if location(settings, table).exists()
    }
    forgotten = {table: rows(settings, table) for table in (EVENTS, USERS)}
    land_the_person(Path(settings.landing_root) / "..")
    again = Path(settings.landing_root).parent / "a-own.json"
    again.rename(Path(settings.landing_root) / "z-again.json")
    for name in ("a-mixed.json.gz", "a-bad.json"):
        (Path(settings.landing_root).parent / name).unlink()

    answer = churn("run")

    assert answer.exit_code == 0
    for table, then in forgotten.items():
        pd.testing.assert_frame_equal(rows(settings, table), then)
    refused = rows(settings, QUARANTINED_EVENTS).query("_source_file == 'z-again.json'")
    assert set(refused["reason"]) == {"erased_user"}
    assert set(refused["_raw"]) == {ERASED_LINE}
    assert len(refused) == OWN_LINES
    # The landing zone is its owner's: there the file is as it came.
    assert where_the_person_is(settings) == ["landing/z-again.json"]
    assert churn("verify", "--deep").exit_code == 0
    assert versions[str(EVENTS)] == DeltaTable(location(settings, EVENTS)).version()


def test_the_receipt_says_what_went_and_not_of_whom(settings: Settings, churn: Churn) -> None:
    churn("forget", "--user-id", PERSON, "--yes")

    folder = settings.lake_root / "erasures"
    (receipt,) = folder.glob("*.json")
    said = json.loads(receipt.read_text())
    assert said["users"] == 1
    # By number and by source id.
    assert len(said["hashes"]) == 2
    assert said["removed"]["raw_catalog.landing.events"] == OWN_LINES + 5
    assert said["removed"]["main_catalog.clean.events"] == OWN_LINES + 2
    assert said["removed"]["main_catalog.clean.quarantined_events"] == 2
    assert said["removed"]["lines of event files"] == OWN_LINES + 5
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {receipt.name: 0o600, "key": 0o600}


def test_a_dry_run_and_an_unknown_user_change_nothing(settings: Settings, churn: Churn) -> None:
    def state() -> dict[str, int]:
        files = (
            path
            for path in settings.lake_root.rglob("*")
            if path.is_file() and path.suffix in {".json", ".parquet", ".npy"}
        )
        return {str(path): path.stat().st_mtime_ns for path in files}

    before = state()
    dry = churn("forget", "--user-id", PERSON, "--dry-run")
    unknown = churn("forget", "--user-id", 99999999)
    unasked = churn("forget", "--user-id", PERSON)

    assert dry.exit_code == 0
    assert f"{OWN_LINES + 5}  raw_catalog.landing.events" in dry.out
    assert dry.out.endswith("Nothing was changed.\n")
    assert unknown.exit_code == 1
    assert unknown.reason.startswith("churn: Nothing of this user was found in")
    assert "give --yes" in unasked.reason
    assert state() == before


def test_event_files_stay_where_they_are_only_to_be_listed(
    settings: Settings, churn: Churn, monkeypatch
) -> None:
    monkeypatch.setenv("CHURN_FORGET_LANDING", "list")

    answer = churn("forget", "--user-id", PERSON, "--yes")

    assert "3 event files keep their lines (a-bad.json, a-mixed.json.gz, a-own.json)" in answer.out
    assert where_the_person_is(settings) == [
        "landing/a-bad.json",
        "landing/a-mixed.json.gz",
        "landing/a-own.json",
    ]
    assert churn("verify", "--deep").exit_code == 0


def test_users_of_a_file_are_forgotten_together(settings: Settings, churn: Churn) -> None:
    wanted = settings.lake_root.parent / "wanted.csv"
    wanted.write_text(f"source_user_id,user_id\n{SOURCE},\n,1\n")

    answer = churn("forget", "--users", wanted, "--yes")

    wanted.unlink()
    assert answer.exit_code == 0
    assert where_the_person_is(settings) == []
    assert not {1, PERSON} & set(rows(settings, USERS)["user_id"])
    wanted.write_text("user_id\n007\n")
    refused = churn("forget", "--users", wanted, "--yes")
    assert (
        refused.reason
        == f"churn: {wanted}, line 2: 007 is no user_id, which is a whole number. Nothing was changed."
    )


# Before the first table, in the middle of the tables, and after all of them.
@pytest.mark.slow
@pytest.mark.parametrize("step", ["models' examples", "quarantined_events", "online features"])
def test_an_erasure_that_was_killed_is_finished_and_nothing_runs_before(
    settings: Settings, churn: Churn, step: str
) -> None:
    with at_work(settings, "forget", "--user-id", str(PERSON), "--yes") as command:
        # After the last step of the plan come those of what is done.
        wait_until(lambda: step in command.said().partition("histories, logs and pages")[2], command)
        command.kill()
    assert list((settings.lake_root / "erasures").glob("*.unfinished"))

    assert churn("run").reason == "churn: An erasure was interrupted. Finish it first: churn forget --finish"
    assert churn("forget", "--user-id", 1, "--yes").reason == churn("run").reason
    assert "erasures: one was interrupted" in churn("verify").out
    answer = churn("forget", "--finish")

    assert answer.exit_code == 0
    assert where_the_person_is(settings) == []
    (receipt,) = (settings.lake_root / "erasures").glob("*.json")
    assert json.loads(receipt.read_text())["removed"]["main_catalog.clean.events"] == OWN_LINES + 2
    assert [said for said in churn("verify", "--deep").out.splitlines() if not said.startswith("ok")] == []
    assert churn("forget", "--finish").out == "No erasure is unfinished.\n"


@pytest.mark.slow
def test_nor_does_a_history_in_postgresql_name_who_was_forgotten(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_in(tmp_path).model_copy(
        update={"database_url": database_url, "mlflow_tracking_uri": ""}
    )
    landing = Path(settings.landing_root)
    landing.mkdir(parents=True)
    land_others(landing)
    land_the_person(landing)
    with mlflow_state_as_it_was():
        churn = churn_on(settings, monkeypatch, capsys)
        # A secret is not handed on by settings.
        monkeypatch.setenv("CHURN_DATABASE_URL", database_url)
        assert churn("run").exit_code == 0
        before = json.loads(churn("status", "--json").out)["freshness"]
        assert str(PERSON) in dumped(database_url)

        answer = churn("forget", "--user-id", PERSON, "--yes")

        assert (answer.exit_code, answer.reason) == (0, "")
        assert "Note: PostgreSQL's write-ahead log" in answer.out
        assert str(PERSON) not in dumped(database_url)
        assert where_the_person_is(settings) == []
        assert json.loads(churn("status", "--json").out)["freshness"] == before
        assert churn("verify", "--deep").exit_code == 0


def dumped(url: str) -> str:
    """All that a database holds, as its own program writes it down."""
    folder = programs()
    assert folder
    return subprocess.run([folder / "pg_dump", url], capture_output=True, text=True, check=True).stdout


def test_nobody_is_forgotten_while_a_run_is_at_work(settings: Settings, churn: Churn) -> None:
    from churn_assets.automation.history.lake_lock import LakeLock

    with LakeLock(settings, None):
        answer = churn("forget", "--user-id", PERSON, "--yes")

    assert answer.reason.startswith("churn: Another churn run is at work on this lake.")
    assert np.isin(PERSON, rows(settings, USERS)["user_id"])
