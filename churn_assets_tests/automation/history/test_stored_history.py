"""What the file of Dagster's history says is what Dagster says, or nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.history.log_reader import written_at
from churn_assets.automation.history.stored_history import UnknownHistoryError, stored_materializations
from churn_assets.settings import Settings
from churn_assets.tables import LANDED_EVENTS, USER_FEATURES, USERS
from churn_assets_tests.conftest import MakeSettings

LANDED = asset_key(LANDED_EVENTS)
NOTES = {"left_out": {"a.json": "is a link to nothing"}, "left_out_count": 1}


@pytest.fixture
def settings(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = make_settings()
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home_folder))
    return settings


@pytest.fixture
def history(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(settings) as instance:
        metadata = {"landing_zone": dg.MetadataValue.json(NOTES), "files": 3}
        for event in (
            dg.AssetMaterialization(LANDED),
            dg.AssetMaterialization(LANDED, metadata=metadata),
            dg.AssetMaterialization(asset_key(USER_FEATURES), partition="2026-01-05"),
            dg.AssetObservation(asset_key(USERS)),
        ):
            instance.report_runless_asset_event(event)
        yield instance


def test_the_last_materialisations_are_those_that_dagster_knows(
    settings: Settings, history: dg.DagsterInstance
) -> None:
    stored = stored_materializations(settings)

    by_dagster = written_at(history, history.all_asset_keys())
    assert {dg.AssetKey(path): one.written_at for path, one in stored.items()} == by_dagster
    assert set(by_dagster) == {LANDED, asset_key(USER_FEATURES)}
    assert stored[tuple(LANDED.path)].json_metadata == {"landing_zone": NOTES}


def test_of_a_wiped_asset_dagster_is_asked(settings: Settings, history: dg.DagsterInstance) -> None:
    history.wipe_assets([LANDED])

    with pytest.raises(UnknownHistoryError, match="wiped assets"):
        stored_materializations(settings)


def test_of_another_configuration_dagster_is_asked(settings: Settings, history: dg.DagsterInstance) -> None:
    (settings.dagster_home_folder / "dagster.yaml").write_text("")

    with pytest.raises(UnknownHistoryError, match="was changed"):
        stored_materializations(settings)


def test_of_another_release_of_dagster_dagster_is_asked(
    settings: Settings, history: dg.DagsterInstance
) -> None:
    index = settings.dagster_home_folder / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")

    with pytest.raises(UnknownHistoryError, match="later"):
        stored_materializations(settings)
