"""Inputs that went wrong for somebody, as Bronze takes them in; skipped where their folder is not at hand."""

import datetime as dt
import shutil
from collections import Counter
from pathlib import Path

import pytest

from churn_assets.lakehouse.ingestion import Ingestion, ingest
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import LANDED_EVENTS

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)

FOLDERS = [parent / "shared" / "data" / "hard-cases" for parent in Path(__file__).parents]
CASES = next((folder for folder in FOLDERS if folder.is_dir()), None)

pytestmark = pytest.mark.skipif(CASES is None, reason="shared/data/hard-cases is not beside this checkout")


def taken_in(lake: Lakehouse, case: str) -> Ingestion:
    assert CASES is not None
    shutil.copytree(CASES / case, lake.settings.landing_root)
    return ingest(lake, lambda: NOON)


def lines(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    """How many lines of each file are in Bronze, and how many of them are no JSON object."""
    rows = lake.read(LANDED_EVENTS).selectExpr("_source_file", "_corrupt_record IS NOT NULL").collect()
    counted = Counter(row[0] for row in rows)
    corrupt = Counter(row[0] for row in rows if row[1])
    return {name: (counted[name], corrupt[name]) for name in counted}


def test_other_suffixes(lake: Lakehouse) -> None:
    done = taken_in(lake, "other-suffixes")

    assert (done.files, done.passed_over, done.left_out) == (2, [], {})
    assert lines(lake) == {"base.json": (3, 0), "events.jsonl": (1, 0)}


def test_wild_lines(lake: Lakehouse) -> None:
    done = taken_in(lake, "wild-lines")

    # Empty files hold no line, and so Bronze does not know their names.
    assert (done.files, done.passed_over, done.left_out) == (14, [], {})
    assert lines(lake) == {
        "EVENTS.JSON": (1, 0),
        "array.json": (2, 2),
        "crlf_bom.json": (2, 0),
        "events.jsonl": (1, 0),
        "ids.json": (18, 0),
        "multi.json.gz": (2, 0),
        "odd.json": (13, 5),
        "onearray.json": (1, 1),
        "pretty.json": (5, 5),
        "times.json": (21, 0),
        "trail.json": (2, 2),
        "utf16.json": (2, 2),
    }
    ids = {row[0] for row in lake.read(LANDED_EVENTS).select("event_id").collect()}
    assert {"JU", "jl", "c1", "c2", "m1", "m2"} <= ids
