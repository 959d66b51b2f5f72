"""Files become landed events: once each, whole or not at all, and what is wrong is said in one line."""

import gzip
import hashlib
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as papq
import pytest

from churn_assets.errors import ImportFileError
from churn_assets.sample import import_jobs, source_formats
from churn_assets.sample.importer import ImportReport, import_files

TWO_VISITS = "user_id,event_ts\n1,2026-01-01 10:00:00\n2,2026-01-02 11:00:00\n"


def test_a_row_becomes_one_json_line_with_the_fields_it_has(importing):
    importing.write(
        "visits.csv", "who,when,what,where\n7,2026-01-05 12:34:56.789,click,Österreich\n8,2026-01-06,,\n"
    )
    report = importing("visits.csv", user_id="who", event_ts="when", event_type="what", country="where")
    [file] = importing.landing.iterdir()
    first, second = file.read_bytes().splitlines()
    content = "1:716:17676164967890005:click10:Österreich"
    an_id = hashlib.sha256(content.encode()).hexdigest()[:32] + "-1"
    assert first.decode() == (
        f'{{"event_id":"{an_id}","user_id":7,"event_ts":"2026-01-05T12:34:56.789000Z",'
        '"event_type":"click","country":"Österreich"}'
    )
    assert sorted(orjson.loads(second)) == ["event_id", "event_ts", "user_id"]
    assert report == ImportReport(files=1, rows=2)


def test_importing_a_file_twice_adds_nothing(importing):
    importing.write("a.csv", TWO_VISITS)
    importing("a.csv")
    landed = sorted(importing.landing.iterdir())
    assert importing("a.csv") == ImportReport(already_landed=1)
    assert sorted(importing.landing.iterdir()) == landed


def test_what_has_landed_needs_no_engine(importing, no_spark):
    path = importing.write("a.csv", TWO_VISITS)
    importing("a.csv")
    report = import_files([path], str(importing.landing), no_spark, user_id="user_id", event_ts="event_ts")
    assert report.already_landed == 1


def test_a_file_given_twice_lands_once(importing):
    importing.write("a.csv", TWO_VISITS)
    assert importing("a.csv", "a.csv") == ImportReport(files=1, already_landed=1, rows=2)


def test_a_file_that_grew_lands_again_with_the_same_ids_for_its_old_rows(importing):
    importing.write("a.csv", TWO_VISITS)
    importing("a.csv")
    before = importing.events()
    importing.write("a.csv", f"{TWO_VISITS}3,2026-01-03\n")
    assert importing("a.csv").files == 1
    after = importing.events()
    assert (len(before), len(after)) == (2, 5)
    assert {event["event_id"] for event in before} < {event["event_id"] for event in after}
    assert len({event["event_id"] for event in after}) == 3


def test_another_mapping_of_a_file_lands_beside_the_first(importing):
    importing.write("a.csv", TWO_VISITS)
    importing("a.csv")
    assert importing("a.csv", event_type="=visit").files == 1
    assert len(list(importing.landing.iterdir())) == 2


def test_the_landed_name_is_safe_and_visible(importing):
    importing.write("_my events (1).csv", TWO_VISITS)
    importing("_my events (1).csv")
    [file] = importing.landing.iterdir()
    stem, _, digest = file.stem.rpartition("-")
    assert (stem, file.suffix, len(digest)) == ("my-events--1-", ".json", 12)


def test_rows_of_many_files_and_jobs_keep_their_order_and_their_file(importing, monkeypatch):
    monkeypatch.setattr(import_jobs, "ROWS_A_JOB", 25)
    # 30 files of 10 rows: a job takes two of them; what lands must not show it.
    for i in range(30):
        rows = "".join(f"{i * 10 + j},2026-01-01\n" for j in range(10))
        importing.write(f"{i:02}.csv", f"user_id,event_ts\n{rows}")
    report = importing(*(f"{i:02}.csv" for i in range(30)))
    assert report == ImportReport(files=30, rows=300)
    assert [event["user_id"] for event in importing.events()] == list(range(300))
    assert len({event["event_id"] for event in importing.events()}) == 300


def test_a_file_larger_than_a_job_lands_as_one_file_in_its_order(importing, monkeypatch):
    monkeypatch.setattr(import_jobs, "ROWS_A_JOB", 100)
    monkeypatch.setattr(source_formats, "CSV_BLOCK_BYTES", 1000)
    rows = "".join(f"{i},2026-01-01\n" for i in range(1000))
    importing.write("a.csv", f"user_id,event_ts\n{rows}")
    assert importing("a.csv") == ImportReport(files=1, rows=1000)
    assert [event["user_id"] for event in importing.events()] == list(range(1000))
    assert {event["event_id"][32:] for event in importing.events()} == {"-1"}


def test_the_engine_is_asked_once_for_many_small_files(importing, spark, monkeypatch):
    jobs = []
    monkeypatch.setattr(
        "churn_assets.sample.importer.mapped",
        lambda job, *rest: jobs.append(len(job)) or import_jobs.mapped(job, *rest),
    )
    for i in range(20):
        importing.write(f"{i}.csv", TWO_VISITS)
    importing(*(f"{i}.csv" for i in range(20)))
    assert jobs == [20]


def test_files_with_other_columns_and_types_go_together(importing):
    importing.write("a.csv", TWO_VISITS)
    importing.write("b.csv", "event_ts,note,user_id\n2026-01-03,hi,3\n")
    importing.write("c.jsonl", '{"user_id": 4, "event_ts": "2026-01-04"}\n')
    papq.write_table(pa.table({"event_ts": ["2026-01-05"], "user_id": [5]}), importing.folder / "d.parquet")
    assert importing("a.csv", "b.csv", "c.jsonl", "d.parquet").files == 4
    assert [event["user_id"] for event in importing.events()] == [1, 2, 3, 4, 5]
    assert importing.events()[4]["event_ts"] == "2026-01-05T00:00:00.000000Z"


def test_a_file_without_rows_lands_nothing(importing):
    importing.write("a.csv", "user_id,event_ts\n")
    importing.write("b.csv", TWO_VISITS)
    assert importing("a.csv", "b.csv") == ImportReport(files=1, empty=1, rows=2)
    assert [file.name[0] for file in importing.landing.iterdir()] == ["b"]


def test_progress_ends_with_the_bytes_of_all_files(importing):
    importing.write("a.csv", TWO_VISITS)
    importing.write("b.csv.gz", gzip.compress(TWO_VISITS.encode()))
    sizes = [(importing.folder / name).stat().st_size for name in ("a.csv", "b.csv.gz")]
    calls = []
    importing("a.csv", "b.csv.gz", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(sizes[0], sum(sizes)), (sum(sizes), sum(sizes))]


def test_when_a_file_fails_the_ones_before_it_have_landed_and_it_has_not(importing, monkeypatch):
    monkeypatch.setattr(import_jobs, "ROWS_A_JOB", 2)
    importing.write("a.csv", TWO_VISITS)
    importing.write("b.csv", f"{TWO_VISITS}me@example.com,2026-01-03\n")
    importing.write("c.csv", TWO_VISITS)
    monkeypatch.setattr(source_formats, "CSV_BLOCK_BYTES", 60)
    with pytest.raises(ImportFileError, match=r"b\.csv row 3"):
        importing("a.csv", "b.csv", "c.csv")
    assert [file.name[0] for file in importing.landing.iterdir()] == ["a"]
    assert importing("a.csv", "c.csv") == ImportReport(files=1, already_landed=1, rows=2)


def test_nothing_lands_when_one_of_the_files_cannot_be_mapped(importing):
    importing.write("a.csv", TWO_VISITS)
    importing.write("b.csv", "customer,event_ts\n1,2026-01-01\n")
    with pytest.raises(
        ImportFileError, match=r"b\.csv has no column 'user_id' for --user-id\. It has customer, event_ts\."
    ):
        importing("a.csv", "b.csv")
    assert not importing.landing.exists()


def test_two_files_of_one_name_land_side_by_side(importing):
    importing.write("one/a.csv", f"{TWO_VISITS}")
    importing.write("two/a.csv", f"{TWO_VISITS}3,2026-01-03\n")
    assert importing("one/a.csv", "two/a.csv").files == 2
    assert len({event["event_id"] for event in importing.events()}) == 3


def test_an_import_of_no_file_says_so(importing):
    with pytest.raises(ImportFileError, match="No file to import"):
        importing()


@pytest.fixture(scope="module")
def online_retail() -> list[Path]:
    folder = Path(__file__).parents[2] / ".." / "shared" / "data" / "online-retail"
    files = sorted(folder.glob("*.csv"))
    if not files:
        pytest.skip("Online Retail is not at ../shared/data/online-retail")
    return files


def test_online_retail_lands_whole(importing, online_retail):
    report = importing(
        *online_retail,
        user_id="CustomerID",
        event_ts="InvoiceDate",
        event_type="(CASE WHEN InvoiceNo LIKE 'C%' THEN 'cancellation' ELSE 'purchase' END)",
        country="Country",
    )
    assert report == ImportReport(files=305, rows=541_909, without_user_id=135_080)
    assert report.summary is not None
    assert len(report.summary.users) == 4_372
    assert report.summary.event_types == {"purchase": 532_621, "cancellation": 9_288}
    events = importing.events()
    assert len({event["event_id"] for event in events}) == 541_909
    assert len({event["user_id"] for event in events if "user_id" in event}) == 4_372
    assert {event["event_type"] for event in events} == {"purchase", "cancellation"}
    assert {event["country"] for event in events} >= {"United Kingdom", "EIRE"}
    times = [event["event_ts"] for event in events]
    assert (min(times), max(times)) == ("2010-12-01T08:26:00.000000Z", "2011-12-09T12:50:00.000000Z")
