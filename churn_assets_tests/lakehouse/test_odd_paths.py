"""Lakes and landing zones by any name, from the landing zone to maintenance, through the real engine."""

import datetime as dt
import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.ingestion import ingest
from churn_assets.lakehouse.maintenance import maintain
from churn_assets.tables import EVENTS, LANDED_EVENTS, USER_DAILY_ACTIVITY
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.names import ODD_NAMES
from churn_assets_tests.rows import clean

FIRST = dt.date(2026, 1, 1)
NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def one_activity(spark: SparkSession, events: int):
    return spark.createDataFrame(
        [(1, FIRST, events, 0, None)],
        "user_id bigint, event_date date, events bigint, purchases bigint, amount decimal(28,2)",
    )


# One that holds all of them shows as much in every run of the tests; which of them it was, the others tell.
ALL_AT_ONCE = "all of these"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=what, marks=() if what == ALL_AT_ONCE else pytest.mark.slow)
        for what, name in ODD_NAMES.items()
    ],
)
def test_a_lake_and_a_landing_zone_may_have_any_name(
    name: str, spark: SparkSession, make_settings: MakeSettings, tmp_path: Path
) -> None:
    home = tmp_path / "lakes"
    lake_root, landing = home / name / "lake", tmp_path / "landings" / name
    landing.mkdir(parents=True)
    event = {"event_id": "e1", "user_id": "1", "event_ts": "2026-01-01T10:00:00Z", "event_type": "login"}
    (landing / "a.json").write_text(json.dumps(event))
    lake = FolderLakehouse(make_settings(lake_root=lake_root, landing_root=str(landing)), lambda: spark)

    taken = ingest(lake, now=lambda: NOW)
    lake.write(EVENTS, clean(lake.read(LANDED_EVENTS), lake.read(EVENTS)).events)
    for events in (2, 3):
        lake.write(USER_DAILY_ACTIVITY, one_activity(spark, events), DateRange(FIRST, FIRST))

    assert taken.files == 1
    assert ingest(lake, now=lambda: NOW).files == 0
    assert [row["_source_file"] for row in lake.read(LANDED_EVENTS).collect()] == ["a.json"]
    assert [row["event_id"] for row in lake.read(EVENTS).collect()] == ["e1"]
    assert [row["events"] for row in lake.read(USER_DAILY_ACTIVITY).collect()] == [3]
    details = lake.details(USER_DAILY_ACTIVITY)
    assert (details.rows, details.first_date) == (1, FIRST)
    before = lake.version_at(USER_DAILY_ACTIVITY, details.changed_at - dt.timedelta(days=1))
    assert (before, lake.version_at(USER_DAILY_ACTIVITY, dt.datetime.now(dt.UTC))) == (0, details.version)
    done = maintain(lake, USER_DAILY_ACTIVITY, needed=set(), retention_hours=0)
    assert done
    assert done.removed_files == 1
    assert [row["events"] for row in lake.read(USER_DAILY_ACTIVITY).collect()] == [3]
    assert [path.name for path in home.iterdir()] == [name], "parts of the lake lie beside it"
    assert [path.name for path in (tmp_path / "landings").iterdir()] == [name]
