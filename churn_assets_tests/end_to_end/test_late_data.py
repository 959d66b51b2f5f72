"""A batch that comes three days late: what the automation recomputes for it, and what the tables are then.

Which dates must be recomputed is worked out here a second time, from the events and the windows alone.
"""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.run_tags import RANGE_END_TAG, RANGE_START_TAG, REASON_TAG
from churn_assets.automation.staleness.plan import BY_MODEL
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    DELIVERIES,
    EVENTS,
    FEATURE_DRIFT,
    MODEL_PROMOTIONS,
    PREDICTION_OUTCOMES,
    RETENTION_LIST,
    TABLES,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    Table,
)
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, HORIZON, LAST_DAY, NOW, Frame, House
from churn_assets_tests.end_to_end.daemon import ingest, until_current

LAST_LABEL = LAST_DAY - HORIZON * ONE_DAY

Days = set[dt.date]


def days(start: dt.date, end: dt.date) -> Days:
    """The covered days among these."""
    return {day for day in DateRange(FIRST_DAY, LAST_DAY).days() if start <= day <= end}


def month_end(day: dt.date) -> dt.date:
    """The last day of its month."""
    return (day.replace(day=1) + 31 * ONE_DAY).replace(day=1) - ONE_DAY


def expected(late: dict[int, Days], first_seen: dict[int, dt.date]) -> dict[Table, Days]:
    """The dates that events of these users on these days make wrong, by the definition of each column.

    A feature_date D reads all events up to D; a month, on the date of its last day, those of its days, and
    any other date of its table those of itself, of which it keeps nothing; a label those of D+1 to D+horizon
    and the users of its features; a summary the events of its day and who was new on it.
    """
    touched = set().union(*late.values())
    summary, features = set(touched), days(min(touched), LAST_DAY)
    months = {found for day in touched for last in (day, month_end(day)) for found in days(last, last)}
    for user, dates in late.items():
        known = first_seen.get(user)
        if known is None or min(dates) < known:
            # Whoever is new on another day than before changes both.
            summary |= {min(dates)} | ({known} if known else set())
    labels = {day for day in features if day <= LAST_LABEL}
    for day in touched:
        labels |= {found for found in days(day - HORIZON * ONE_DAY, day - ONE_DAY) if found <= LAST_LABEL}
    predictions = {LAST_DAY} if LAST_DAY in features else set()
    return {
        USER_DAILY_ACTIVITY: touched,
        DAILY_SUMMARY: summary,
        USER_MONTHLY_ACTIVITY: months,
        USER_FEATURES: features,
        CHURN_LABELS: labels,
        CHURN_PREDICTIONS: predictions,
        CHURN_REASONS: predictions,
        FEATURE_DRIFT: predictions,
        RETENTION_LIST: predictions,
        # What became of a score changes with its label, and with the score.
        PREDICTION_OUTCOMES: labels,
    }


def land(house: House, name: str, late: dict[int, Days]) -> None:
    lines = [
        json.dumps(
            {
                "event_id": f"{name}-{user}-{day}",
                "user_id": user,
                "event_ts": f"{day}T12:00:00Z",
                "event_type": "purchase",
                "country": "DE",
            }
        )
        for user, dates in late.items()
        for day in sorted(dates)
    ]
    (house.landing / f"{name}.json").write_text("\n".join(lines) + "\n")


def recomputed(requests: list[dg.RunRequest]) -> dict[Table, Days]:
    found: dict[Table, Days] = {}
    by_key = {asset_key(table): table for table in TABLES}
    for request in requests:
        dates = days(
            dt.date.fromisoformat(request.tags[RANGE_START_TAG]),
            dt.date.fromisoformat(request.tags[RANGE_END_TAG]),
        )
        for key in request.asset_selection or []:
            of_table = found.setdefault(by_key[dg.AssetKey(key.path)], set())
            assert not of_table & dates, f"{key} is computed twice over {dates}"
            of_table |= dates
    return found


def rows(frame: Frame) -> list[tuple]:
    return sorted(tuple(row) for row in frame.fillna("").itertuples(index=False))


@pytest.fixture(scope="module")
def ahead(
    house: House, copy_of: Callable[[House, Path], House], tmp_path_factory: pytest.TempPathFactory
) -> House:
    """A lake that the automation keeps: run once over everything, then late events again and again."""
    return copy_of(house, tmp_path_factory.mktemp("late"))


def known(house: House) -> dict[int, dt.date]:
    """First day of each user, as it is now."""
    return house.content(EVENTS).groupby("user_id")["event_date"].min().to_dict()


def test_a_batch_three_days_late_recomputes_exactly_the_dates_that_read_it(
    on_sail: None, ahead: House
) -> None:
    first_seen = known(ahead)
    oldest = [user for user, day in first_seen.items() if day == FIRST_DAY][:2]
    day = LAST_DAY - 3 * ONE_DAY
    late = {user: {day, day - ONE_DAY} for user in oldest}
    land(ahead, "three-days-late", late)

    ingest(ahead)
    waves = until_current(ahead, NOW)

    assert recomputed([request for wave in waves for request in wave]) == expected(late, first_seen)
    # Upstream first, and one run for each range.
    assert [
        sorted(key.path[-1] for request in wave for key in request.asset_selection or []) for wave in waves
    ] == [
        # No month ends on or after these days: those of its table are the same.
        ["daily_summary", "user_daily_activity", "user_monthly_activity"],
        ["user_features"],
        ["churn_labels", "churn_predictions", "churn_reasons", "feature_drift", "retention_list"],
        ["prediction_outcomes"],
    ]
    assert {request.tags[REASON_TAG].partition(" (")[0] for wave in waves for request in wave} == {
        "upstream newer"
    }


def test_silver_says_which_dates_it_gained_and_every_later_date_reads_them(
    on_sail: None, ahead: House
) -> None:
    first_seen = known(ahead)
    user = min(user for user, day in first_seen.items() if day == FIRST_DAY)
    early, recent = FIRST_DAY + 10 * ONE_DAY, LAST_DAY - 3 * ONE_DAY
    late = {user: {early, recent}}
    land(ahead, "said", late)

    ingest(ahead)

    event = ahead.instance.get_latest_materialization_event(asset_key(EVENTS))
    assert event is not None
    assert event.asset_materialization is not None
    said = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert said["touched_dates"] == f"{early}, {recent}"
    assert said["late_rows_by_date"] == {str(early): 1, str(recent): 1}
    # The data ends on its 50th day: the 11th is 39 days before it.
    assert (said["late_rows"], said["max_days_late"], said["median_days_late"]) == (2, 39, 21.0)
    waves = until_current(ahead, NOW)
    found = recomputed([request for wave in waves for request in wave])
    assert found == expected(late, first_seen)
    assert found[USER_FEATURES] == days(early, LAST_DAY)


def test_a_late_first_event_recomputes_every_date_on_which_its_user_is_older(
    on_sail: None, ahead: House
) -> None:
    first_seen = known(ahead)
    newcomer = max(user for user, day in first_seen.items() if day == FIRST_DAY + 25 * ONE_DAY)
    late = {newcomer: {FIRST_DAY + 5 * ONE_DAY}, 999_999: {FIRST_DAY + 40 * ONE_DAY}}
    land(ahead, "first", late)

    ingest(ahead)
    waves = until_current(ahead, NOW)

    assert recomputed([request for wave in waves for request in wave]) == expected(late, first_seen)


def test_after_all_that_the_tables_equal_a_rebuild_from_nothing(
    on_sail: None, ahead: House, make_house: Callable[..., House], tmp_path: Path
) -> None:
    rebuilt = make_house(tmp_path)
    shutil.copytree(ahead.landing, rebuilt.landing)

    ingest(rebuilt)
    waves = until_current(rebuilt, NOW)

    # From nothing, too, a range is one run: four tables share it.
    assert len(waves[0]) == 1
    for table in TABLES:
        if table not in (*BY_MODEL, MODEL_PROMOTIONS, DELIVERIES):
            assert rows(ahead.content(table)) == rows(rebuilt.content(table)), table
