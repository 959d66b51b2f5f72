"""A list as a file: what a spreadsheet opens without harm, and what a program reads without loss."""

import csv
import io
import json

import pyarrow.parquet as papq
import pytest

from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.retention.formats import as_csv, formatted
from churn_assets.retention.lists import rows_of_list
from churn_assets.tables import RETENTION_LIST
from churn_assets_tests.rows import D


def row(**named: object) -> dict[str, object]:
    return {**dict.fromkeys(RETENTION_LIST.column_names), "user_id": 7, "feature_date": D, **named}


def read_back(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_id_is_a_formula_in_csv(start: str) -> None:
    (found,) = read_back(as_csv([row(source_user_id=f"{start}cmd|'/c calc'!A1")]))

    assert found["source_user_id"] == f"'{start}cmd|'/c calc'!A1"


def test_other_texts_and_numbers_below_0_are_as_they_are_in_csv() -> None:
    text = 'Zoë, "the first"\r\n=second line'

    (found,) = read_back(as_csv([row(source_user_id=text, probability_change=-0.25)]))

    assert (found["source_user_id"], found["probability_change"], found["reason_1"]) == (text, "-0.25", "")


def test_csv_has_a_head_and_ends_its_lines_as_rfc_4180_says() -> None:
    head = ",".join(RETENTION_LIST.column_names)

    assert as_csv([]) == f"{head}\r\n".encode()


def test_json_and_parquet_keep_ids_to_the_letter(lake: FolderLakehouse) -> None:
    rows = rows_of_list(lake, D)

    from_json = json.loads(formatted(rows, "json"))
    from_parquet = papq.read_table(io.BytesIO(formatted(rows, "parquet"))).to_pylist()

    assert [one["source_user_id"] for one in from_json] == ["=HYPERLINK(0)", "@SUM(1)"]
    assert from_parquet == rows
    assert [{**one, "feature_date": str(one["feature_date"])} for one in from_parquet] == from_json
