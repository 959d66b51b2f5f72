"""Days that are lacking inside the data, and times that are wrong: `outage-inside` of the hard cases."""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.runs.runner import QUIET, PipelineReport
from churn_assets.automation.staleness.planning import make_plan
from churn_assets.automation.staleness.staleness import NOT_TO_LABEL
from churn_assets.dates import ONE_DAY, DateRange, contiguous_ranges
from churn_assets.lakehouse.freshness import last_date
from churn_assets.tables import CHURN_LABELS, USER_FEATURES, USERS
from churn_assets_tests.end_to_end.conftest import House
from churn_assets_tests.rows import frame

CASE = Path(__file__).parents[3] / "shared" / "data" / "hard-cases" / "outage-inside" / "base.json"
FIRST, LAST = dt.date(2026, 6, 1), dt.date(2026, 8, 31)
SILENT = DateRange(dt.date(2026, 7, 10), dt.date(2026, 7, 18))
UNLABELLED = DateRange(dt.date(2026, 7, 3), dt.date(2026, 7, 17))
LAST_LABEL = LAST - 7 * ONE_DAY
NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)

pytestmark = pytest.mark.skipif(
    not CASE.exists(), reason="shared/data/hard-cases is not here, and the product does not ship it"
)


@pytest.fixture(scope="module")
def shop(make_house: Callable[..., House], tmp_path_factory: pytest.TempPathFactory) -> House:
    found = make_house(tmp_path_factory.mktemp("outage"), start_date=FIRST, horizon_days=7)
    found.landing.mkdir(parents=True)
    shutil.copy(CASE, found.landing)
    return found


def run(house: House) -> PipelineReport:
    """From files to labels: what is said of days needs no model, which takes long to import."""
    for stage in ("ingest", "featurize"):
        report = Pipeline(house.definitions, house.lake, house.instance, lambda _: None).run_stage(stage, NOW)
    return report


def labelled_dates(house: House) -> list[DateRange]:
    return contiguous_ranges(day for day, rows in house.lake.partition_rows(CHURN_LABELS).items() if rows)


def land(house: House, name: str, days: list[dt.date]) -> None:
    lines = [
        {
            "event_id": f"{name}-{i}",
            "user_id": i % 60 + 1,
            "event_ts": f"{day}T09:00:00Z",
            "event_type": "view",
        }
        for i, day in enumerate(days)
    ]
    (house.landing / f"{name}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


BEFORE = DateRange(FIRST, UNLABELLED.start - ONE_DAY)
AFTER = DateRange(UNLABELLED.end + ONE_DAY, LAST_LABEL)


def test_dates_whose_horizon_overlaps_the_outage_have_no_label_and_it_is_said(shop: House) -> None:
    report = run(shop)

    assert report.covered == DateRange(FIRST, LAST)
    assert labelled_dates(shop) == [BEFORE, AFTER]
    # Without the outage a week's silence is rare here; with it nine dates had a rate of 1.00.
    rates = shop.content(CHURN_LABELS).groupby("feature_date")["label"].mean()
    assert rates.max() < 0.4
    assert (
        "No events, or next to none, from 2026-07-10 to 2026-07-18: 15 feature_dates are not labelled "
        "(2026-07-03 to 2026-07-17). Land the missing days and run again."
    ) in report.notes


def test_nothing_is_left_to_do_though_dates_lack_their_labels(on_sail: None, shop: House) -> None:
    assert make_plan(shop.lake, NOW).only(USER_FEATURES, CHURN_LABELS).steps() == []
    assert make_plan(shop.lake, NOW, scores=False).steps() == []
    # Dates in an outage are not due, and what is due is there.
    in_the_outage = dt.datetime(2026, 7, 24, 12, tzinfo=dt.UTC)
    assert last_date(shop.lake, CHURN_LABELS, in_the_outage).due == BEFORE.end


def test_wrong_times_change_no_label_no_feature_and_nobody_s_age(on_sail: None, shop: House) -> None:
    tables = (CHURN_LABELS, USER_FEATURES)
    before, first_seen = (
        [shop.content(table) for table in tables],
        shop.content(USERS)[["user_id", "first_seen_date"]],
    )
    land(shop, "clocks", [dt.date(2026, 10, 15), dt.date(2026, 3, 1)])

    report = run(shop)

    assert report.covered == DateRange(FIRST, LAST)
    assert all(shop.content(table).equals(old) for table, old in zip(tables, before, strict=True))
    assert shop.content(USERS)[["user_id", "first_seen_date"]].equals(first_seen)
    assert "1 event of 2026-03-01 lies far before all others" in " ".join(report.notes)
    assert "1 event of 2026-10-15 lies after the last complete day, 2026-08-31" in " ".join(report.notes)


def test_labels_that_an_earlier_release_left_are_taken_away(
    on_sail: None, shop: House, spark: SparkSession
) -> None:
    days = [UNLABELLED.start, LAST + 20 * ONE_DAY]
    for day in days:
        shop.lake.write(CHURN_LABELS, frame(spark, CHURN_LABELS, [(1, day, 1)]), DateRange(day, day))
    assert make_plan(shop.lake, NOW).reasons[CHURN_LABELS] == dict.fromkeys(days, NOT_TO_LABEL)

    run(shop)

    assert labelled_dates(shop) == [BEFORE, AFTER]


def test_a_backfill_over_the_outage_works_and_says_which_dates_have_no_label(
    on_sail: None, shop: House
) -> None:
    tags = {
        "dagster/asset_partition_range_start": "2026-07-01",
        "dagster/asset_partition_range_end": "2026-07-05",
    }
    result = shop.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=shop.instance, asset_selection=[asset_key(CHURN_LABELS)], tags=tags, run_config=QUIET
    )

    assert labelled_dates(shop) == [BEFORE, AFTER]
    said = [event.materialization.metadata for event in result.get_asset_materialization_events()]
    assert said
    assert all(one["unlabelled_dates"].value == "3: 2026-07-03 to 2026-07-05" for one in said)


def test_late_days_make_the_labels_appear(on_sail: None, shop: House) -> None:
    # All but the first two days, which end no outage of their own: dates before them see no new event.
    days = [day for day in list(SILENT.days())[2:] for _ in range(30)]
    land(shop, "late", days)

    report = run(shop)

    assert labelled_dates(shop) == [DateRange(FIRST, LAST_LABEL)]
    assert "2 days (2026-07-10 to 2026-07-11)" in " ".join(report.notes)
    assert make_plan(shop.lake, NOW).only(CHURN_LABELS).steps() == []
