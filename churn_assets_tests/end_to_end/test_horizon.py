"""Another horizon: all labels are computed again, and none of the horizon before is left."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from churn_assets.automation.pipeline import Pipeline
from churn_assets.automation.planning import make_plan
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.tables import CHURN_LABELS
from churn_assets_tests.end_to_end.conftest import House

DAYS = 14
# By the real clock, as Dagster's partitions are: the last day of the data was over a moment ago.
NOW = dt.datetime.now(dt.UTC)
START = NOW.date() - DAYS * ONE_DAY
LONG, SHORT = 6, 3


def land(house: House) -> None:
    """User 1 comes every day, user 2 on every fifth, user 3 on the first alone."""
    active = [*((1, n) for n in range(DAYS)), *((2, n) for n in range(0, DAYS, 5)), (3, 0)]
    house.landing.mkdir(parents=True)
    lines = [
        json.dumps(
            {"event_id": f"{user}-{n}", "user_id": user, "event_ts": f"{START + n * ONE_DAY}T12:00:00Z"}
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
def of_horizon(make_house: Callable[..., House], tmp_path: Path) -> Callable[[int], House]:
    """One lake, as processes with other settings see it. Each has a history that knows of no run."""
    return lambda horizon: make_house(tmp_path / "lake", start_date=START, horizon_days=horizon)


def test_there_and_back_the_labels_are_those_of_a_lake_that_always_had_the_horizon(
    of_horizon: Callable[[int], House], make_house: Callable[..., House], tmp_path: Path
) -> None:
    always = make_house(tmp_path / "always", start_date=START, horizon_days=LONG)
    for house in (always, of_horizon(LONG)):
        land(house)
        assert labelled(house) == DAYS - LONG

    shorter = of_horizon(SHORT)
    again = DateRange(START, START + (DAYS - LONG - 1) * ONE_DAY)
    more = DateRange(again.end + ONE_DAY, START + (DAYS - SHORT - 1) * ONE_DAY)
    assert make_plan(shorter.lake, NOW).reasons[CHURN_LABELS] == {
        **dict.fromkeys(again.days(), "horizon changed"),
        **dict.fromkeys(more.days(), "missing"),
    }
    assert labelled(shorter) == DAYS - SHORT
    assert rows(shorter)[: DAYS - LONG] != rows(always)

    assert labelled(of_horizon(LONG)) == DAYS - LONG
    assert rows(of_horizon(LONG)) == rows(always)
    assert not any(make_plan(of_horizon(LONG).lake, NOW, scores=False).reasons.values())
