"""Ingestion by Auto Loader: each file exactly once, and the lines that the other ways of ingestion read."""

import datetime as dt
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from churn_assets.errors import ContractError, LakeError, LandingError
from churn_assets.lakehouse import file_stream
from churn_assets.lakehouse.file_ledger import ahead_of
from churn_assets.lakehouse.file_stream import relative
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.ingestion import ingest
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.tables import FOUND_FILES, LANDED_EVENTS, QUARANTINED_EVENTS
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.lakehouse.conftest import Cluster
from churn_assets_tests.rows import frame, rows_of

ROOT = "/Volumes/raw_catalog/landing/files/events"
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def at_noon() -> dt.datetime:
    return NOON


@pytest.fixture
def zone(cluster: Cluster) -> Path:
    """The landing zone's real folder; the volumes are new."""
    unity = cluster.engine.unity
    shutil.rmtree(unity.folder / "Volumes", ignore_errors=True)
    for volume in ("raw_catalog.landing.files", "main_catalog.gold.churn"):
        cluster.session.sql(f"CREATE VOLUME {volume}")
    folder = unity.local(ROOT)
    folder.mkdir()
    return folder


@pytest.fixture
def unity(cluster: Cluster, zone: Path, make_settings: MakeSettings) -> UnityLakehouse:
    return UnityLakehouse(make_settings(deployment="databricks", landing_root=ROOT), lambda: cluster.session)


def land(zone: Path, name: str, *ids: str) -> None:
    target = zone / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f'{{"event_id":"{event_id}","user_id":1}}\n' for event_id in ids))


def bronze(lake: Lakehouse) -> list[tuple[Any, ...]]:
    return rows_of(lake.read(LANDED_EVENTS), "_source_file", "event_id")


def test_a_file_is_taken_in_once_however_often_one_asks(unity: UnityLakehouse, zone: Path) -> None:
    land(zone, "day1.json", "a", "b")

    first = ingest(unity, at_noon)
    again = ingest(unity, at_noon)

    assert (first.files, again.files, again.write) == (1, 0, None)
    assert bronze(unity) == [("day1.json", "a"), ("day1.json", "b")]


def test_new_files_in_subfolders_join_the_old_ones(unity: UnityLakehouse, zone: Path) -> None:
    land(zone, "day1.json", "a")
    ingest(unity, at_noon)
    land(zone, "more files/day2.json", "b")

    ingest(unity, at_noon)

    assert bronze(unity) == [("day1.json", "a"), ("more files/day2.json", "b")]


def test_its_rows_are_those_of_a_lake_that_lists_its_files(
    unity: UnityLakehouse, zone: Path, make_settings: MakeSettings, spark: Any
) -> None:
    whole = gzip.compress(b"".join(b'{"event_id":"%d"}\n' % number for number in range(50_000)))
    for name, content in {
        "plain.json": b'{"event_id":"a","user_id":1,"mood":"good"}\n\n{"event_id":',
        "packed.json.gz": gzip.compress(b'{"event_id":"b"}\r\nnot json\n'),
        "damaged.json": b'{"event_id":"caf\xe9"}\n\xff\xfe\n{"event_id":"c"}',
        "cut off.json.gz": whole[: len(whole) // 2],
        "empty.json": b"",
        "UPPER.JSON": b'{"event_id":"u"}\n',
        "lines.jsonl": b'{"event_id":"jl"}\n',
        "Lines.NdJson.GZ": gzip.compress(b'{"event_id":"nd"}\n'),
        "sub/no gzip.json.gz": b"plain\n",
        "notes.txt": b"ignored",
        "_unfinished.json": b'{"event_id":"ignored"}\n',
        ".hidden/x.json": b'{"event_id":"ignored"}\n',
    }.items():
        (zone / name).parent.mkdir(exist_ok=True)
        (zone / name).write_bytes(content)
    listing = FolderLakehouse(make_settings(landing_root=str(zone)), lambda: spark)

    ours, theirs = ingest(unity, at_noon), ingest(listing, at_noon)

    assert rows_of(unity.read(LANDED_EVENTS)) == rows_of(listing.read(LANDED_EVENTS))
    assert (ours.files, ours.ignored) == (theirs.files, None) == (9, None)
    assert ours.write is not None
    assert theirs.write is not None
    assert (ours.write.rows, ours.write.rows_by_partition) == (
        theirs.write.rows,
        theirs.write.rows_by_partition,
    )


def test_a_lost_checkpoint_doubles_nothing(unity: UnityLakehouse, zone: Path, cluster: Cluster) -> None:
    land(zone, "day1.json", "a")
    ingest(unity, at_noon)
    checkpoint = cluster.engine.unity.local(unity.checkpoint(FOUND_FILES))
    assert list((checkpoint / "commits").iterdir()) != []
    shutil.rmtree(checkpoint)
    land(zone, "day2.json", "b")

    again = ingest(unity, at_noon)

    assert again.files == 1
    assert bronze(unity) == [("day1.json", "a"), ("day2.json", "b")]


@pytest.mark.parametrize("dies", ["before the commit", "between commit and checkpoint"])
def test_a_death_loses_nothing_and_doubles_nothing(
    unity: UnityLakehouse, zone: Path, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    land(zone, "day1.json", "a")
    write: Callable[..., object] = unity.write

    def fails(*arguments: Any) -> None:
        if dies == "between commit and checkpoint":
            write(*arguments)
        raise OSError("the driver is gone")

    with monkeypatch.context() as broken:
        broken.setattr(unity, "write", fails)
        with pytest.raises(Exception, match="the driver is gone"):
            ingest(unity, at_noon)
    assert bronze(unity) == ([] if dies == "before the commit" else [("day1.json", "a")])

    ingest(unity, at_noon)
    assert bronze(unity) == [("day1.json", "a")]


def test_a_file_that_is_gone_before_it_is_read_is_said_once_and_keeps_no_other_out(
    unity: UnityLakehouse, zone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.json", "[b] {1}*.json", "c.json"):
        land(zone, name, name)
    find = unity.append_stream

    def find_and_lose(*arguments: Any) -> None:
        find(*arguments)
        (zone / "a.json").unlink()

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(unity, "append_stream", find_and_lose)
        ingestion = ingest(unity, at_noon)
    again = ingest(unity, at_noon)

    assert (ingestion.files, dict(ingestion.left_out)) == (
        2,
        {"a.json": "cannot be read: it is no longer there"},
    )
    assert bronze(unity) == [("[b] {1}*.json", "[b] {1}*.json"), ("c.json", "c.json")]
    assert (again.files, again.left_out) == (0, {})


def test_a_file_too_large_to_be_read_whole_is_said_and_keeps_no_other_out(
    unity: UnityLakehouse, zone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_stream, "MOST_BYTES_A_FILE", 40)
    land(zone, "small.json", "a")
    land(zone, "large.json", "b", "c")

    ingestion = ingest(unity, at_noon)

    assert bronze(unity) == [("small.json", "a")]
    assert ingestion.left_out == {
        "large.json": "cannot be read: it has 58 bytes, and is read whole: 40 are the most; split it"
    }


def test_what_was_found_waits_only_until_bronze_has_it(unity: UnityLakehouse, zone: Path) -> None:
    land(zone, "day1.json", "a")
    ingest(unity, at_noon)

    assert unity.version(FOUND_FILES) > 0
    assert rows_of(unity.read(FOUND_FILES)) == []


def test_more_files_than_a_batch_holds_are_one_report(unity: UnityLakehouse, zone: Path) -> None:
    for number in range(1001):
        land(zone, f"{number}.json", f"e{number}")

    ingestion = ingest(unity, at_noon)

    assert ingestion.files == 1001
    assert ingestion.write is not None
    assert (ingestion.write.version, ingestion.write.rows) == (2, 1001)
    assert ingestion.write.rows_by_partition == {NOON.date(): 1001}
    assert unity.partition_rows(LANDED_EVENTS) == {NOON.date(): 1001}


def test_no_landing_zone_and_an_empty_one_are_one_line_each(unity: UnityLakehouse, zone: Path) -> None:
    with pytest.raises(LandingError, match=f"{ROOT} holds no event files: expected names"):
        ingest(unity, at_noon)

    zone.rmdir()
    with pytest.raises(LandingError, match=f"{ROOT} does not exist.*CHURN_LANDING_ROOT"):
        ingest(unity, at_noon)


def test_a_landing_zone_that_was_cleared_after_ingestion_is_fine(unity: UnityLakehouse, zone: Path) -> None:
    land(zone, "day1.json", "a")
    ingest(unity, at_noon)
    (zone / "day1.json").unlink()

    assert ingest(unity, at_noon).files == 0


def test_a_bronze_of_other_columns_is_the_reason_that_is_given(
    unity: UnityLakehouse, zone: Path, cluster: Cluster
) -> None:
    land(zone, "day1.json", "a")
    cluster.session.sql(f"CREATE TABLE {unity.table_name(LANDED_EVENTS)} (event_id BIGINT)")

    with pytest.raises(ContractError, match="event_id bigint instead of string"):
        ingest(unity, at_noon)


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("file:/data/zone/sub/a.json", "/data/zone"),
        ("file:///data/zone/sub/a.json", "/data/zone/"),
        ("dbfs:/Volumes/c/s/v/zone/sub/a.json", "/Volumes/c/s/v/zone"),
        ("s3://bucket/zone/sub/a.json", "s3://bucket/zone"),
        ("s3://bucket/sub/a.json", "s3://bucket"),
        ("s3a://bucket/zone/sub/a.json", "s3://bucket/zone"),
        (
            "abfss://box@account.dfs.core.windows.net/zone/sub/a.json",
            "abfss://box@account.dfs.core.windows.net/zone/",
        ),
    ],
)
def test_a_file_has_the_same_name_whoever_says_its_path(path: str, root: str) -> None:
    assert relative(path, root) == "sub/a.json"


def test_a_line_that_is_too_long_is_one_corrupt_row(
    cluster: Cluster, zone: Path, make_settings: MakeSettings
) -> None:
    settings = make_settings(deployment="databricks", landing_root=ROOT, max_line_megabytes=1)
    unity = UnityLakehouse(settings, lambda: cluster.session)
    (zone / "zeros.json.gz").write_bytes(gzip.compress(bytes(3 << 20)))

    ingest(unity, at_noon)

    ((raw,),) = rows_of(unity.read(LANDED_EVENTS), "_corrupt_record")
    assert raw.startswith("[line of 3,145,728 bytes; at most 1 MB are read; it begins with:] \0\0")


def test_without_bronze_nothing_is_taken_in_where_silver_stands(
    unity: UnityLakehouse, zone: Path, cluster: Cluster
) -> None:
    land(zone, "day1.json", "a")
    quarantined = ("corrupt", None, "x", "day1.json", 1, NOON, NOON.date())
    unity.write(QUARANTINED_EVENTS, frame(cluster.session, QUARANTINED_EVENTS, [quarantined]))

    with pytest.raises(LakeError, match=r"holds no line, and main_catalog\.clean\.quarantined_events 1 rows"):
        ingest(unity, at_noon)


def test_a_ledger_ahead_of_the_clock_is_said(unity: UnityLakehouse, zone: Path) -> None:
    land(zone, "day1.json", "a")
    ingest(unity, lambda: NOON + dt.timedelta(days=400))
    land(zone, "day2.json", "b")

    assert ingest(unity, at_noon).ahead == dt.timedelta(days=400)
    assert ahead_of(unity, NOON) == dt.timedelta(days=400, microseconds=1)
