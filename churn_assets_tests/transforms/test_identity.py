"""One source id a user."""

import datetime as dt

import pytest

from churn_assets import tables
from churn_assets.transforms import accounting, activity
from churn_assets_tests.rows import NOON, clean, frame, landed_rows, line, rows_of, utc

LATER = NOON + dt.timedelta(hours=6)
CONFLICT = "conflicting_source_user_id"


def sent(event_id, user_id, source):
    return line(event_id, user_id, "2026-02-01", source_user_id=source)


def silver(spark, *rows):
    """Events as Silver holds them: id, user and source id."""
    return frame(
        spark,
        tables.EVENTS,
        [
            (i, user, utc(2026, 2, 1), dt.date(2026, 2, 1), "page_view", "DE", NOON, source)
            for i, user, source in rows
        ],
    )


def of(batch):
    """Event ids with their source ids, and the event ids in quarantine with their reasons."""
    return (
        rows_of(batch.events, "event_id", "source_user_id"),
        rows_of(batch.quarantined, "event_id", "reason"),
    )


def test_of_two_source_ids_with_one_user_id_the_first_to_arrive_stays(spark):
    first = landed_rows(spark, sent("a", 7, "zoe@example.com"))
    second = landed_rows(
        spark, sent("b", 7, "ann@example.com"), sent("c", 7, "zoe@example.com"), at=LATER, file="b"
    )

    assert of(clean(second.unionByName(first), silver(spark))) == (
        [("a", "zoe@example.com"), ("c", "zoe@example.com")],
        [("b", CONFLICT)],
    )
    # And the same if the second came alone.
    assert of(clean(second, silver(spark, ("a", 7, "zoe@example.com")))) == (
        [("c", "zoe@example.com")],
        [("b", CONFLICT)],
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_in_one_ingestion_the_smaller_stays_in_any_order(spark, reverse):
    lines = [
        sent("a", 7, "zoe"),
        sent("b", 7, "ann"),
        sent("c", 7, None),
        sent("d", 8, "zoe"),
        sent("e", 7, " "),
    ]
    batch = clean(landed_rows(spark, *(lines[::-1] if reverse else lines)), silver(spark))

    assert of(batch) == ([("b", "ann"), ("c", None), ("d", "zoe"), ("e", None)], [("a", CONFLICT)])
    assert rows_of(activity.users(batch.events), "user_id", "source_user_id") == [(7, "ann"), (8, "zoe")]


def test_a_line_delivered_again_with_a_source_id_is_an_exact_duplicate(spark):
    known = silver(spark, ("a", 7, None), ("b", 8, "ann"))
    batch = clean(landed_rows(spark, sent("a", 7, "zoe"), sent("b", 8, None), at=LATER), known)

    assert of(batch) == ([], [])


def test_an_event_keeps_the_source_id_that_its_first_ingestion_brought(spark):
    first = landed_rows(spark, sent("a", 7, None), sent("b", 8, None), sent("b", 8, "ann"))
    second = landed_rows(spark, sent("a", 7, "zoe"), at=LATER, file="b")

    assert of(clean(first.unionByName(second), silver(spark))) == ([("a", None), ("b", "ann")], [])


def test_a_line_that_is_refused_for_another_reason_claims_no_user(spark):
    lost = line("a", 7, "2026-02-02", source_user_id="ann")  # loses its event_id to the line of user 1
    lines = [lost, sent("a", 1, None), line("bad", 7, "n/a", source_user_id="ann"), sent("b", 7, "zoe")]

    events, quarantined = of(clean(landed_rows(spark, *lines), silver(spark)))
    assert events == [("a", None), ("b", "zoe")]
    assert [reason for _, reason in quarantined] == [CONFLICT, "bad_event_ts"]


def test_a_refused_line_leaves_its_event_to_another_delivery(spark):
    known = silver(spark, ("x", 7, "ann"))
    batch = clean(landed_rows(spark, sent("a", 7, "zoe"), sent("a", 7, "ann"), at=LATER), known)

    assert of(batch) == ([("a", "ann")], [("a", CONFLICT)])
    landed = landed_rows(spark, sent("a", 7, "zoe"), sent("a", 7, "ann"))
    deliveries = accounting.deliveries(landed, batch.quarantined, batch.events).collect()
    assert sorted(row["lines"] for row in deliveries) == [-1, 1, 1]


def test_what_an_earlier_release_accepted_is_still_accounted_for(spark):
    long_ago = dt.date(1985, 2, 1)
    events = frame(
        spark,
        tables.EVENTS,
        [
            ("a", 7, utc(2026, 2, 1), dt.date(2026, 2, 1), "page_view", "DE", NOON),
            ("b", 7, utc(1985, 2, 1), long_ago, "page_view", "DE", NOON),
        ],
    )
    landed = landed_rows(spark, sent("a", "007", None), sent("a", 7, None), line("b", "+7", "1985-02-01"))

    nothing = frame(spark, tables.QUARANTINED_EVENTS, [])
    assert [row["lines"] for row in accounting.deliveries(landed, nothing, events).collect()] == [1, 1, 1]
