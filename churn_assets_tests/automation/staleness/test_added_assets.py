"""Assets that somebody adds to the graph are kept current, without being listed anywhere."""

import datetime as dt

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.assets.dagster_partitions import ONE_RUN_PER_RANGE, feature_dates
from churn_assets.automation.history.run_tags import RANGE_END_TAG, RANGE_START_TAG
from churn_assets.automation.triggers.stale_dates import decide
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.graph import build_defs
from churn_assets.settings import Settings
from churn_assets.tables import USER_FEATURES, USERS
from churn_assets_tests.automation.log import Log
from churn_assets_tests.conftest import MakeSettings

START = dt.date(2026, 1, 1)
DATES = DateRange(START, START + 5 * ONE_DAY)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
HORIZON = 2


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(start_date=START, end_date=DATES.end, horizon_days=HORIZON)


@pytest.fixture
def log(instance: dg.DagsterInstance, settings: Settings) -> Log:
    history = Log(instance, settings)
    history.ingested(DATES.days())
    history.computed_all(DATES, HORIZON)
    return history


def requested(log: Log, settings: Settings, *mine: dg.AssetsDefinition) -> list[tuple[str, str, str]]:
    """Of the assets that are mine: which, from and to which date."""
    # Without versions of code: the log's rows have none.
    graph = dg.Definitions.merge(build_defs(settings), dg.Definitions(assets=mine)).resolve_asset_graph()
    log.rows = [
        row._replace(code_version=graph.get(key).code_version) if (key := _key(row.table_name)) else row
        for row in log.rows
    ]
    result = decide(lambda: log.ledger, log.instance, settings, NOW, graph)
    requests = result.run_requests or [] if isinstance(result, dg.SensorResult) else []
    names = {asset.key for asset in mine}
    return [
        (
            request.asset_selection[0].path[-1],
            request.partition_key or request.tags[RANGE_START_TAG],
            request.partition_key or request.tags[RANGE_END_TAG],
        )
        for request in requests
        if request.asset_selection and request.asset_selection[0] in names
    ]


def _key(table_name: str) -> dg.AssetKey | None:
    key = dg.AssetKey(table_name.split("."))
    return None if key == asset_key(USERS) or "/" in table_name else key


def weekly_sums(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=feature_dates(settings),
        backfill_policy=ONE_RUN_PER_RANGE,
        deps=[dg.AssetDep(asset_key(USER_FEATURES))],
    )
    def mine() -> None: ...

    return mine


def test_a_partitioned_asset_that_was_added_is_computed_for_all_dates_that_it_can_read(
    log: Log, settings: Settings
) -> None:
    assert requested(log, settings, weekly_sums(settings)) == [("mine", str(START), str(DATES.end))]


def test_it_follows_the_dates_that_change_and_no_other(log: Log, settings: Settings) -> None:
    mine = weekly_sums(settings)
    for day in DATES.days():
        log.wrote(mine.key, partition=str(day))
    assert requested(log, settings, mine) == []

    changed = START + 2 * ONE_DAY
    log.computed(USER_FEATURES, [changed])

    assert requested(log, settings, mine) == [("mine", str(changed), str(changed))]


def test_dates_that_fail_a_blocking_check_are_not_read(log: Log, settings: Settings) -> None:
    log.note(USER_FEATURES, [START], blocked_by="unique_key")

    assert requested(log, settings, weekly_sums(settings)) == [
        ("mine", str(START + ONE_DAY), str(DATES.end)),
    ]


def test_one_without_partitions_follows_what_it_reads(log: Log, settings: Settings) -> None:
    @dg.asset(deps=[asset_key(USERS)])
    def my_users() -> None: ...

    merged = dg.Definitions.merge(build_defs(settings), dg.Definitions(assets=[my_users]))
    sensor = next(
        sensor for sensor in merged.get_repository_def().sensor_defs if sensor.name == "other_assets"
    )
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.default_condition
    follows = my_users.with_attributes(automation_condition=sensor.default_condition)
    upstream = dg.AssetsDefinition(specs=[dg.AssetSpec(asset_key(USERS))])
    graph, mine = dg.Definitions(assets=[follows, upstream]), dg.AssetSelection.assets(my_users.key)
    log.wrote(my_users.key)
    first = dg.evaluate_automation_conditions(graph, log.instance, asset_selection=mine)
    log.wrote(asset_key(USERS), "2")

    again = dg.evaluate_automation_conditions(graph, log.instance, asset_selection=mine, cursor=first.cursor)

    assert (first.total_requested, again.total_requested) == (0, 1)
