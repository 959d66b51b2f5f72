"""When the outcomes of treatments are measured again."""

from collections import Counter

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.assets.treatments import READ_VERSIONS, versions_read
from churn_assets.automation.runs.stages import Stages
from churn_assets.tables import TREATMENT_OUTCOMES, TREATMENTS
from churn_assets_tests.rows import NOON, frame

OUTCOMES = asset_key(TREATMENT_OUTCOMES)


class Recording:
    """A runner that notes what it is asked to materialise."""

    def __init__(self, instance: dg.DagsterInstance, lake) -> None:
        self.instance, self._lake = instance, lake
        self.code_versions = {OUTCOMES: "of today"}
        self.asked: list[dg.AssetKey] = []

    def materialize(self, name: str, keys: list[dg.AssetKey]) -> None:
        assert name == "outcomes of treatments"
        self.asked += keys
        for key in keys:
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    key,
                    metadata={READ_VERSIONS: versions_read(self._lake)},
                    tags={"dagster/code_version": "of today"},
                )
            )


@pytest.fixture
def runner(lake, instance) -> Recording:
    return Recording(instance, lake)


def treat(lake, user: int) -> None:
    rows = [(user, NOON, "email", None, "a.csv", NOON)]
    lake.write(TREATMENTS, frame(lake.spark, TREATMENTS, rows))


def test_nothing_is_measured_before_there_are_treatments(lake, runner) -> None:
    Stages(runner, lake).measure_treatments()

    assert runner.asked == []
    assert lake.version(TREATMENTS) == -1


def test_outcomes_are_measured_once_for_what_there_is_and_again_for_what_comes(lake, runner) -> None:
    stages, asked = Stages(runner, lake), Counter()
    for user in (1, 2):
        treat(lake, user)
        for _ in range(2):
            stages.measure_treatments()
        asked[user] = len(runner.asked)

    assert asked == {1: 1, 2: 2}


def test_other_code_measures_again(lake, runner) -> None:
    treat(lake, 1)
    Stages(runner, lake).measure_treatments()

    runner.code_versions = {OUTCOMES: "of tomorrow"}
    Stages(runner, lake).measure_treatments()

    assert runner.asked == [OUTCOMES, OUTCOMES]
