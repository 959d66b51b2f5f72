"""Whose a row, a line or a text is, however the id is spelled there."""

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from churn_assets.contracts import Column, Table, WriteMode
from churn_assets.erasure.people import People
from churn_assets.erasure.tables import PERSONAL
from churn_assets.tables import ALL_TABLES, QUARANTINED_EVENTS, USER_FEATURES
from churn_assets.transforms.values import user_id

SEVEN = People(frozenset({7}), frozenset())
ANN = People(frozenset(), frozenset({"ann@example.org"}))

SPELLINGS = ("7", "7.0", "7.", " 7\t", "007", "+7", "7e0", "0.7E1", "7.00")


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_user_id_is_known_in_any_spelling(text: str) -> None:
    assert SEVEN.is_user(text)


@pytest.mark.parametrize("text", ["70", "-7", "7.1", "seven", "", None, "0x7", "7 7", "NaN"])
def test_what_means_another_number_is_nobodys(text: str | None) -> None:
    assert not SEVEN.is_user(text)


def test_whatever_cleaning_takes_for_a_user_is_known(spark) -> None:
    texts = [*SPELLINGS, "1.785E7", "17850000", "1e+05", "-3", "-3.0", "9007199254740993", "0"]
    rows = spark.createDataFrame([(text,) for text in texts], "text string")

    typed = rows.select("text", user_id(F.col("text")).alias("id")).where("id IS NOT NULL").collect()

    assert len(typed) > 8
    assert [
        row["text"] for row in typed if not People(frozenset({row["id"]}), frozenset()).is_user(row["text"])
    ] == []


def test_a_line_is_theirs_by_a_field_or_where_it_is_cut_off_by_what_it_names() -> None:
    lines = [
        '{"event_id": "a", "user_id": "7.0"}',
        '{"event_id": "b", "user_id": 7, "event_ts": "2026',
        '{"event_id": "c", "user_id": 71, "event_ts": "2026',
        '{"event_id": "d", "user_id": 9, "n": 7}',
        "",
    ]

    assert SEVEN.of_lines(pa.array(lines)).tolist() == [True, True, False, False, False]


def test_a_source_id_is_told_from_a_longer_one() -> None:
    lines = [
        '{"user_id": 1, "source_user_id": " ann@example.org "}',
        '{"source_user_id": "ann@example.org", "ev',
        '{"user_id": 1, "source_user_id": "joann@example.org"}',
        '{"source_user_id": "ann@example.org.uk", "ev',
        '{"user_id": 1, "ref": "ann@example.org"}',
    ]

    assert ANN.of_lines(pa.array(lines)).tolist() == [True, True, False, False, False]
    assert ANN.mentioned(pa.array(lines)).tolist() == [True, True, False, False, True]


def test_messages_lose_the_user_and_keep_other_numbers() -> None:
    text = 'user_id 7 and user 7: 7 rows of user_id=70, {"user_id": 7, "rows": 7}'

    assert SEVEN.redacted(text) == (
        'user_id [erased] and user [erased]: 7 rows of user_id=70, {"user_id": [erased], "rows": 7}'
    )
    assert (
        ANN.redacted("mail to ann@example.org, not joann@example.org")
        == "mail to [erased], not joann@example.org"
    )


def test_a_short_source_id_is_looked_for_only_where_one_is_named() -> None:
    short = People(frozenset(), frozenset({"0012"}))

    assert not short.mentioned(pa.array(["at 0012 o'clock"])).any()
    assert (
        short.redacted('{"source_user_id": "0012", "n": "0012"}')
        == '{"source_user_id": "[erased]", "n": "0012"}'
    )


def test_tables_are_covered_by_their_contracts_alone() -> None:
    new = Table(
        "main_catalog",
        "gold",
        "calls",
        "Who was called.",
        (Column("source_user_id", "string", "Whom."), Column("at", "timestamp", "When.")),
        WriteMode.APPEND,
    )

    assert new.personal_columns == ["source_user_id"]
    assert QUARANTINED_EVENTS.personal_columns == ["_raw"]
    assert USER_FEATURES in PERSONAL
    others = [table for table in ALL_TABLES if table not in PERSONAL]
    assert [str(table) for table in others if any("user_id" in name for name in table.column_names)] == []
