"""What becomes of lines that share an event_id, through the write that Silver is made by."""

import datetime as dt
import random
from itertools import product

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from churn_assets.assets import silver
from churn_assets.assets.silver import cleaned
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINE_REASONS, QUARANTINED_EVENTS
from churn_assets.transforms import accounting, parsing
from churn_assets_tests import reference
from churn_assets_tests.reference import Ingestion
from churn_assets_tests.rows import EARLIEST, NOON, landed_lines, line, nulls_first, rows_of

GOOD_TS = "2026-02-28T10:00:00+00:00"

# The user whom SOURCE_OF_77 belongs to; what a line of one event_id may be, and what is said of it then.
SOURCE_OF_77 = line("first of 77", 77, GOOD_TS, source_user_id="ann")
KINDS = {
    "good": {"user_id": 1},
    "good, other content": {"user_id": 1, "country": "other"},
    "good, with its source": {"user_id": 77, "source_user_id": "ann"},
    "conflicting_source_user_id": {"user_id": 77, "source_user_id": "ben"},
    "missing_user_id": {"user_id": None},
    "bad_user_id": {"user_id": "abc"},
    "bad_event_ts": {"user_id": 1, "event_ts": "n/a"},
    "implausible_event_ts": {"user_id": 1, "event_ts": "1970-01-01T00:00:00+00:00"},
    "future_event_ts": {"user_id": 1, "event_ts": "2999-01-01T00:00:00+00:00"},
}


def take_in(lake: Lakehouse, spark: SparkSession, ingestion: Ingestion) -> None:
    """Land lines and clean what Bronze gained, as the assets do."""
    lines = parsing.taken_apart(landed_lines(spark, ingestion.files))
    lake.write(LANDED_EVENTS, parsing.landed_events(lines, ingestion.at))
    quarantined, events = cleaned(lake, lake.read(LANDED_EVENTS), EARLIEST)
    lake.write(QUARANTINED_EVENTS, quarantined)
    lake.write(EVENTS, events)


def assert_as_calculated(lake: Lakehouse, ingestions: list[Ingestion]) -> None:
    """Silver and quarantine are what the second calculation says, and every line is one thing."""
    expected = reference.silver(ingestions)
    for table, rows in ((EVENTS, expected.events), (QUARANTINED_EVENTS, expected.quarantined)):
        columns = [name for name in table.column_names if name != "_processing_date"]
        found = rows_of(lake.read(table), *columns)
        assert found == sorted(rows[columns].itertuples(index=False, name=None), key=nulls_first)
    landed, events, quarantined = (lake.read(t) for t in (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS))
    delivered = sum(row["lines"] for row in accounting.deliveries(landed, quarantined, events).collect())
    assert landed.count() == sum(len(lines) for each in ingestions for lines in each.files.values())
    assert landed.count() == delivered + quarantined.count()
    assert delivered >= events.count()


def variants(event_id: str | None, *kinds: str) -> list[str]:
    """A line of each kind under one id; bad ones of one kind differ in their country."""
    return [
        line(
            event_id,
            **({"event_ts": GOOD_TS, "country": "GB" if "good" in kind else f"{place}"} | KINDS[kind]),
        )
        for place, kind in enumerate(kinds)
    ]


def test_bad_lines_that_share_an_id_stop_no_write(lake: Lakehouse, spark: SparkSession) -> None:
    lines = [
        '{"event_id":"p1","user_id":"abc","event_ts":"2026-02-28T10:00:00Z","country":"GB"}',
        '{"event_id":"p1","user_id":"abc","event_ts":"2026-02-28T10:00:00Z","country":"DE"}',
        '{"event_id":"g","user_id":"1","event_ts":"2026-02-28T10:00:00Z","country":"DE"}',
    ]
    take_in(lake, spark, Ingestion(NOON, {"a.json": lines}))

    assert rows_of(lake.read(EVENTS), "event_id") == [("g",)]
    assert rows_of(lake.read(QUARANTINED_EVENTS), "reason", "_raw") == [
        ("bad_user_id", lines[1]),
        ("bad_user_id", lines[0]),
    ]


@pytest.mark.parametrize("held", [silver.MOST_RECURRING, 0], ids=["compared here", "too many to hold"])
def test_every_pair_and_triple_of_verdicts_under_one_id_in_every_order(
    lake: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(silver, "MOST_RECURRING", held)
    together = [*product(KINDS, repeat=2), *product(KINDS, repeat=3)]
    lines = [text for number, kinds in enumerate(together) for text in variants(f"id{number}", *kinds)]
    for no_id in (None, "", " \t"):
        lines += [text for kinds in product(KINDS, repeat=2) for text in variants(no_id, *kinds)]
    files = {"a.json": [SOURCE_OF_77, *lines, "no json", "no json"]}
    ingestions = [Ingestion(NOON, files)]

    take_in(lake, spark, ingestions[0])

    assert_as_calculated(lake, ingestions)
    reasons = {row[0] for row in rows_of(lake.read(QUARANTINED_EVENTS), "reason")}
    # Nobody was erased here.
    assert reasons == set(QUARANTINE_REASONS) - {"erased_user"}


def test_of_20_000_lines_with_colliding_ids_each_is_an_event_or_quarantined_or_a_duplicate(
    lake: Lakehouse, spark: SparkSession
) -> None:
    chance = random.Random(20_000)
    sent: list[str] = []

    def one() -> str:
        if sent and chance.random() < 0.1:
            return chance.choice(sent)
        moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=chance.randrange(50_000))
        text = line(
            chance.choice(["", " ", None, *(f"id{chance.randrange(4_000)}" for _ in range(30))]),
            chance.choice(["x", None, "+3", "007", 2**63, *(chance.randrange(300) for _ in range(40))]),
            chance.choice([moment.isoformat()] * 20 + ["n/a", "", "1999-12-31", "2999-01-01"]),
            chance.choice(["purchase", "page_view", None]),
            chance.choice(["DE", None]),
            source_user_id=chance.choice([*[None] * 8, *["ann"] * 8, "ben"]),
        )
        sent.append(text if chance.random() < 0.98 else text[:-2])
        return sent[-1]

    ingestions = [
        Ingestion(
            NOON + dt.timedelta(hours=hour),
            {f"{hour}/{name}.json": [one() for _ in range(5_000)] for name in "ab"},
        )
        for hour in range(2)
    ]
    for ingestion in ingestions:
        take_in(lake, spark, ingestion)

    assert_as_calculated(lake, ingestions)
    sources = lake.read(EVENTS).groupBy("user_id").agg(F.count_distinct("source_user_id").alias("n"))
    assert sources.where("n > 1").count() == 0


@pytest.mark.parametrize("held", [silver.MOST_RECURRING, 5], ids=["compared here", "too many to hold"])
def test_an_id_that_comes_again_with_other_content_is_in_conflict_on_any_date(
    lake: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(silver, "MOST_RECURRING", held)
    days = [f"2026-02-{day:02}T10:00:00+00:00" for day in range(1, 9)]
    sent = [line(f"e{place}", 1, text) for place, text in enumerate(days)]
    # The same ids on the day after, and the first of them once more as it was.
    moved = [line(f"e{place}", 1, text) for place, text in enumerate(days[1:])]
    ingestions = [
        Ingestion(NOON, {"a.json": sent}),
        Ingestion(NOON + dt.timedelta(hours=1), {"b.json": [*moved, sent[0], line("new", 1, days[0])]}),
    ]
    for ingestion in ingestions:
        take_in(lake, spark, ingestion)

    assert_as_calculated(lake, ingestions)
    assert {row[0] for row in rows_of(lake.read(QUARANTINED_EVENTS), "reason")} == {"conflicting_duplicate"}
    assert lake.read(EVENTS).count() == 9
