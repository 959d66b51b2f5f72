import datetime as dt
from decimal import Decimal
from functools import reduce

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets import tables
from churn_assets.transforms import accounting, cleaning
from churn_assets_tests.rows import EARLIEST, NOON, clean, frame, landed_rows, line, nulls_first, rows_of, utc

LATER = NOON + dt.timedelta(hours=6)


TIMES = {
    "2026-03-01T10:20:30.123456Z": utc(2026, 3, 1, 10, 20, 30, 123456),
    "2026-03-01 10:20:30 +0200": utc(2026, 3, 1, 8, 20, 30),
    "1772360430123": utc(2026, 3, 1, 10, 20, 30, 123000),
    "2000-01-01": utc(2000, 1, 1),
    "1999-12-31T23:59:59.9999999": "implausible_event_ts",
    "1970-01-01T00:00:00Z": "implausible_event_ts",
    "1970-01-02": "implausible_event_ts",
    "1970-01-01T00:30:00+01:00": "bad_event_ts",
    "1969-12-31T23:59:59Z": "bad_event_ts",
    "2026-13-01": "bad_event_ts",
    "0": "bad_event_ts",
    "n/a": "bad_event_ts",
    "": "bad_event_ts",
    None: "bad_event_ts",
}

USER_IDS = {
    "17": 17,
    "17.0": 17,
    "-17": -17,
    "9223372036854775808": "bad_user_id",
    "0017": "bad_user_id",
    "+17": "bad_user_id",
    "me@example.com": "bad_user_id",
    "": "missing_user_id",
    " \t": "missing_user_id",
    None: "missing_user_id",
}


def no_events(spark):
    return frame(spark, tables.EVENTS, [])


def typed(landed):
    return cleaning.typed(landed, EARLIEST)


def test_an_event_ts_is_a_plausible_time_or_not_of_an_event(spark):
    lines = [line(str(i), 1, text) for i, text in enumerate(TIMES)]
    rows = typed(landed_rows(spark, *lines)).collect()
    texts = list(TIMES)
    found = {texts[int(row["event_id"])]: row["reason"] or row["event_ts"].astimezone(dt.UTC) for row in rows}
    assert found == TIMES


def test_a_user_id_is_a_canonical_integer_or_not_of_an_event(spark):
    lines = [line(str(i), text, "2026-03-01") for i, text in enumerate(USER_IDS)]
    rows = typed(landed_rows(spark, *lines)).collect()
    ids = list(USER_IDS)
    assert {ids[int(row["event_id"])]: row["reason"] or row["user_id"] for row in rows} == USER_IDS


def test_the_first_reason_that_applies_is_the_one_given(spark):
    table = typed(
        landed_rows(
            spark,
            "no json",
            line(None, None, None, country="1"),
            line(" \t\f\v", "x", "x", country="2"),
            line("c", "", "x"),
            line("d", "x", "x"),
            line("e", "1", "x"),
            line("e2", "1", "1999-12-31"),
            line("f", "1", "9999-12-31T23:59:59-01:00"),
            line("g", "1", "2026-03-01T13:00:00.000001"),
            line("h", "1", "2026-03-01T13:00:00"),
        )
    )
    found = [tuple(row) for row in table.select("event_id", "country", "reason").collect()]
    assert sorted(found, key=nulls_first) == [
        (None, None, "corrupt"),
        (None, "1", "missing_event_id"),
        (" \t\f\v", "2", "missing_event_id"),
        ("c", "DE", "missing_user_id"),
        ("d", "DE", "bad_user_id"),
        ("e", "DE", "bad_event_ts"),
        ("e2", "DE", "implausible_event_ts"),
        ("f", "DE", "future_event_ts"),
        ("g", "DE", "future_event_ts"),
        ("h", "DE", None),
    ]


def test_the_rows_without_a_reason_become_events_and_the_others_quarantined(spark):
    lines = [
        *(line(f"t{i}", 1, text) for i, text in enumerate(TIMES)),
        *(line(f"u{i}", text, "2026-03-01") for i, text in enumerate(USER_IDS)),
        "no json",
        "",
        line(" ", 1, "2026-03-01"),
        line("f", 1, "2026-03-02"),
    ]
    rows = landed_rows(spark, *lines)
    batch = clean(rows, no_events(spark))
    reasons = typed(rows).where("reason IS NOT NULL")
    assert rows_of(batch.quarantined, "reason", "event_id", "_raw") == rows_of(
        reasons, "reason", "event_id", "_raw"
    )
    assert batch.events.count() + batch.quarantined.count() == len(lines)


def test_a_clean_batch_keeps_to_the_contracts(spark):
    batch = clean(
        landed_rows(
            spark, line(" a ", "7.0", "2026-03-01T23:30:00-01:00", "purchase", None), line("b", 7, "x")
        ),
        no_events(spark),
    )
    for table, contract in ((batch.events, tables.EVENTS), (batch.quarantined, tables.QUARANTINED_EVENTS)):
        assert table.dtypes == [(column.name, column.type) for column in contract.columns]
    # The event lies after the ingestion, at 00:30 of the next day, and so is in the quarantine too.
    assert rows_of(batch.events) == []
    assert rows_of(batch.quarantined, "reason", "event_id", "occurrence") == [
        ("bad_event_ts", "b", 1),
        ("future_event_ts", " a ", 1),
    ]


def test_an_event_is_typed_and_keeps_its_id_as_it_landed_rows(spark):
    rows = landed_rows(spark, line(" a ", "7.0", "2026-02-27T23:30:00-01:00", "purchase", None))
    assert rows_of(clean(rows, no_events(spark)).events) == [
        (" a ", 7, utc(2026, 2, 28, 0, 30), dt.date(2026, 2, 28), "purchase", None, NOON, None, None)
    ]


def test_equal_events_are_one_event_however_they_are_spelled(spark):
    rows = landed_rows(
        spark,
        line("a", 7, "2026-03-01T10:00:00Z"),
        line("a", 7, "2026-03-01T10:00:00Z"),
        line("a", "7.00", "2026-03-01 12:00+02:00", extra="rescued"),
    ).unionByName(landed_rows(spark, line("a", 7, "2026-03-01T10:00:00Z"), at=LATER, file="b.jsonl"))
    batch = clean(rows, no_events(spark))
    assert rows_of(batch.events, "event_id", "user_id", "_ingested_at") == [("a", 7, NOON)]
    assert rows_of(batch.quarantined) == []


def test_an_event_that_silver_holds_is_not_new(spark):
    silver = frame(
        spark,
        tables.EVENTS,
        [
            ("same", 1, utc(2026, 3, 1), dt.date(2026, 3, 1), "login", None, NOON),
            ("other day", 1, utc(2026, 2, 1), dt.date(2026, 2, 1), "login", "DE", NOON),
            ("no country", 1, utc(2026, 3, 1), dt.date(2026, 3, 1), "login", None, NOON),
            ("untouched", 1, utc(2026, 3, 1), dt.date(2026, 3, 1), "login", "DE", NOON),
        ],
    )
    rows = landed_rows(
        spark,
        line("same", 1, "2026-03-01", "login", None),
        line("other day", 1, "2026-03-01", "login", "DE"),
        line("other day", 1, "2026-02-01", "login", "DE"),
        line("no country", 1, "2026-03-01", "login", "DE"),
        line("new", 1, "2026-03-01", "login", "DE"),
        at=LATER,
    )
    batch = clean(rows, silver)
    assert rows_of(batch.events, "event_id", "_ingested_at") == [("new", LATER)]
    assert rows_of(batch.quarantined, "reason", "_raw") == [
        ("conflicting_duplicate", line("no country", 1, "2026-03-01", "login", "DE")),
        ("conflicting_duplicate", line("other day", 1, "2026-03-01", "login", "DE")),
    ]


def test_of_different_events_with_one_id_the_first_to_arrive_stays(spark):
    first = landed_rows(spark, line("a", 9, "2026-03-01"), line("a", "x", "2026-03-01"))
    second = landed_rows(
        spark, line("a", 1, "2026-02-01"), line("a", 9, "2026-03-01"), at=LATER, file="b.jsonl"
    )
    batch = clean(second.unionByName(first), no_events(spark))
    assert rows_of(batch.events, "user_id", "_ingested_at") == [(9, NOON)]
    assert rows_of(batch.quarantined, "reason", "_raw", "_ingested_at") == [
        ("bad_user_id", line("a", "x", "2026-03-01"), NOON),
        ("conflicting_duplicate", line("a", 1, "2026-02-01"), LATER),
    ]


def test_an_amount_that_is_no_number_costs_the_event_only_its_amount(spark):
    lines = [line(str(i), 1, "2026-03-01", amount=text) for i, text in enumerate(["much", "", None, "12.5"])]
    batch = clean(landed_rows(spark, *lines), no_events(spark))
    assert rows_of(batch.events, "event_id", "amount") == [
        ("0", None),
        ("1", None),
        ("2", None),
        ("3", Decimal("12.50")),
    ]
    assert rows_of(batch.quarantined) == []


def test_amounts_that_are_no_numbers_are_found_in_bronze(spark):
    lines = [line(str(i), 1, "n/a", amount=text) for i, text in enumerate(["much", " ", None, 12.5, "1e3"])]
    landed = landed_rows(spark, *lines)
    assert rows_of(accounting.unreadable_amounts(landed), "event_id", "amount") == [
        ("0", "much"),
        ("4", "1e3"),
    ]


def test_two_amounts_are_two_events_and_however_spelled_one_amount_is_one(spark):
    lines = [line("two", 1, "2026-03-01", amount=amount) for amount in ("7", "-5", "7.00")]
    lines += [line("one", 1, "2026-03-01", amount=amount) for amount in (5, "5.000", " 5")]
    batch = clean(landed_rows(spark, *lines), no_events(spark))
    assert rows_of(batch.events, "event_id", "amount") == [("one", Decimal(5)), ("two", Decimal(-5))]
    assert rows_of(batch.quarantined, "reason", "_raw") == [
        ("conflicting_duplicate", lines[0]),
        ("conflicting_duplicate", lines[2]),
    ]


def test_an_event_keeps_the_amount_of_its_first_ingestion_and_none_goes_with_any(spark):
    without, five, six = (line("a", 1, "2026-03-01", amount=amount) for amount in (None, 5, 6))

    def cleaned(*arrivals):
        batches = [
            landed_rows(spark, text, at=NOON + dt.timedelta(hours=hour), file=f"{hour}.jsonl")
            for hour, text in enumerate(arrivals)
        ]
        batch = clean(reduce(DataFrame.unionByName, batches), no_events(spark))
        return rows_of(batch.events, "amount"), rows_of(batch.quarantined, "_raw")

    assert cleaned(without, five, six) == ([(None,)], [])
    assert cleaned(five, without, six) == ([(Decimal(5),)], [(six,)])
    assert cleaned(five, without) == ([(Decimal(5),)], [])


def test_the_amount_that_silver_holds_is_in_conflict_with_another_and_with_none_it_is_not(spark):
    moment = (utc(2026, 3, 1), dt.date(2026, 3, 1), "page_view", "DE", NOON, None)
    silver = frame(spark, tables.EVENTS, [("held", 1, *moment, Decimal(5)), ("old", 1, *moment, None)])
    lines = [line("held", 1, "2026-03-01", amount=amount) for amount in (5, 6, None)]
    batch = clean(landed_rows(spark, *lines, line("old", 1, "2026-03-01", amount=7), at=LATER), silver)
    assert rows_of(batch.events) == []
    assert rows_of(batch.quarantined, "reason", "_raw") == [("conflicting_duplicate", lines[1])]


@pytest.mark.parametrize("reverse", [False, True])
def test_of_different_events_in_one_ingestion_the_smallest_stays(spark, reverse):
    lines = [
        line("user", 2, "2026-02-01"),
        line("user", 1, "2026-03-01"),
        line("ts", 1, "2026-03-01T00:00:00.000001"),
        line("ts", 1, "2026-03-01"),
        line("type", 1, "2026-03-01", "a", "a"),
        line("type", 1, "2026-03-01", None, "b"),
        line("country", 1, "2026-03-01", "a", "DE"),
        line("country", 1, "2026-03-01", "a", None),
        line("swapped", 1, "2026-03-01", "x", None),
        line("swapped", 1, "2026-03-01", None, "x"),
    ]
    batch = clean(landed_rows(spark, *(lines[::-1] if reverse else lines)), no_events(spark))
    assert rows_of(batch.events, "event_id", "user_id", "event_ts", "event_type", "country") == [
        ("country", 1, utc(2026, 3, 1), "a", None),
        ("swapped", 1, utc(2026, 3, 1), None, "x"),
        ("ts", 1, utc(2026, 3, 1), "page_view", "DE"),
        ("type", 1, utc(2026, 3, 1), None, "b"),
        ("user", 1, utc(2026, 3, 1), "page_view", "DE"),
    ]
    losers = [("conflicting_duplicate", text) for text in sorted(lines[i] for i in (0, 2, 4, 6, 8))]
    assert rows_of(batch.quarantined, "reason", "_raw") == losers


def test_an_event_too_early_for_its_first_delivery_counts_from_the_second(spark):
    ahead = line("a", 1, "2026-03-01T16:00:00")
    rows = landed_rows(spark, ahead).unionByName(landed_rows(spark, ahead, at=LATER, file="b.jsonl"))
    batch = clean(rows, no_events(spark))
    assert rows_of(batch.events, "event_id", "_ingested_at") == [("a", LATER)]
    assert rows_of(batch.quarantined, "reason", "_ingested_at") == [("future_event_ts", NOON)]


def test_cleaning_a_batch_again_gives_the_same_quarantine_and_no_events(spark):
    rows = landed_rows(
        spark,
        line("a", 2, "2026-03-01"),
        line("a", 1, "2026-03-01"),
        line("a", 2, "2026-03-01"),
        line("b", 1, "2026-03-01"),
        "no json",
    )
    once = clean(rows, no_events(spark))
    again = clean(rows, frame(spark, tables.EVENTS, once.events.collect()))
    assert again.events.count() == 0
    assert rows_of(again.quarantined) == rows_of(once.quarantined)
    assert once.quarantined.count() == 3


def test_identical_lines_of_a_file_are_numbered_and_share_their_verdict(spark):
    lost, kept, broken = line("a", 2, "2026-03-01"), line("a", 1, "2026-03-01"), "no json"
    rows = landed_rows(spark, lost, broken, kept, lost, broken, kept, broken)
    rows = rows.unionByName(landed_rows(spark, broken, lost, file="b.jsonl"))
    batch = clean(rows, no_events(spark))
    assert rows_of(batch.quarantined, "_source_file", "_raw", "occurrence", "reason") == [
        ("a.jsonl", broken, 1, "corrupt"),
        ("a.jsonl", broken, 2, "corrupt"),
        ("a.jsonl", broken, 3, "corrupt"),
        ("a.jsonl", lost, 1, "conflicting_duplicate"),
        ("a.jsonl", lost, 2, "conflicting_duplicate"),
        ("b.jsonl", broken, 1, "corrupt"),
        ("b.jsonl", lost, 1, "conflicting_duplicate"),
    ]


def test_an_event_is_judged_by_the_clock_and_not_by_a_ledger_that_is_ahead_of_it(spark):
    early = line("early", 1, "2026-03-01T14:00:00")
    fine = line("fine", 1, "2026-03-01T12:30:00")
    stamped_ahead = landed_rows(spark, early, fine, at=utc(2027, 3, 1)).withColumn(
        "_clock_at", F.lit("2026-03-01 12:00:00").cast("timestamp")
    )
    batch = clean(stamped_ahead, no_events(spark))
    assert rows_of(batch.events, "event_id", "_ingested_at") == [("fine", utc(2027, 3, 1))]
    assert rows_of(batch.quarantined, "reason", "_raw") == [("future_event_ts", early)]


def test_lines_from_before_the_clock_was_kept_are_judged_by_their_ingestion(spark):
    rows = landed_rows(spark, line("a", 1, "2026-03-01T14:00:00"), line("b", 1, "2026-03-01T12:30:00"))
    batch = clean(rows.withColumn("_clock_at", F.lit(None).cast("timestamp")), no_events(spark))
    assert rows_of(batch.events, "event_id") == [("b",)]
