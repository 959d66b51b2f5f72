"""CSV, Parquet and JSON lines are read alike; what cannot be read is said in one line."""

import gzip
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as papq
import pytest

from churn_assets.errors import ImportFileError
from churn_assets.sample import source_formats
from churn_assets.sample.csv_dialect import CsvOptions
from churn_assets.sample.source_files import SourceFile


def rows_of(path: Path, *columns: str, **written) -> list[dict]:
    source = SourceFile(path, CsvOptions(**written), columns)
    source.check()
    wanted = list(columns) or source.columns
    return [row for batch in source.batches(wanted) for row in batch.to_pylist()]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_every_csv_column_is_text_and_an_empty_field_is_null(tmp_path):
    path = written(tmp_path / "a.csv", 'id,n,t\n007,17850.0,"a ""b"", c"\n,"",NA\n')
    assert rows_of(path) == [
        {"id": "007", "n": "17850.0", "t": 'a "b", c'},
        {"id": None, "n": None, "t": "NA"},
    ]


def test_a_quoted_newline_does_not_end_a_csv_row(tmp_path, monkeypatch):
    monkeypatch.setattr(source_formats, "CSV_BLOCK_BYTES", 53)  # so that blocks end within quotes
    path = written(tmp_path / "a.csv", "id,t\n" + '1,"a\nb,c"\n' * 100)
    assert rows_of(path) == [{"id": "1", "t": "a\nb,c"}] * 100


def test_a_byte_order_mark_and_windows_newlines_are_no_part_of_a_csv(tmp_path):
    path = written(tmp_path / "a.CSV", b"\xef\xbb\xbfid,t\r\n1,a\r\n")
    assert rows_of(path) == [{"id": "1", "t": "a"}]


def test_only_the_columns_asked_for_are_read(tmp_path):
    path = written(tmp_path / "a.csv", b"id,t\n1,\xff\n")
    assert rows_of(path, "id") == [{"id": "1"}]


def test_json_fields_are_text_and_need_not_be_in_every_object(tmp_path):
    path = written(
        tmp_path / "a.jsonl", '{"a": 1, "b": "x"}\n\n{"b": null, "c": {"d": [1.0, true]}}\n{"a": 17850.0}'
    )
    assert SourceFile(path).columns == ["a", "b", "c"]
    assert rows_of(path) == [
        {"a": "1", "b": "x", "c": None},
        {"a": None, "b": None, "c": '{"d":[1.0,true]}'},
        {"a": "17850.0", "b": None, "c": None},
    ]


def test_parquet_keeps_its_types(tmp_path):
    papq.write_table(
        pa.table({"i": [1, None], "f": [1.5, math.inf], "s": ["a", "b"]}), tmp_path / "a.parquet"
    )
    assert rows_of(tmp_path / "a.parquet") == [
        {"i": 1, "f": 1.5, "s": "a"},
        {"i": None, "f": math.inf, "s": "b"},
    ]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.json.gz", "a.jsonl.gz", "a.NDJSON.GZ"])
def test_text_files_may_be_compressed(tmp_path, name):
    content = b"id\n1\n" if "csv" in name else b'{"id": "1"}\n'
    path = written(tmp_path / name, gzip.compress(content))
    assert rows_of(path) == [{"id": "1"}]
    assert SourceFile(path).stem == "a"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv cannot be read: Empty CSV file."),
        ("a.csv", "id,t\n1\n", "a.csv cannot be read: CSV parse error: Expected 2 columns, got 1: 1."),
        ("a.csv", 'id,t\n1,"a"b\n', "a.csv cannot be read: line 2 goes on after a closing quote"),
        (
            "a.csv",
            'id,t\n1,b\n2,"c\n3,d\n',
            "a.csv cannot be read: line 3 opens a quote that is never closed.",
        ),
        ("a.csv", 'id,t\n"1",b\n2\n', "a.csv cannot be read: line 3 has 1 fields and the first has 2."),
        ("a.csv", "id,id\n1,2\n", "a.csv has two columns named 'id': rename one of them."),
        ("a.csv.gz", "id\n1\n", "a.csv.gz cannot be read: Not a gzipped file (b'id')."),
        (
            "a.csv.gz",
            # Its time is part of the test's name, which every process must find the same.
            gzip.compress(b"id\n" + b"1\n" * 99, mtime=0)[:-9],
            "a.csv.gz cannot be read: Compressed file ended before the end-of-stream marker was reached.",
        ),
        (
            "a.json",
            '{"id": 1}\n[2]\n',
            "a.json cannot be read: line 2 is no JSON object; give one object a line.",
        ),
        (
            "a.json",
            '{\n"id": 1\n}\n',
            "a.json cannot be read: line 1 is no JSON object; give one object a line.",
        ),
        (
            "a.parquet",
            "nothing of the kind",
            "a.parquet cannot be read: Parquet magic bytes not found in footer.",
        ),
        ("a.tsv", "id\n1\n", "a.tsv has none of the extensions .csv, .csv.gz, .parquet, .json, "),
        ("a.parquet.gz", "", "a.parquet.gz has none of the extensions"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name, content, message):
    path = written(tmp_path / name, content)
    with pytest.raises(ImportFileError) as caught:
        rows_of(path)
    assert str(caught.value).startswith(f"{tmp_path}/{message[:60]}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_said_in_one_line(tmp_path):
    with pytest.raises(ImportFileError, match=r"a\.csv does not exist"):
        SourceFile(tmp_path / "a.csv")
    with pytest.raises(ImportFileError, match="is a folder: give the files in it"):
        SourceFile(tmp_path)


@pytest.mark.parametrize(("name", "row"), [("a.csv", "{}\n"), ("a.jsonl", '{{"id": "{}"}}\n')])
def test_a_file_is_read_a_few_blocks_at_a_time(tmp_path, monkeypatch, name, row):
    monkeypatch.setattr(source_formats, "CSV_BLOCK_BYTES", 20_000)
    monkeypatch.setattr(source_formats, "ROWS_A_BATCH", 2_000)
    header = "id\n" if name == "a.csv" else ""
    path = written(tmp_path / name, header + "".join(row.format(i) for i in range(1_000_000, 1_300_000)))
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for batch in SourceFile(path).batches(["id"]):
        rows += len(batch)
        most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 300_000
    assert most < path.stat().st_size / 4


SALES = "kunde;zeit;betrag\n7;2026-06-01 10:00;12,50\n8;2026-06-02 11:30;7,00\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SALES, "semicolon between fields"),
        (SALES.replace(";", "\t"), "tab between fields"),
        (SALES.replace(";", "|"), "bar between fields"),
        ("sep=;\r\n" + SALES.replace("\n", "\r\n"), "semicolon between fields"),
        (SALES.encode("utf-16"), "encoding utf-16, semicolon between fields"),
        (
            SALES.encode("utf-16-le"),
            "encoding utf-16-le (a guess; --encoding changes it), semicolon between fields",
        ),
    ],
    ids=["semicolons", "tabs", "bars", "Excel's hint", "UTF-16", "UTF-16 without its mark"],
)
def test_a_csv_is_read_as_it_is_written_and_that_is_said(tmp_path, content, said):
    path = written(tmp_path / "a.csv", content)
    assert rows_of(path, "kunde", "zeit", "betrag") == [
        {"kunde": "7", "zeit": "2026-06-01 10:00", "betrag": "12,50"},
        {"kunde": "8", "zeit": "2026-06-02 11:30", "betrag": "7,00"},
    ]
    assert SourceFile(path, names=["kunde"]).written == said


def test_eight_bit_letters_are_western_if_nothing_says_otherwise(tmp_path):
    path = written(tmp_path / "a.csv", "id,ort\n1,Köln\n2,Český Krumlov\n".encode("cp1250", "replace"))
    assert rows_of(path, "id", "ort", encoding="cp1250")[1] == {"id": "2", "ort": "Český Krumlov"}
    path = written(tmp_path / "b.csv", "id,ort\n1,Köln\n2,5 €\n".encode("cp1252"))
    assert rows_of(path, "id", "ort") == [{"id": "1", "ort": "Köln"}, {"id": "2", "ort": "5 €"}]
    assert (
        SourceFile(path).written.startswith("encoding windows-1252") or "cp1252" in SourceFile(path).written
    )


def test_what_is_told_of_a_csv_counts(tmp_path):
    path = written(tmp_path / "a.csv", "1^'a;b'^x\n2^'c'^y\n")
    options = {"delimiter": "^", "quote": "'", "header": False}
    assert rows_of(path, "column1", "column2", **options) == [
        {"column1": "1", "column2": "a;b"},
        {"column1": "2", "column2": "c"},
    ]


def test_columns_by_number_mean_that_there_is_no_header(tmp_path):
    path = written(tmp_path / "a.csv", "1,a\n2,b\n")
    assert rows_of(path, "column1") == [{"column1": "1"}, {"column1": "2"}]
    assert SourceFile(path, names=["column1"]).written == "no header"


def test_backslash_quotes(tmp_path):
    path = written(
        tmp_path / "a.csv",
        r"""user,ts,note
1,2026-06-05,"TV 50\""
2,\N,"TV 40\", large"
3,2026-06-07,ok
""",
    )
    rows = [
        {"user": "1", "ts": "2026-06-05", "note": 'TV 50"'},
        {"user": "2", "ts": None, "note": 'TV 40", large'},
        {"user": "3", "ts": "2026-06-07", "note": "ok"},
    ]
    assert rows_of(path, "user", "ts", "note") == rows == rows_of(path, "user", "ts", "note", escape="\\")
    with pytest.raises(ImportFileError, match=r"line 2 goes on after a closing quote .* give --escape"):
        rows_of(path, "user", "ts", "note", escape="")


def test_an_unclosed_quote_in_a_large_file_is_no_row_of_megabytes(tmp_path):
    path = written(tmp_path / "a.csv", "id,t\n" + "1,a\n" * 100_000 + '2,"b\n' + "3,c\n" * 2_000_000)
    with pytest.raises(ImportFileError, match="line 100002 opens a quote that is never closed"):
        rows_of(path, "id")


def test_json_numbers_keep_their_digits(tmp_path):
    path = written(
        tmp_path / "a.JSON", b'\xef\xbb\xbf{"a": 12345678901234567890123, "b": 1.50, "c": {"d": 1e400}}\n'
    )
    assert rows_of(path, "a", "b", "c") == [{"a": "12345678901234567890123", "b": "1.50", "c": '{"d":1e400}'}]
