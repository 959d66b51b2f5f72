"""A table stays open until its log changes, and the rows of its files are those of its dataset."""

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable, write_deltalake

from churn_assets.lakehouse.file_rows import Partition, read_rows
from churn_assets.lakehouse.opened import opened
from churn_assets_tests.rows import D, day


def test_a_table_is_opened_once_for_each_commit(tmp_path: Path) -> None:
    assert opened(tmp_path / "table") is None

    write_deltalake(tmp_path / "table", pa.table({"n": [1]}))
    first = opened(tmp_path / "table")
    assert first is not None
    assert opened(tmp_path / "table") is first

    write_deltalake(tmp_path / "table", pa.table({"n": [2]}), mode="append")
    second = opened(tmp_path / "table")
    assert second is not None
    assert (first.version(), second.version()) == (0, 1)


def test_a_table_in_the_place_of_another_is_opened_anew(tmp_path: Path) -> None:
    for n in (1, 2):
        write_deltalake(tmp_path / f"table{n}", pa.table({"n": [n]}))
    before = opened(tmp_path / "table1")
    (tmp_path / "table1").rename(tmp_path / "away")
    assert opened(tmp_path / "table1") is None
    (tmp_path / "table2").rename(tmp_path / "table1")

    after = opened(tmp_path / "table1")

    assert before
    assert after
    assert before.version() == after.version() == 0
    assert before.metadata().id != after.metadata().id


def test_rows_of_files_are_those_of_the_dataset(tmp_path: Path) -> None:
    location = tmp_path / "a table, 100 #1"
    rows = pa.table({"on": [D, D, day(1)], "n": [1, None, 3], "text": ["a", "b", "c"]})
    write_deltalake(location, rows, partition_by=["on"])
    # A later column, which earlier files lack.
    more = pa.table(
        {"on": [D], "n": [4], "text": [None], "new": [0.5]}, rows.schema.append(pa.field("new", "f8"))
    )
    write_deltalake(location, more, mode="append", schema_mode="merge", partition_by=["on"])
    table = DeltaTable(location)

    whole, of_a_day = read_rows(table, location), read_rows(table, location, ["n", "new"], Partition("on", D))

    dataset = table.to_pyarrow_dataset()
    assert whole.schema == dataset.schema
    assert whole.sort_by("n") == dataset.to_table().sort_by("n")
    expected = dataset.to_table(columns=["n", "new"], filter=ds.field("on") == D)
    assert of_a_day.sort_by("n") == expected.sort_by("n")
    assert len(read_rows(table, location, limit=2)) == 2
    assert len(read_rows(table, location, partition=Partition("on", day(9)))) == 0
