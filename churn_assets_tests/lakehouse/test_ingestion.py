"""Each file exactly once, whatever dies in between."""

import datetime as dt
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from churn_assets.errors import LandingError
from churn_assets.lakehouse import ingestion
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing_lines import read_lines
from churn_assets.lakehouse.ledger import take_in
from churn_assets.tables import LANDED_EVENTS
from churn_assets_tests.conftest import MakeSettings

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def at_noon() -> dt.datetime:
    return NOON


def land(lake: Lakehouse, name: str, *ids: str) -> None:
    target = Path(lake.settings.landing_root) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f'{{"event_id":"{event_id}","user_id":1}}\n' for event_id in ids))


def bronze(lake: Lakehouse) -> list[tuple[str, str]]:
    rows = lake.read(LANDED_EVENTS).select("_source_file", "event_id").collect()
    return sorted((row[0], row[1]) for row in rows)


def test_a_file_is_taken_in_once_however_often_one_asks(lake: Lakehouse) -> None:
    land(lake, "day1.json", "a", "b")

    first = ingestion.ingest(lake, at_noon)
    again = ingestion.ingest(lake, at_noon)

    assert (first.files, again.files, again.write) == (1, 0, None)
    assert bronze(lake) == [("day1.json", "a"), ("day1.json", "b")]


def test_new_files_join_the_old_ones_in_one_commit(lake: Lakehouse) -> None:
    land(lake, "day1.json", "a")
    ingestion.ingest(lake, at_noon)
    version = lake.version(LANDED_EVENTS)
    land(lake, "day2.json", "b")
    land(lake, "more/day2.json", "c")

    ingestion.ingest(lake, at_noon)

    assert bronze(lake) == [("day1.json", "a"), ("day2.json", "b"), ("more/day2.json", "c")]
    assert lake.version(LANDED_EVENTS) == version + 1


def test_each_ingestion_is_later_than_the_last_even_if_the_clock_steps_back(lake: Lakehouse) -> None:
    land(lake, "day1.json", "a")
    ingestion.ingest(lake, at_noon)
    land(lake, "day2.json", "b")

    ingestion.ingest(lake, lambda: NOON - dt.timedelta(hours=3))

    rows = lake.read(LANDED_EVENTS).selectExpr("event_id", "unix_micros(_ingested_at)").collect()
    micros = {row[0]: row[1] for row in rows}
    assert micros["b"] == micros["a"] + 1


def test_a_death_before_the_commit_leaves_nothing_and_the_next_ingestion_has_it_all(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
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


def test_a_lost_checkpoint_doubles_nothing(lake: Lakehouse) -> None:
    land(lake, "day1.json", "a")
    ingestion.ingest(lake, at_noon)
    shutil.rmtree(lake.settings.lake_root / "_checkpoints", ignore_errors=True)
    land(lake, "day2.json", "b")

    ingestion.ingest(lake, at_noon)

    assert bronze(lake) == [("day1.json", "a"), ("day2.json", "b")]


def test_what_another_deployment_took_in_is_not_taken_in_again(lake: Lakehouse) -> None:
    land(lake, "day1.json", "a")
    root = lake.settings.landing_root
    take_in(lake, {"day1.json"}, lambda new: read_lines(lake.spark, root, new), at_noon)

    assert ingestion.ingest(lake, at_noon).files == 0


def test_no_landing_zone_and_an_empty_one_are_one_line_each(lake: Lakehouse) -> None:
    with pytest.raises(LandingError, match="does not exist"):
        ingestion.ingest(lake, at_noon)

    land(lake, "readme.txt", "x")
    with pytest.raises(
        LandingError, match=r"holds no event files \(1 others: readme.txt\): expected names that end in .json"
    ):
        ingestion.ingest(lake, at_noon)


def test_a_landing_zone_that_was_cleared_after_ingestion_is_fine(lake: Lakehouse) -> None:
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
    lake = Lakehouse(make_settings(landing_root="s3://events/landing"), lambda: spark)

    first = ingestion.ingest(lake, at_noon)
    client.put_object(Bucket=bucket, Key="landing/day3.json", Body=b'{"event_id":"c","user_id":1}\n')
    second = ingestion.ingest(lake, at_noon)

    assert (first.files, second.files) == (2, 1)
    assert bronze(lake) == [("day1.json", "a"), ("day3.json", "c"), ("sub/day2.json", "b")]


def test_ten_small_files_are_each_there_once(lake: Lakehouse) -> None:
    for number in range(10):
        land(lake, f"{number}.json", *(f"{number}-{line}" for line in range(3)))

    ingestion.ingest(lake, at_noon)

    assert Counter(name for name, _ in bronze(lake)) == {f"{number}.json": 3 for number in range(10)}
