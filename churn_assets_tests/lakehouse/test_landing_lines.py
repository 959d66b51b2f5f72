"""The lines that event files hold, whatever is wrong with them, in memory that does not follow their size."""

import gzip
import random
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn_assets.lakehouse import landing, landing_lines
from churn_assets.lakehouse.landing_lines import KEPT_CHARACTERS, MEGABYTE


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    folder = tmp_path / "zone"
    folder.mkdir()
    return folder


def lines_of(spark: SparkSession, zone: Path, megabytes: int = 16) -> list[tuple[str, str]]:
    files = landing.list_files(str(zone)).files
    rows = landing_lines.read_lines(spark, str(zone), files, megabytes).collect()
    return sorted((row["_source_file"], row["line"]) for row in rows)


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


# Lines without end.


def text_of(zone: Path, megabytes: int = 1) -> list[str]:
    """The lines as the workers' function gives them, without an engine."""
    import pyarrow as pa

    names = pa.RecordBatch.from_pydict({"name": landing.list_files(str(zone)).files})
    read = landing_lines._reader(str(zone), megabytes)
    return [line for batch in read(iter([names])) for line in batch.column(0).to_pylist()]


def test_a_line_that_is_too_long_keeps_its_beginning_and_says_its_length(
    zone: Path, spark: SparkSession
) -> None:
    long = b'{"event_id":"' + b"x" * MEGABYTE
    (zone / "a.json").write_bytes(b"one\n" + long + b"\nthree\n")

    lines = [line for _, line in lines_of(spark, zone, megabytes=1)]

    assert sorted(lines)[1:] == ["one", "three"]
    begins = "[line of 1,048,589 bytes; at most 1 MB are read; it begins with:] "
    assert sorted(lines)[0] == begins + long.decode()[:KEPT_CHARACTERS]


@pytest.mark.parametrize("size", [MEGABYTE - 1, MEGABYTE, MEGABYTE + 1])
@pytest.mark.parametrize("ended", [b"", b"\n", b"\nlast"])
@pytest.mark.parametrize("block_bytes", [1000, MEGABYTE, 4 * MEGABYTE])
def test_the_limit_is_the_same_wherever_a_block_ends(
    zone: Path, monkeypatch: pytest.MonkeyPatch, size: int, ended: bytes, block_bytes: int
) -> None:
    monkeypatch.setattr(landing_lines, "BLOCK_BYTES", block_bytes)
    (zone / "a.json").write_bytes(b"first\n" + b"x" * size + ended)

    first, line, *rest = text_of(zone)

    assert (first, rest) == ("first", ["last"] if ended == b"\nlast" else [])
    assert line == "x" * size if size <= MEGABYTE else line.startswith("[line of 1,048,577 bytes; ")


def test_a_line_cut_within_a_character_is_text(zone: Path) -> None:
    (zone / "a.json").write_bytes("ä".encode() * MEGABYTE)

    (line,) = text_of(zone)

    assert line.endswith("] " + "ä" * KEPT_CHARACTERS)


def test_lines_are_those_between_newlines_however_a_file_is_cut_into_blocks(
    zone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(12)
    for _ in range(300):
        content = bytes(chance.choices(b"a\n\r\xc3\xa4{}", k=chance.randrange(40)))
        (zone / "a.json").write_bytes(content)
        monkeypatch.setattr(landing_lines, "BLOCK_BYTES", chance.randrange(1, 9))

        expected = content.split(b"\n")
        assert text_of(zone) == [
            line.decode(errors="replace") for line in expected[: None if expected[-1] else -1]
        ]


def test_several_gzip_members_are_one_file(zone: Path) -> None:
    (zone / "a.json.gz").write_bytes(gzip.compress(b"one\ntw") + gzip.compress(b"o\nthree"))

    assert text_of(zone) == ["one", "two", "three"]


ZEROS = """
import resource, sys
import pyarrow as pa
from churn_assets.lakehouse import landing_lines
read = landing_lines._reader(sys.argv[1], 16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
names = pa.RecordBatch.from_pydict({"name": ["z.json.gz"]})
lines = [line for batch in read(iter([names])) for line in batch.column(0)]
print(len(lines), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_compressed_file_of_zeros_is_one_line_and_takes_no_memory(zone: Path) -> None:
    # 200 MB of them in 200 kB.
    with gzip.open(zone / "z.json.gz", "wb", compresslevel=1) as file:
        for _ in range(50):
            file.write(bytes(4 * MEGABYTE))

    told = subprocess.run(
        [sys.executable, "-c", ZEROS, str(zone)], capture_output=True, text=True, check=True
    ).stdout.split()

    lines, megabytes = map(int, told)
    assert lines == 1
    assert megabytes < 100
