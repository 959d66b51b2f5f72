"""Whatever happens to the platform, in whatever order: at the end its tables are those of a rebuild.

A few seeds of many: ``python -m bench.histories --count 200``.
"""

import pytest

from churn_assets_tests.automation.histories import FIRST, differences_after
from churn_assets_tests.conftest import MakeSettings


@pytest.mark.parametrize("seed", range(3))
def test_a_random_history_ends_as_a_rebuild(make_settings: MakeSettings, seed: int) -> None:
    assert differences_after(seed, make_settings(start_date=FIRST, horizon_days=5)) == []


def test_without_a_rule_it_does_not(make_settings: MakeSettings) -> None:
    settings = make_settings(start_date=FIRST, horizon_days=5)

    assert differences_after(0, settings, "what has changed upstream makes newer")
