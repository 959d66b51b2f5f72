"""A user who is forgotten is in no object of a lake's bucket, and in no version of one that it has kept."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from churn_assets.lakehouse.file_ledger import append_new_files
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_lines import read_rows
from churn_assets.model.registry import shared_database
from churn_assets.serving import shared_store
from churn_assets.serving.endpoint import online_folder
from churn_assets.serving.features import online_store
from churn_assets.settings import Settings
from churn_assets.tables import (
    ERASED_LINE,
    EVENTS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    TABLES,
    USERS,
    Table,
)
from churn_assets_tests.buckets import BucketServer, Fault
from churn_assets_tests.conftest import bucket_settings
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, HORIZON, Frame
from churn_assets_tests.end_to_end.person import (
    OWN_LINES,
    PERSON,
    SOURCE,
    files_of_the_person,
    land_others,
    land_the_person,
    names_the_person,
)
from churn_assets_tests.forked import at_work, wait_until
from churn_assets_tests.in_process import Churn, churn_on
from churn_assets_tests.model.conftest import mlflow_state_as_it_was
from churn_assets_tests.rows import frame, utc

pytestmark = pytest.mark.usefixtures("on_sail")

AT = utc(2026, 2, 1)


class Place(NamedTuple):
    """A lake in a bucket, and the folder with what it has on this machine."""

    settings: Settings
    server: BucketServer
    folder: Path

    def where_the_person_is(self) -> set[str]:
        """Objects with a version that names them, uploads that nobody has finished, and files."""
        root = str(self.settings.lake_root)
        kept = self.server.versions(root).items()
        found = {name for (name, _), content in kept if names_the_person(name, content)}
        return {*found, *self.server.uploads(root), *files_of_the_person(self.folder)}

    def rows(self, table: Table) -> Frame:
        """The rows of a table, in one order."""
        found = DeltaTable(self.location(table)).to_pyarrow_table(columns=table.column_names)
        return found.sort_by([(name, "ascending") for name in table.column_names]).to_pandas()

    def version(self, table: Table) -> int:
        return DeltaTable(self.location(table)).version()

    def location(self, table: Table) -> Path:
        return self.settings.lake_root / table.catalog / table.schema / table.name

    def tables(self) -> list[Table]:
        return [table for table in TABLES if self.location(table).exists()]


@pytest.fixture
def place(bucket_uri: str, bucket_server: BucketServer, tmp_path: Path) -> Place:
    bucket_server.keep_versions(bucket_uri)
    return made_place(bucket_uri, bucket_server, tmp_path)


def made_place(uri: str, server: BucketServer, folder: Path) -> Place:
    machine = folder / "machine"
    settings = bucket_settings(
        uri, machine, start_date=FIRST_DAY, horizon_days=HORIZON, dagster_home=machine / "state" / "dagster"
    )
    settings.local_root.mkdir(parents=True)
    return Place(settings, server, machine)


@pytest.fixture
def churn(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Churn]:
    with mlflow_state_as_it_was():
        yield churn_on(place.settings, monkeypatch, capsys)


def land(place: Place, scratch: Path) -> None:
    """Event files with the person in three, one of which has had another content."""
    scratch.mkdir()
    land_the_person(scratch)
    landing = place.settings.lake_root / "landing" / "events"
    for file in sorted(scratch.iterdir()):
        (landing / file.name).write_bytes(file.read_bytes())
    (landing / "b-other.json").write_bytes((scratch / "a-own.json").read_bytes())
    (landing / "b-other.json").write_bytes(b'{"event_id": "x", "user_id": 3}\n')


def publish(place: Place, *users: int) -> None:
    made = online_store.publish(
        online_folder(place.settings), users, [[1.0]] * len(users), ["event_count_30d"], FIRST_DAY, 1
    )
    shared_store.share(place.settings, made.version)


def leave_around(place: Place, server: BucketServer) -> None:
    """What runs, servers, repairs and killed writers leave of the person."""
    root, local = place.settings.lake_root, place.settings.local_root
    publish(place, 1, 2, PERSON)
    publish(place, 1, PERSON)
    (root / "sample" / "truth.csv").write_text(f"user_id,churned\n1,0\n{PERSON},1\n")
    (root / "reports" / "model-1.html").write_text(f"<td>user_id: {PERSON}</td>")
    (root / "main_catalog" / "gold" / ".users.damaged-1" / "part.json").write_text(SOURCE)
    (local / "logs").mkdir(exist_ok=True)
    (local / "logs" / "churn.log").write_text(f"Row of user_id {PERSON}: {SOURCE}\n")
    server.begin_upload(f"{root}/landing/events/c.json", SOURCE.encode())


def keep_in_free_pages(place: Place, new_database: Path) -> None:
    """Let MLflow's database, here and in the bucket, have the person where no row says it any more."""
    folder = place.settings.mlflow_folder
    folder.mkdir()
    shutil.copy(new_database, folder)
    with closing(sqlite3.connect(folder / "mlflow.db", isolation_level=None)) as database:
        # So that making it anew changes no row's place, by which its copy would look like another.
        database.execute("VACUUM")
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("INSERT INTO experiments (name, workspace) VALUES (?, 'default')", (SOURCE,))
        database.execute("DELETE FROM experiments WHERE name = ?", (SOURCE,))
    shared_database.send(place.settings)


@pytest.fixture
def small(place: Place, spark: SparkSession, tmp_path: Path, new_database: Path) -> Place:
    """A lake with Bronze, an event and a user, twice as many versions, and what is left around."""
    land(place, tmp_path / "scratch")
    lake, root = FolderLakehouse(place.settings, lambda: spark), place.settings.landing_root
    append_new_files(
        lake, set(list_files(root).files), lambda names: read_rows(spark, root, names), lambda: AT
    )
    users = [(user, FIRST_DAY, FIRST_DAY, "DE", source) for user, source in ((1, None), (PERSON, SOURCE))]
    for many in (1, 2):
        lake.write(USERS, frame(spark, USERS, users[:many]))
    moment = utc(2026, 1, 1, 8)
    events = [(f"own-{user}", user, moment, FIRST_DAY, "purchase", "DE", AT, SOURCE) for user in (1, PERSON)]
    lake.write(EVENTS, frame(spark, EVENTS, [event[:-1] for event in events]))
    lake.read(QUARANTINED_EVENTS)
    leave_around(place, place.server)
    keep_in_free_pages(place, new_database)
    return place


def test_no_version_of_any_object_names_who_was_forgotten_and_nothing_is_begun_where_one_would(
    small: Place, churn: Churn
) -> None:
    before = small.where_the_person_is()
    named = {"landing", "raw_catalog", "main_catalog", "serving", "sample", "reports", "mlflow"}
    assert named <= {name.split("/")[1] for name in before if name.startswith("lake/")}
    assert "lake/landing/events/b-other.json" in before
    assert "lake/landing/events/c.json" in before
    assert "state/logs/churn.log" in before
    small.server.fail(Fault("POST", "", status=403, times=99))
    refused = churn("forget", "--user-id", PERSON, "--yes")
    small.server.fail()
    assert refused.exit_code == 1
    assert "answers DeleteObjects with AccessDenied. To remove what a bucket keeps" in refused.reason
    assert "\n" not in refused.reason
    assert list((small.settings.lake_root / "erasures").glob("*.unfinished")) == []
    assert small.where_the_person_is() == before

    answer = churn("forget", "--source-user-id", SOURCE, "--yes")

    assert (answer.exit_code, answer.reason) == (0, "")
    assert small.where_the_person_is() == set()
    assert small.server.marks(str(small.settings.lake_root)) == []
    assert "Note: other machines that have run or served this lake keep" in answer.out
    assert small.rows(USERS)["user_id"].tolist() == small.rows(EVENTS)["user_id"].tolist() == [1]
    emptied = small.rows(LANDED_EVENTS).query("_raw == @ERASED_LINE")
    assert emptied["_source_file"].tolist() == ["a-own.json"]
    published = online_store.OnlineStore(online_folder(small.settings)).snapshot()
    assert published
    assert published.user_ids.tolist() == [1]
    (receipt,) = (small.settings.lake_root / "erasures").glob("*.json")
    said = json.loads(receipt.read_text())
    assert (said["users"], len(said["hashes"])) == (1, 2)
    assert said["removed"]["raw_catalog.landing.events"] == OWN_LINES + 5
    assert said["removed"]["lines of event files"] == OWN_LINES + 5
    assert SOURCE not in str(said)


@pytest.mark.slow
def test_a_dry_run_changes_nothing_and_counts_what_the_bucket_keeps(small: Place, churn: Churn) -> None:
    before = small.server.versions(str(small.settings.lake_root))

    answer = churn("forget", "--user-id", PERSON, "--dry-run")

    assert answer.out.endswith("Nothing was changed.\n")
    assert "older versions, marks of deletions and unfinished uploads in the bucket" in answer.out
    after = small.server.versions(str(small.settings.lake_root))
    assert {name for name, _ in after.keys() ^ before.keys()} <= {"lake/.locks/churn-run.lease"}


@pytest.fixture
def whole(place: Place, churn: Churn, tmp_path: Path) -> Place:
    """A lake that has run twice over 40 users and the person."""
    land_others(place.settings.landing_root, tmp_path)
    assert churn("run").exit_code == 0
    land(place, tmp_path / "scratch")
    assert churn("run").exit_code == 0
    leave_around(place, place.server)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("keeps_versions", [True, False])
def test_of_a_whole_lake_the_rest_is_as_it_was(
    place: Place, churn: Churn, request: pytest.FixtureRequest, *, keeps_versions: bool
) -> None:
    if not keeps_versions:
        client, name = place.server.client(), str(place.settings.lake_root).split("/")[2]
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    request.getfixturevalue("whole")
    before = {table: place.rows(table) for table in place.tables()}
    status = json.loads(churn("status", "--json").out)
    assert "state/dagster/history/runs/index.db" in place.where_the_person_is()

    answer = churn("forget", "--source-user-id", SOURCE, "--yes")

    assert (answer.exit_code, answer.reason) == (0, "")
    assert place.where_the_person_is() == set()
    for table in before.keys() - {LANDED_EVENTS, QUARANTINED_EVENTS}:
        then = before[table]
        left = then[then["user_id"] != PERSON] if "user_id" in then else then
        pd.testing.assert_frame_equal(place.rows(table), left.reset_index(drop=True), obj=str(table))
    after = json.loads(churn("status", "--json").out)
    assert after["freshness"] == status["freshness"]
    deep = churn("verify", "--deep")
    assert [said for said in deep.out.splitlines() if not said.startswith("ok")] == []

    version = place.version(EVENTS)
    refused_before = len(place.rows(QUARANTINED_EVENTS).query("reason == 'erased_user'"))
    landing = place.settings.lake_root / "landing" / "events"
    (landing / "z-again.json").write_text(f'{{"event_id": "again", "user_id": {PERSON}}}\n')
    assert churn("run").exit_code == 0
    refused = place.rows(QUARANTINED_EVENTS).query("reason == 'erased_user'")
    assert len(refused) == refused_before + 1
    assert set(refused["_raw"]) == {ERASED_LINE}
    assert place.where_the_person_is() == {"lake/landing/events/z-again.json"}
    assert place.version(EVENTS) == version


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", ["models' examples", "quarantined_events", "online features", "what is left"]
)
def test_an_erasure_that_was_killed_is_finished_by_the_next_command(
    small: Place, churn: Churn, bucket_server: BucketServer, step: str
) -> None:
    command = ("forget", "--source-user-id", SOURCE, "--yes")
    with at_work(small.settings, *command, variables=bucket_server.environment()) as erasing:
        # After the last step of the plan come those of what is done.
        wait_until(lambda: step in erasing.said().partition("what the bucket keeps")[2], erasing)
        erasing.kill()
    assert list((small.settings.lake_root / "erasures").glob("*.unfinished"))

    assert churn("run").reason == "churn: An erasure was interrupted. Finish it first: churn forget --finish"
    answer = churn("forget", "--finish")

    assert (answer.exit_code, answer.reason) == (0, "")
    assert small.where_the_person_is() == set()
    (receipt,) = (small.settings.lake_root / "erasures").glob("*.json")
    assert json.loads(receipt.read_text())["removed"]["main_catalog.clean.events"] == 1
    assert churn("forget", "--finish").out == "No erasure is unfinished.\n"
