"""Lines of erased users lose all that they say, on either engine and whatever the spelling."""

import datetime as dt
import hashlib
import hmac

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn_assets.tables import ERASED_LINE, LANDED_EVENTS
from churn_assets.transforms.erasure import keyed_hash, with_their_reason, without_erased
from churn_assets.transforms.parsing import landed_events, taken_apart

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
KEY = b"a key"
EMPTY = (
    "event_id",
    "user_id",
    "event_ts",
    "event_type",
    "country",
    "_rescued_data",
    "source_user_id",
    "amount",
)


def hashed(*texts: str) -> set[str]:
    return {hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest() for text in texts}


ERASED = hashed("user_id:7", "source_user_id:ann@example.org")

OF_THE_ERASED = [
    '{"event_id": "a", "user_id": 7, "event_ts": "2026-03-01", "amount": 2.5, "email": "x"}',
    '{"event_id": "b", "user_id": "7.0", "event_ts": "2026-03-01"}',
    '{"event_id": "c", "user_id": "007", "event_ts": "2026-03-01"}',
    '{"event_id": "d", "user_id": " 7 ", "event_ts": "never"}',
    '{"event_id": "e", "user_id": 99, "source_user_id": " ann@example.org", "event_ts": "2026-03-01"}',
    '{"event_id": "f", "source_user_id": "ann@example.org"}',
    '{"event_id": "g", "user_id": 7, "event_ts": "2026-0',
    '{"event_id": "h", "source_user_id": "ann@example.org", "event_',
]
OF_OTHERS = [
    '{"event_id": "i", "user_id": 77, "event_ts": "2026-03-01", "ref": "ann@example.org", "n": 7}',
    '{"event_id": "j", "user_id": "-7", "event_ts": "2026-03-01"}',
    '{"event_id": "k", "user_id": "seven", "source_user_id": "Ann@example.org"}',
    '{"event_id": "l", "user_id": 71, "event_ts": "2026-0',
    "7",
    "",
]


@pytest.fixture(scope="module")
def emptied(spark: SparkSession) -> dict[str, list[dict]]:
    texts = [*OF_THE_ERASED, *OF_OTHERS]
    lines = spark.createDataFrame(
        [(text, str(place)) for place, text in enumerate(texts)], "line string, _source_file string"
    )
    landed = landed_events(taken_apart(lines), NOON)
    both = {"before": landed, "after": without_erased(landed, KEY, ERASED)}
    rows = {
        when: sorted((row.asDict() for row in one.collect()), key=lambda row: int(row["_source_file"]))
        for when, one in both.items()
    }
    assert both["after"].columns == LANDED_EVENTS.column_names
    return rows


def test_a_line_of_an_erased_user_says_nothing_but_where_it_came_from(emptied) -> None:
    for before, after in list(zip(emptied["before"], emptied["after"], strict=True))[: len(OF_THE_ERASED)]:
        assert {after["_raw"], after["_corrupt_record"]} == {ERASED_LINE}, before
        assert {after[name] for name in EMPTY} == {None}, before
        kept = ("_source_file", "_ingested_at", "_processing_date", "_clock_at")
        assert [after[name] for name in kept] == [before[name] for name in kept]


def test_lines_of_others_stay_as_they_are(emptied) -> None:
    others = len(OF_THE_ERASED)

    assert emptied["after"][others:] == emptied["before"][others:]


def test_the_hash_is_the_hmac_of_pythons_library(spark) -> None:
    texts = ["user_id:7", "", "ä€😀", "x" * 300]
    rows = spark.createDataFrame([(text,) for text in texts], "text string")

    found = {row[0]: row[1] for row in rows.select("text", keyed_hash(F.col("text"), KEY)).collect()}
    assert found == {text: hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest() for text in texts}


def test_only_emptied_lines_are_quarantined_for_their_user(spark) -> None:
    rows = spark.createDataFrame(
        [(ERASED_LINE, "corrupt"), ("{broken", "corrupt"), ("{}", "missing_event_id")],
        "_raw string, reason string",
    )

    found = {row["_raw"]: row["reason"] for row in with_their_reason(rows).collect()}
    assert found == {ERASED_LINE: "erased_user", "{broken": "corrupt", "{}": "missing_event_id"}
