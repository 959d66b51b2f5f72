"""Each file exactly once, whatever dies in between."""

import datetime as dt
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from churn_assets.errors import LakeError, LandingError
from churn_assets.lakehouse import file_ledger, ingestion
from churn_assets.lakehouse.file_ledger import append_new_files
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.landing_lines import read_rows
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, Table
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.rows import frame

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def at_noon() -> dt.datetime:
    return NOON


def land(lake: FolderLakehouse, name: str, *ids: str) -> None:
    target = Path(lake.settings.landing_root) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f'{{"event_id":"{event_id}","user_id":1}}\n' for event_id in ids))


def bronze(lake: FolderLakehouse) -> list[tuple[str, str]]:
    rows = lake.read(LANDED_EVENTS).select("_source_file", "event_id").collect()
    return sorted((row[0], row[1]) for row in rows)


def test_a_file_is_taken_in_once_however_often_one_asks(lake: FolderLakehouse) -> None:
    land(lake, "day1.json", "a", "b")

    first = ingestion.ingest(lake, at_noon)
    again = ingestion.ingest(lake, at_noon)

    assert (first.files, again.files, again.write) == (1, 0, None)
    assert bronze(lake) == [("day1.json", "a"), ("day1.json", "b")]


def test_new_files_join_the_old_ones_in_one_commit(lake: FolderLakehouse) -> None:
    land(lake, "day1.json", "a")
    ingestion.ingest(lake, at_noon)
    version = lake.version(LANDED_EVENTS)
    land(lake, "day2.json", "b")
    land(lake, "more/day2.json", "c")

    ingestion.ingest(lake, at_noon)

    assert bronze(lake) == [("day1.json", "a"), ("day2.json", "b"), ("more/day2.json", "c")]
    assert lake.version(LANDED_EVENTS) == version + 1


def test_each_ingestion_is_later_than_the_last_even_if_the_clock_steps_back(lake: FolderLakehouse) -> None:
    land(lake, "day1.json", "a")
    ingestion.ingest(lake, at_noon)
    land(lake, "day2.json", "b")

    ingestion.ingest(lake, lambda: NOON - dt.timedelta(hours=3))

    rows = lake.read(LANDED_EVENTS).selectExpr("event_id", "unix_micros(_ingested_at)").collect()
    micros = {row[0]: row[1] for row in rows}
    assert micros["b"] == micros["a"] + 1


def test_a_death_before_the_commit_leaves_nothing_and_the_next_ingestion_has_it_all(
    lake: FolderLakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake, "day1.json", "a")
    ingestion.ingest(lake, at_noon)
    land(lake, "day2.json", "b")

    def dies(*_: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(lake, "write", dies)
        with pytest.raises((OSError, StreamingQueryException), match="the disk is gone"):
            ingestion.ingest(lake, at_noon)
    assert bronze(lake) == [("day1.json", "a")]

    ingestion.ingest(lake, at_noon)
    assert bronze(lake) == [("day1.json", "a"), ("day2.json", "b")]


def test_a_lost_checkpoint_doubles_nothing(lake: FolderLakehouse) -> None:
    land(lake, "day1.json", "a")
    ingestion.ingest(lake, at_noon)
    shutil.rmtree(lake.settings.lake_root / "_checkpoints", ignore_errors=True)
    land(lake, "day2.json", "b")

    ingestion.ingest(lake, at_noon)

    assert bronze(lake) == [("day1.json", "a"), ("day2.json", "b")]


def test_what_another_deployment_took_in_is_not_taken_in_again(lake: FolderLakehouse) -> None:
    land(lake, "day1.json", "a")
    root = lake.settings.landing_root
    append_new_files(lake, {"day1.json"}, lambda new: read_rows(lake.spark, root, new), at_noon)

    assert ingestion.ingest(lake, at_noon).files == 0


def test_no_landing_zone_and_an_empty_one_are_one_line_each(lake: FolderLakehouse) -> None:
    with pytest.raises(LandingError, match="does not exist"):
        ingestion.ingest(lake, at_noon)

    land(lake, "readme.txt", "x")
    with pytest.raises(
        LandingError, match=r"holds no event files \(1 others: readme.txt\): expected names that end in .json"
    ):
        ingestion.ingest(lake, at_noon)


def test_a_landing_zone_that_was_cleared_after_ingestion_is_fine(lake: FolderLakehouse) -> None:
    land(lake, "day1.json", "a")
    ingestion.ingest(lake, at_noon)
    (Path(lake.settings.landing_root) / "day1.json").unlink()

    assert ingestion.ingest(lake, at_noon).files == 0


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    boto3.client("s3").create_bucket(Bucket="events")
    yield "events"
    server.stop()


def test_a_bucket_is_a_landing_zone_too(
    bucket: str, make_settings: MakeSettings, spark: SparkSession, deployment: str
) -> None:
    if deployment == "spark":
        pytest.skip("s3:// is for local; Apache Spark reads buckets through its own connectors")
    import boto3

    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key="landing/day1.json", Body=b'{"event_id":"a","user_id":1}\n')
    client.put_object(Bucket=bucket, Key="landing/sub/day2.json", Body=b'{"event_id":"b","user_id":1}\n')
    lake = FolderLakehouse(make_settings(landing_root="s3://events/landing"), lambda: spark)

    first = ingestion.ingest(lake, at_noon)
    client.put_object(Bucket=bucket, Key="landing/day3.json", Body=b'{"event_id":"c","user_id":1}\n')
    second = ingestion.ingest(lake, at_noon)

    assert (first.files, second.files) == (2, 1)
    assert bronze(lake) == [("day1.json", "a"), ("day3.json", "c"), ("sub/day2.json", "b")]


def test_ten_small_files_are_each_there_once(lake: FolderLakehouse) -> None:
    for number in range(10):
        land(lake, f"{number}.json", *(f"{number}-{line}" for line in range(3)))

    ingestion.ingest(lake, at_noon)

    assert Counter(name for name, _ in bronze(lake)) == {f"{number}.json": 3 for number in range(10)}


# One file never stops the others.


def test_a_file_that_cannot_be_read_is_named_the_rest_is_taken_in_and_it_is_tried_again(
    lake: FolderLakehouse,
) -> None:
    land(lake, "a.json", "a")
    land(lake, "z.json", "z")
    bad = Path(lake.settings.landing_root) / "bad.json"
    # It can be opened, and its first byte is an input/output error, for root too.
    bad.symlink_to("/proc/self/mem")

    first = ingestion.ingest(lake, at_noon)
    again = ingestion.ingest(lake, at_noon)
    bad.unlink()
    land(lake, "bad.json", "b")
    mended = ingestion.ingest(lake, at_noon)

    assert first.left_out == again.left_out == {"bad.json": "cannot be read: Input/output error"}
    assert (first.files, again.files, mended.files, mended.left_out) == (2, 0, 1, {})
    assert bronze(lake) == [("a.json", "a"), ("bad.json", "b"), ("z.json", "z")]


def test_a_file_that_only_a_worker_cannot_read_is_left_out_as_well(
    lake: FolderLakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        land(lake, f"{number}.json", f"e{number}")
    for name in ("bad.json", "worse.json.gz"):
        (Path(lake.settings.landing_root) / name).symlink_to(
            "/proc/self/mem" if name == "bad.json" else "bad.json"
        )
    # What is asked before anything is read.
    monkeypatch.setattr(file_ledger, "unreadable", lambda *_: {})

    done = ingestion.ingest(lake, at_noon)

    assert done.files == 3
    assert list(done.left_out) == ["bad.json"]
    assert "rror" in done.left_out["bad.json"]
    assert [name for name, _ in bronze(lake)] == ["0.json", "1.json", "2.json"]


def test_odd_entries_stop_nothing(lake: FolderLakehouse) -> None:
    land(lake, "a.json", "a")
    root = Path(lake.settings.landing_root)
    (root / os.fsdecode(b"caf\xe9.json")).write_text("{}")
    (root / "gone.json").symlink_to("nowhere")
    os.mkfifo(root / "pipe.json")
    (root / "folder.json").mkdir()

    done = ingestion.ingest(lake, at_noon)

    assert bronze(lake) == [("a.json", "a")]
    assert sorted(done.left_out) == ["caf\\xe9.json", "folder.json", "gone.json", "pipe.json"]


# Names of files.


def test_old_lakes_take_in_what_they_passed_over_for_its_suffix_once(lake: FolderLakehouse) -> None:
    land(lake, "a.json", "a")
    ingestion.ingest(lake, at_noon)
    week_ago = at_noon().timestamp() - 30 * 86400
    for name in ("b.jsonl", "C.JSON", "d.ndjson"):
        land(lake, name, name)
        # Spark's file stream passes over what is a week older than the newest that it has seen.
        os.utime(Path(lake.settings.landing_root) / name, (week_ago, week_ago))

    first, again = ingestion.ingest(lake, at_noon), ingestion.ingest(lake, at_noon)

    assert (first.files, again.files) == (3, 0)
    assert [name for name, _ in bronze(lake)] == ["C.JSON", "a.json", "b.jsonl", "d.ndjson"]


def test_a_loop_of_links_multiplies_no_row(lake: FolderLakehouse) -> None:
    land(lake, "sub/a.json", "a", "b")
    root = Path(lake.settings.landing_root)
    for name in ("up", "also up"):
        (root / "sub" / name).symlink_to(root)

    done = ingestion.ingest(lake, at_noon)

    assert done.left_out == {}
    assert bronze(lake) == [("sub/a.json", "a"), ("sub/a.json", "b")]


def test_a_link_to_a_sibling_multiplies_no_row(lake: FolderLakehouse) -> None:
    land(lake, "sub/a.json", "a")
    (Path(lake.settings.landing_root) / "again").symlink_to("sub")

    ingestion.ingest(lake, at_noon)

    assert bronze(lake) == [("sub/a.json", "a")]


def test_a_file_that_was_taken_in_by_a_link_is_not_taken_in_by_another_one(
    lake: FolderLakehouse, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.json").write_text('{"event_id":"x"}\n')
    root = Path(lake.settings.landing_root)
    root.mkdir()
    (root / "link").symlink_to(elsewhere)
    ingestion.ingest(lake, at_noon)

    # Names that come before it now.
    (root / "a").symlink_to(elsewhere)
    (root / "a.json").hardlink_to(elsewhere / "x.json")
    again = ingestion.ingest(lake, at_noon)

    assert again.files == 0
    assert bronze(lake) == [("link/x.json", "x")]


# Lines.


def test_a_line_that_is_too_long_is_one_corrupt_row(lake: FolderLakehouse) -> None:
    short = lake.settings.model_copy(update={"max_line_megabytes": 1})
    lake = FolderLakehouse(short, lambda spark=lake.spark: spark)
    land(lake, "a.json", "a", "x" * 2**20, "b")

    ingestion.ingest(lake, at_noon)

    rows = lake.read(LANDED_EVENTS).select("event_id", "_corrupt_record").collect()
    assert sorted((row[0] or "", (row[1] or "")[:24]) for row in rows) == [
        ("", "[line of 1,048,603 bytes"),
        ("a", ""),
        ("b", ""),
    ]


# The clock.


def test_a_ledger_ahead_of_the_clock_is_said_and_both_times_are_kept(lake: FolderLakehouse) -> None:
    land(lake, "day1.json", "a")
    ahead = ingestion.ingest(lake, lambda: NOON + dt.timedelta(days=400))
    land(lake, "day2.json", "b")

    done = ingestion.ingest(lake, at_noon)

    assert (ahead.ahead, done.ahead) == (dt.timedelta(), dt.timedelta(days=400))
    rows = lake.read(LANDED_EVENTS).selectExpr(
        "event_id", "unix_micros(_ingested_at) - unix_micros(_clock_at)", "unix_micros(_clock_at)"
    )
    behind = 400 * 86400 * 1_000_000 + 1
    assert sorted(tuple(row) for row in rows.collect())[1] == ("b", behind, int(NOON.timestamp() * 1e6))
    assert file_ledger.ahead_of(lake, NOON) == dt.timedelta(days=400, microseconds=1)
    assert file_ledger.ahead_of(lake, NOON + dt.timedelta(days=401)) == dt.timedelta()


# Bronze lost.


@pytest.mark.parametrize("stands", [EVENTS, QUARANTINED_EVENTS], ids=lambda table: table.name)
def test_without_bronze_nothing_is_taken_in_where_what_was_made_of_it_stands(
    lake: FolderLakehouse, spark: SparkSession, stands: Table
) -> None:
    land(lake, "day1.json", "a")
    row = {
        EVENTS: ("a", 1, NOON, NOON.date(), None, None, NOON),
        QUARANTINED_EVENTS: ("corrupt", None, "x", "day1.json", 1, NOON, NOON.date()),
    }[stands]
    lake.write(stands, frame(spark, stands, [row]))

    with pytest.raises(
        LakeError,
        match=rf"Bronze, .*, holds no line, and {lake.table_name(stands)} 1 rows that .* Restore it",
    ):
        ingestion.ingest(lake, at_noon)

    assert lake.version(LANDED_EVENTS) == -1
