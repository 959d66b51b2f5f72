import datetime as dt

from churn_assets import tables
from churn_assets.transforms.recurrence import id_hash, recurring_ids, rows_with
from churn_assets_tests.rows import NOON, frame, landed_rows, line, utc


def event(event_id, user_id, event_ts="2026-02-28T10:00:00Z"):
    return line(event_id, user_id, event_ts)


def recurring(landed, silver=None):
    """How often each event_id is among the rows that may recur, and where Silver has it."""
    ids = recurring_ids(landed, silver)
    rows = rows_with(landed, ids).withColumn("id_hash", id_hash()).join(ids, "id_hash")
    found = {}
    for row in rows.collect():
        count, _ = found.get(row["event_id"], (0, None))
        found[row["event_id"]] = (count + 1, sorted(row["known_dates"]))
    return found


def test_all_rows_of_an_id_that_a_batch_has_twice_recur_and_no_others(spark):
    landed = landed_rows(spark, event("twice", 1), event("once", 1), event("twice", 2, "n/a"))

    assert recurring(landed) == {"twice": (2, [])}


def test_an_id_that_silver_has_recurs_with_the_dates_of_its_events(spark):
    silver = frame(
        spark,
        tables.EVENTS,
        [
            ("known", 1, utc(2026, 2, 3), dt.date(2026, 2, 3), None, None, NOON),
            ("other", 1, utc(2026, 2, 4), dt.date(2026, 2, 4), None, None, NOON),
        ],
    )
    landed = landed_rows(spark, event("known", 1), event("new", 1), event("twice", 1), event("twice", 1))

    assert recurring(landed, silver) == {"known": (1, [dt.date(2026, 2, 3)]), "twice": (2, [])}


def test_rows_without_an_id_do_not_recur_however_many_there_are(spark):
    landed = landed_rows(
        spark, event(None, 1), event(None, 1), event("", 1), event("", 1), "no json", "no json"
    )

    assert recurring(landed) == {}
