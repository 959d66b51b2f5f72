"""What went wrong in public, in small files of ``shared/data/hard-cases``; a test is named as its folder."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as papq
import pytest

from churn_assets.errors import ImportFileError
from churn_assets.sample.csv_dialect import CsvOptions

HARD_CASES = Path(__file__).parents[3] / "shared" / "data" / "hard-cases"
ORDERS = {"user_id": "Email", "event_ts": "Created at", "event_type": "=purchase"}

in_hard_cases = pytest.mark.skipif(
    not HARD_CASES.exists(), reason="shared/data/hard-cases is not here, and the product does not ship it"
)


@in_hard_cases
@pytest.mark.parametrize("order", [("w1", "w2"), ("w2", "w1")])
def test_reexport_newest_first(importing, order):
    for week in order:
        importing(HARD_CASES / "reexport-newest-first" / week / "orders_export.csv", **ORDERS)
    events = importing.events()
    assert len(events) == 20 + 27
    assert len({event["event_id"] for event in events}) == 27
    different = {tuple(event.values()) for event in events}
    assert len(different) == 27  # so no id has two contents, and nothing goes to quarantine
    assert max(event["event_ts"] for event in events) == "2026-06-28T08:00:00.000000Z"


@in_hard_cases
def test_epoch_millis(importing):
    options = {"user_id": "visitorid", "event_type": "event"}
    file = HARD_CASES / "epoch-millis" / "events.csv"
    with pytest.raises(ImportFileError, match=re.escape('Use "(timestamp_millis(bigint(timestamp)))"')):
        importing(file, event_ts="(to_timestamp(timestamp/1000))", **options)
    report = importing(file, event_ts="timestamp", **options)
    assert importing.events()[0]["event_ts"] == "2026-08-27T16:34:05.922000Z"
    assert dict(report.summary.epoch_units) == {"milliseconds": report.rows}
    [warning] = report.warnings
    assert warning == (
        "no event is called purchase. To have it so: "
        "--event-type \"(CASE WHEN event = 'transaction' THEN 'purchase' ELSE event END)\""
    )


@in_hard_cases
def test_leading_zeros(importing):
    options = {"user_id": "card", "event_ts": "ts"}
    file = HARD_CASES / "leading-zeros" / "cards.csv"
    with pytest.raises(ImportFileError, match=r"cards\.csv row 1: user_id '0012' is not how a whole number"):
        importing(file, **options)
    importing(file, hash_user_id=True, **options)
    events = importing.events()
    assert len({event["user_id"] for event in events}) == 3
    assert [event.get("source_user_id") for event in events] == ["0012", None, "012"]
    assert events[1]["user_id"] == 12


@in_hard_cases
def test_backslash_quotes(importing):
    options = {"user_id": "user", "event_ts": "ts", "event_type": "note"}
    file = HARD_CASES / "backslash-quotes" / "mysql.csv"
    with pytest.raises(ImportFileError, match="line 2 goes on after a closing quote"):
        importing(file, written=CsvOptions(escape=""), **options)
    assert importing(file, **options).notes == ["mysql.csv: \\ escapes a quote"]
    assert [event["event_type"] for event in importing.events()] == ['TV 50"', 'TV 40"', "ok"]


def test_the_function_that_is_named_instead_works_on_text_and_numbers(importing):
    importing.write("a.csv", "user_id,event_ts\n1,1787848445922\n")
    papq.write_table(pa.table({"user_id": [1], "event_ts": [1787848445922]}), importing.folder / "b.parquet")
    importing("a.csv", "b.parquet", event_ts="(timestamp_millis(bigint(event_ts)))")
    assert [event["event_ts"] for event in importing.events()] == ["2026-08-27T16:34:05.922000Z"] * 2


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("(timestamp(bigint(event_ts)))", "timestamp_seconds(BIGINT(event_ts))"),
        ("(to_timestamp(event_ts / 1000000))", "timestamp_micros(bigint(event_ts))"),
        ("(coalesce(to_timestamp(bigint(event_ts) div 1000), NULL))", "timestamp_millis(BIGINT(event_ts))"),
        ("(cast(event_ts as date))", "to_date(cast(event_ts as timestamp))"),
        ("(to_timestamp((select max(event_ts) from text.`/etc/passwd`)))", "reads a table or a file"),
        ("(if(exists(select 1), event_ts, event_ts))", "reads a table or a file"),
        ("(lag(event_ts) over (order by user_id))", "reads other rows"),
        ("(max(event_ts))", "reads other rows"),
        ("(current_timestamp())", "each import would give something else"),
        ("(text.`/etc/passwd`)", "is no SQL expression over the columns"),
    ],
)
def test_an_expression_is_refused_if_engines_differ_or_it_reads_more_than_the_row(
    importing, expression, said
):
    importing.write("a.csv", "user_id,event_ts\n1,1787848445\n")
    with pytest.raises(ImportFileError, match=re.escape(said)) as caught:
        importing("a.csv", event_ts=expression)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "unit"),
    [
        ("1787848445", "seconds"),
        ("1787848445922", "milliseconds"),
        ("1787848445922333", "microseconds"),
    ],
)
def test_an_epoch_number_is_recognised_as_text_and_as_any_number(importing, number, unit):
    importing.write("a.csv", f"user_id,event_ts\n1,{number}\n")
    importing.write("b.jsonl", f'{{"user_id": 1, "event_ts": {number}}}\n')
    for name, kind in (("c", pa.int64()), ("d", pa.float64())):
        times = pa.array([int(number)]).cast(kind)
        papq.write_table(pa.table({"user_id": [1], "event_ts": times}), importing.folder / f"{name}.parquet")
    report = importing("a.csv", "b.jsonl", "c.parquet", "d.parquet")
    assert dict(report.summary.epoch_units) == {unit: 4}
    [time] = {event["event_ts"] for event in importing.events()}
    assert time[:19] == "2026-08-27T16:34:05"


@pytest.mark.parametrize(
    ("number", "expression"),
    [
        ("20260101", "(to_timestamp(string(event_ts), 'yyyyMMdd'))"),
        ("20260101123000", "(to_timestamp(string(event_ts), 'yyyyMMddHHmmss'))"),
        ("86400", "(timestamp_seconds(bigint(event_ts)))"),
        ("7", "(timestamp_seconds(bigint(event_ts)))"),
    ],
)
def test_an_ambiguous_number_is_asked_for_with_an_expression_that_works(importing, number, expression):
    importing.write("a.csv", f"user_id,event_ts\n1,{number}\n")
    with pytest.raises(ImportFileError, match=f"row 1: event_ts {number} may mean anything") as caught:
        importing("a.csv")
    assert f'--event-ts "{expression}"' in str(caught.value)
    report = importing("a.csv", event_ts=expression, dry_run=True) if number.startswith("2026") else None
    assert report is None or str(report.summary.first.date()) == "2026-01-01"
