"""Another meaning of churn: all labels are computed again, and none of those before is left."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.staleness.planning import make_plan
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import SettingsError
from churn_assets.tables import CHURN_LABELS
from churn_assets_tests.end_to_end.conftest import House

DAYS = 14
# By the real clock, as Dagster's partitions are: the last day of the data was over a moment ago.
NOW = dt.datetime.now(dt.UTC)
START = NOW.date() - DAYS * ONE_DAY
LONG, SHORT = 6, 3


def land(house: House) -> None:
    """User 1 comes every day, user 2 on every fifth, to buy, user 3 on the first alone."""
    active = [*((1, n) for n in range(DAYS)), *((2, n) for n in range(0, DAYS, 5)), (3, 0)]
    house.landing.mkdir(parents=True)
    lines = [
        json.dumps(
            {
                "event_id": f"{user}-{n}",
                "user_id": user,
                "event_ts": f"{START + n * ONE_DAY}T12:00:00Z",
                "event_type": "purchase" if user == 2 else "page_view",
            }
        )
        for user, n in active
    ]
    (house.landing / "events.json").write_text("\n".join(lines) + "\n")


def labelled(house: House) -> int:
    """Run up to the labels, and count their dates."""
    for stage in ("ingest", "featurize"):
        Pipeline(house.definitions, house.lake, house.instance, lambda _: None).run_stage(stage, NOW)
    return len({row[1] for row in rows(house)})


def rows(house: House) -> list[tuple]:
    return sorted(tuple(row) for row in house.content(CHURN_LABELS).itertuples(index=False))


@pytest.fixture
def meaning(make_house: Callable[..., House], tmp_path: Path) -> Callable[..., House]:
    """One lake, as processes with other settings see it. Each has a history that knows of no run."""

    def made(horizon: int, event_types: str = "") -> House:
        return make_house(
            tmp_path / "lake", start_date=START, horizon_days=horizon, label_event_types=event_types
        )

    return made


def planned(house: House) -> dict[dt.date, str]:
    return make_plan(house.lake, NOW, scores=False).reasons[CHURN_LABELS]


def test_there_and_back_the_labels_are_those_of_a_lake_that_always_had_the_horizon(
    meaning: Callable[..., House], make_house: Callable[..., House], tmp_path: Path
) -> None:
    always = make_house(tmp_path / "always", start_date=START, horizon_days=LONG)
    for house in (always, meaning(LONG)):
        land(house)
        assert labelled(house) == DAYS - LONG

    again = DateRange(START, START + (DAYS - LONG - 1) * ONE_DAY)
    more = DateRange(again.end + ONE_DAY, START + (DAYS - SHORT - 1) * ONE_DAY)
    assert planned(meaning(SHORT)) == {
        **dict.fromkeys(again.days(), "horizon changed"),
        **dict.fromkeys(more.days(), "missing"),
    }
    assert labelled(meaning(SHORT)) == DAYS - SHORT
    assert rows(meaning(SHORT))[: DAYS - LONG] != rows(always)

    assert labelled(meaning(LONG)) == DAYS - LONG
    assert rows(meaning(LONG)) == rows(always)
    assert not any(make_plan(meaning(LONG).lake, NOW, scores=False).reasons.values())


def test_where_only_purchases_count_the_dates_before_are_labelled_again(
    meaning: Callable[..., House],
) -> None:
    land(meaning(LONG))
    assert labelled(meaning(LONG)) == DAYS - LONG

    of_purchases = meaning(LONG, " purchase,purchase ")
    dates = DateRange(START, START + (DAYS - LONG - 1) * ONE_DAY)
    assert planned(of_purchases) == dict.fromkeys(dates.days(), "label event types changed")
    assert labelled(of_purchases) == DAYS - LONG
    # User 2 buys on each fifth day, which every horizon of six days holds; the others never do.
    assert {(user, label) for user, _, label in rows(of_purchases)} == {(1, 1), (2, 0), (3, 1)}
    assert planned(meaning(LONG, "purchase")) == {}

    before = rows(of_purchases)
    with pytest.raises(SettingsError) as caught:
        labelled(meaning(LONG, "purchse"))
    assert str(caught.value) == (
        "CHURN_LABEL_EVENT_TYPES=purchse, but no event in main_catalog.clean.events is of such a type, so "
        "all would have churned. There are: page_view, purchase. Labels stay as they are."
    )
    assert rows(of_purchases) == before
