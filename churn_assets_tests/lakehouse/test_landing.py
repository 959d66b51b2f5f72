"""Which files count, and which lines they hold, whatever is wrong with them."""

import gzip
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn_assets.errors import LandingError
from churn_assets.lakehouse import landing, landing_lines


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    folder = tmp_path / "zone"
    folder.mkdir()
    return folder


def lines_of(spark: SparkSession, zone: Path) -> list[tuple[str, str]]:
    files = landing.list_files(str(zone)).files
    rows = landing_lines.read_lines(spark, str(zone), files).collect()
    return sorted((row["_source_file"], row["line"]) for row in rows)


def test_json_and_json_gz_count_in_subfolders_too_and_others_are_ignored(zone: Path) -> None:
    (zone / "2026 01").mkdir()
    for name in ("b.json", "a.json.gz", "2026 01/c.json", "notes.txt", ".half.json", "_tmp.json"):
        (zone / name).write_bytes(b"")

    listing = landing.list_files(str(zone))

    assert listing.files == ["2026 01/c.json", "a.json.gz", "b.json"]
    assert listing.ignored == 1


def test_a_landing_zone_that_does_not_exist_is_one_line(zone: Path) -> None:
    with pytest.raises(LandingError, match=r"does not exist\. Create it .* churn simulate"):
        landing.list_files(str(zone / "nowhere"))


def test_each_line_comes_with_its_file(zone: Path, spark: SparkSession) -> None:
    (zone / "a.json").write_bytes(b"one\ntwo\n")
    (zone / "b.json.gz").write_bytes(gzip.compress(b"three\n"))

    assert lines_of(spark, zone) == [("a.json", "one"), ("a.json", "two"), ("b.json.gz", "three")]


def test_a_last_line_without_newline_and_blank_lines_are_lines(zone: Path, spark: SparkSession) -> None:
    (zone / "a.json").write_bytes(b"one\n\nlast")

    assert lines_of(spark, zone) == [("a.json", ""), ("a.json", "last"), ("a.json", "one")]


def test_bytes_that_are_not_utf8_are_replaced_and_the_file_goes_on(zone: Path, spark: SparkSession) -> None:
    (zone / "a.json").write_bytes(b"caf\xe9\nnext\n")

    assert lines_of(spark, zone) == [("a.json", "caf\ufffd"), ("a.json", "next")]


def test_lines_longer_than_a_block_and_blocks_that_end_in_a_line_stay_whole(
    zone: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_lines, "BLOCK_BYTES", 4)
    (zone / "a.json").write_bytes(b"123\n4567890123456789\nab\n")

    assert [line for _, line in lines_of(spark, zone)] == ["123", "4567890123456789", "ab"]


def test_a_cut_off_gzip_gives_its_lines_and_one_that_says_so(zone: Path, spark: SparkSession) -> None:
    whole = gzip.compress(b"".join(b"line %d\n" % number for number in range(50_000)))
    (zone / "a.json.gz").write_bytes(whole[: len(whole) // 2])

    lines = [line for _, line in lines_of(spark, zone)]

    assert sum(line.startswith("[unreadable from here on: ") for line in lines) == 1
    assert "line 0" in lines
    assert len(lines) > 1_000


def test_a_file_that_is_no_gzip_gives_one_line_that_says_so(zone: Path, spark: SparkSession) -> None:
    (zone / "a.json.gz").write_bytes(b'{"event_id": "plain"}\n')

    assert [line[:25] for _, line in lines_of(spark, zone)] == ["[unreadable from here on:"]
