"""Whatever happens to the platform, in whatever order: at the end its tables are those of a rebuild.

A few seeds of many: ``python -m bench.histories --count 200``.
"""

import datetime as dt

import pytest

from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.computed_dates import writing
from churn_assets.tables import CHURN_LABELS, PREDICTION_OUTCOMES, Table
from churn_assets_tests.automation.histories import FIRST, Platform, changes_since, differences_after
from churn_assets_tests.conftest import MakeSettings


@pytest.mark.parametrize("seed", range(3))
def test_a_random_history_ends_as_a_rebuild(make_settings: MakeSettings, seed: int) -> None:
    assert differences_after(seed, make_settings(start_date=FIRST, horizon_days=5)) == []


def last_day(platform: Platform, table: Table) -> dt.date:
    return max(day for day, rows in platform.content(table).items() if day and rows)


def test_outcomes_go_whose_labels_were_lost_before_a_longer_horizon_left_them_out(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "changes_since", changes_since)
    platform = Platform(make_settings(start_date=FIRST, horizon_days=3))
    platform.landed = {(number, 1, FIRST + number * ONE_DAY) for number in range(12)}
    platform.run()
    before = last_day(platform, PREDICTION_OUTCOMES)
    platform.tables.pop(CHURN_LABELS)
    platform.settings = platform.settings.model_copy(update={"horizon_days": 5})

    platform.run()

    for table in (CHURN_LABELS, PREDICTION_OUTCOMES):
        assert last_day(platform, table) == before - 2 * ONE_DAY


def test_without_a_rule_it_does_not(make_settings: MakeSettings) -> None:
    settings = make_settings(start_date=FIRST, horizon_days=5)

    assert differences_after(0, settings, "what has changed upstream makes newer")
