"""Exports that overlap, that older versions imported, and that are taken back."""

import hashlib

import orjson
import pytest

from churn_assets.errors import ImportFileError
from churn_assets.sample.csv_dialect import CsvOptions
from churn_assets.sample.event_mapping import EventMapping
from churn_assets.sample.import_records import ImportRecords
from churn_assets.sample.importer import landed_name
from churn_assets.sample.source_files import SourceFile

HEADER = "user_id,event_ts,product\n"
ORDER = "1,2026-01-01 10:00:00,tea\n1,2026-01-01 10:00:00,cups\n"
LATER = "2,2026-01-02 11:00:00,tea\n"


def nothing_is(files: set[str]) -> set[str]:
    return set()


def everything_is(files: set[str]) -> set[str]:
    return files


def ids(importing) -> set[str]:
    return {event["event_id"] for event in importing.events()}


def landed_by_an_older_version(importing, name: str, rows: list[tuple[int, str]]) -> None:
    """As 0.1.0 landed a file: an id is a hash of the file's name and the line's number."""
    landed = landed_name(
        SourceFile(importing.folder / name), EventMapping("user_id", "event_ts"), CsvOptions()
    )
    importing.landing.mkdir(exist_ok=True)
    lines = [
        orjson.dumps(
            {
                "event_id": hashlib.sha256(f"{name}:{number}".encode()).hexdigest()[:32],
                "user_id": user,
                "event_ts": time,
            }
        )
        for number, (user, time) in enumerate(rows, start=1)
    ]
    (importing.landing / landed).write_bytes(b"\n".join(lines) + b"\n")


OLD_ORDER = [(1, "2026-01-01T10:00:00.000000Z")] * 2


def test_identical_rows_of_one_file_stay_several_events(importing):
    importing.write("a.csv", HEADER + ORDER)
    importing("a.csv")
    first, second = sorted(ids(importing))
    assert (first[:-1], first[-1], second[-1]) == (second[:-1], "1", "2")


def test_another_name_order_and_spelling_give_a_row_the_id_that_it_had(importing):
    importing.write("a.csv", HEADER + ORDER)
    importing.write("b.csv", "ts;user_id\n2026-01-02T11:00Z;2.0\n2026-01-01 12:00 +0200;1\n1767261600;1.0\n")
    importing("a.csv")
    importing("b.csv", event_ts="ts")
    assert len(importing.events()) == 5
    assert len(ids(importing)) == 3


def test_an_overlap_of_some_of_several_identical_rows_counts_the_most_that_one_file_has(importing):
    importing.write("a.csv", HEADER + ORDER)
    importing.write("b.csv", HEADER + ORDER.splitlines(keepends=True)[0])
    importing("a.csv", "b.csv")
    assert len(ids(importing)) == 2


def test_what_an_older_version_landed_lands_no_more(importing, no_spark):
    importing.write("a.csv", HEADER + ORDER)
    landed_by_an_older_version(importing, "a.csv", OLD_ORDER)
    report = importing("a.csv")
    assert (report.files, report.already_landed) == (0, 1)


@pytest.mark.parametrize("name", ["a.csv", "b.csv"])
def test_of_an_export_that_an_older_version_landed_in_part_only_the_rest_lands(importing, name):
    importing.write("a.csv", HEADER + ORDER)
    landed_by_an_older_version(importing, "a.csv", OLD_ORDER)
    importing.write(name, HEADER + LATER + ORDER + ORDER.splitlines(keepends=True)[0])
    report = importing(name)
    assert (report.summary.rows_read, report.held, report.rows) == (4, 2, 2)
    assert sorted((event["user_id"], event["event_id"][32:]) for event in importing.events()) == [
        (1, ""),
        (1, ""),
        (1, "-3"),
        (2, "-1"),
    ]


def test_an_import_is_taken_back_until_it_has_been_ingested(importing):
    records = ImportRecords(importing.folder / "records")
    importing.write("a.csv", HEADER + ORDER)
    importing.write("b.csv", HEADER + LATER)
    first = importing("a.csv", records=records).name
    importing("b.csv", records=records)
    landed = {file.name for file in importing.landing.iterdir()}
    with pytest.raises(ImportFileError, match="cannot be taken back: 1 of its 1 files have been ingested"):
        records.undo(None, str(importing.landing), everything_is)
    assert {file.name for file in importing.landing.iterdir()} == landed
    assert records.undo(None, str(importing.landing), nothing_is)[1] == 1
    assert [file.name[0] for file in importing.landing.iterdir()] == ["a"]
    with pytest.raises(ImportFileError, match="There is no import yesterday"):
        records.undo("yesterday", str(importing.landing), nothing_is)
    assert records.undo(first, str(importing.landing), nothing_is)[0].name == first
    assert list(importing.landing.iterdir()) == []
    with pytest.raises(ImportFileError, match="There is no import to take back"):
        records.undo(None, str(importing.landing), nothing_is)


def test_another_mapping_of_the_same_bytes_is_warned_of(importing):
    records = ImportRecords(importing.folder / "records")
    importing.write("a.csv", HEADER + ORDER)
    name = importing("a.csv", records=records).name
    report = importing("a.csv", records=records, event_type="product")
    assert report.warnings[0] == (
        "1 of these files landed before with other options, so their rows may count twice. "
        f"If that import was wrong: churn import --undo {name}"
    )


def test_if_no_row_is_usable_nothing_lands_and_nothing_is_noted(importing):
    records = ImportRecords(importing.folder / "records")
    importing.write("a.csv", HEADER + ",2026-01-01,x\n1,soon,x\n")
    importing.write("b.csv", HEADER + "1,1970-01-01,x\n1,2999-01-01,x\n")
    with pytest.raises(
        ImportFileError, match="None of 4 rows is usable, so nothing has landed: 1 have no user"
    ):
        importing("a.csv", "b.csv", records=records)
    assert list(importing.landing.iterdir()) == []
    assert records.all() == []
    importing.write("c.csv", HEADER + LATER)
    assert importing("a.csv", "b.csv", "c.csv", records=records).files == 3


def test_two_users_of_one_hash_are_refused(importing):
    # Made for it: xxhash64 with Spark's seed gives both the same number.
    one, two = colliding()
    importing.write("a.csv", f"user_id,event_ts\n{one},2026-01-01\n{two},2026-01-02\n")
    with pytest.raises(ImportFileError, match="and another one both become user"):
        importing("a.csv", hash_user_id=True)
    assert list(importing.landing.iterdir()) == []


def test_a_hash_that_is_another_users_number_is_refused(importing):
    importing.write("a.csv", "user_id,event_ts\n2035697172521169185,2026-01-01\na@b.c,2026-01-02\n")
    with pytest.raises(
        ImportFileError, match=r"user_id 'a@b\.c' and another one both become user 2035697172521169185"
    ):
        importing("a.csv", hash_user_id=True)


def test_columns_may_be_named_in_other_case_where_that_leaves_no_doubt(importing):
    importing.write("a.csv", "CustomerID,Moment,ID,id\n7,2026-01-01,x,y\n")
    options = {"user_id": "customerid", "event_ts": "(upper(MOMENT))"}
    importing("a.csv", event_id="ID", **options)
    assert importing.events()[0]["event_id"] == "x"
    with pytest.raises(
        ImportFileError, match=r"2 columns that differ from --event-id Id only in case: ID, id"
    ):
        importing("a.csv", event_id="Id", **options)
    with pytest.raises(ImportFileError, match="'ID' and 'id', and SQL cannot tell them apart"):
        importing("a.csv", event_id="ID", country="id", **options)


def colliding() -> tuple[str, str]:
    """Two texts of 64 ASCII characters with one xxhash64 of seed 42, as a lane's rest undoes its start."""
    first, second = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F
    mask = 2**64 - 1
    start = (42 + first + second) & mask

    def round_of(lane: int, word: int) -> int:
        mixed = (lane + word * second) & mask
        return ((mixed << 31 | mixed >> 33) & mask) * first & mask

    inverse = pow(second, -1, 2**64)
    word, after = int.from_bytes(b"aaaaaaaa", "little"), int.from_bytes(b"bbbbbbbb", "little")
    other = undone = 0
    for number in range(10**6):
        other = int.from_bytes(f"{number:08d}".encode(), "little")
        undone = (after + (round_of(start, word) - round_of(start, other)) * inverse) & mask
        text = undone.to_bytes(8, "little")
        if text.isascii() and text.isalnum():
            break
    rest = "x" * 24
    made = [
        w.to_bytes(8, "little").decode() + rest + a.to_bytes(8, "little").decode() + rest
        for w, a in ((word, after), (other, undone))
    ]
    return made[0], made[1]
