"""Look-ups by user_id on Databricks: the latest features, published to an online store and followed there."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.ml import OnlineStore, PublishSpec
from pyspark.sql import SparkSession

from churn_assets.databricks.catalog import catalog_check
from churn_assets.databricks.catalog.online_table import OnlineTable
from churn_assets.databricks.catalog.setup import plan
from churn_assets.dates import DateRange
from churn_assets.lakehouse.ddl import (
    create_managed_table,
    managed_properties,
    missing_columns,
    properties_list,
)
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.serving.features import online_features
from churn_assets.serving.rollout.clients import WorkspaceEndpoint
from churn_assets.settings import Settings
from churn_assets.tables import LATEST_USER_FEATURES, USER_FEATURES
from churn_assets_tests.conftest import settings_in
from churn_assets_tests.rows import D, day, frame
from churn_assets_tests.workspace.emulator import Workspace

SOURCE, ONLINE = "main_catalog.gold.latest_user_features", "main_catalog.gold.online_user_features"
STORE = "churn-online"


YESTERDAY = day(-1)


class House(NamedTuple):
    """A lake in Unity Catalog, and the endpoint of its workspace.

    Users 1 and 2 have features of yesterday, 2 and 3 of D, each with as many events as their id says.
    """

    workspace: Workspace
    session: SparkSession
    lake: UnityLakehouse
    endpoint: WorkspaceEndpoint

    def publish(self, latest: dt.date = D) -> dict[str, Any]:
        """What the asset online_user_features does on the day after this one."""
        of_d = online_features.latest(self.lake)
        return self.endpoint.publish(self.lake, of_d._replace(feature_date=latest))

    def online(self) -> dict[int, tuple[Any, ...]]:
        """Date and events of each user who is found in the online store."""
        rows = self.workspace.online.tables.get(ONLINE, {})
        return {key: (row["feature_date"], row["event_count_30d"]) for (key,), row in rows.items()}


@pytest.fixture(scope="module")
def shared(
    deployment: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Workspace, SparkSession]]:
    if deployment == "spark":
        pytest.skip("the emulated cluster is a Spark Connect server, which a classic session shuts out")
    with Workspace(tmp_path_factory.mktemp("workspace")) as started:
        session = started.engine.session()
        for sql in (
            "CREATE CATALOG main_catalog MANAGED LOCATION 's3://bucket/main'",
            "CREATE SCHEMA main_catalog.gold",
            "CREATE SCHEMA main_catalog.ops",
        ):
            session.sql(sql)
        lake = UnityLakehouse(settings_in(started.folder, deployment="databricks"), lambda: session)
        rows = [
            (user, date, user, 3, 2, 1, 90, 5)
            for date, users in ((YESTERDAY, (1, 2)), (D, (2, 3)))
            for user in users
        ]
        lake.write(USER_FEATURES, frame(session, USER_FEATURES, rows), DateRange(YESTERDAY, D))
        yield started, session
    assert started.violations == []


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path, deployment="databricks", databricks_online_store=STORE)


@pytest.fixture
def house(shared: tuple[Workspace, SparkSession], settings: Settings) -> Iterator[House]:
    """Nothing published yet, and an online store that is available."""
    workspace, session = shared
    client = workspace.client()
    client.feature_store.create_online_store(OnlineStore(STORE, "CU_1"))
    online = OnlineTable(settings, busy_seconds=0.2)
    lake = UnityLakehouse(settings, lambda: session)
    yield House(workspace, session, lake, WorkspaceEndpoint(settings, lambda: client, online))
    for name in (SOURCE, ONLINE):
        session.sql(f"DROP TABLE IF EXISTS {name}")
    stores = workspace.online
    for part in (stores.stores, stores.tables, stores.updates, stores._catalog.online):
        part.clear()
    stores.enabled, stores.busy = True, 0
    workspace.requests.clear()


def test_the_users_of_the_latest_date_are_found_and_nobody_else(house: House) -> None:
    published = house.publish()

    assert house.online() == {2: (D, 2), 3: (D, 3)}
    assert {name: published[name] for name in ("online_store", "table", "users", "feature_date")} == {
        "online_store": STORE,
        "table": ONLINE,
        "users": 2,
        "feature_date": str(D),
    }
    assert "not_published" not in published


def test_the_next_date_is_followed_by_the_same_online_table(house: House) -> None:
    first = house.publish(YESTERDAY)
    assert house.online() == {1: (YESTERDAY, 1), 2: (YESTERDAY, 2)}

    second = house.publish()

    # User 1 has left the 30 days: the bundled server does not know them either.
    assert house.online() == {2: (D, 2), 3: (D, 3)}
    assert len(house.workspace.calls("POST", "/publish")) == 1
    assert house.workspace.online.updates == [first["pipeline_id"]] == [second["pipeline_id"]]


def test_a_copy_that_is_under_way_is_waited_for_but_not_for_ever(house: House) -> None:
    house.publish(YESTERDAY)
    stores = house.workspace.online

    stores.busy = 1000
    said = house.publish()["not_published"]

    assert said.startswith(f"{SOURCE} cannot be copied to {ONLINE}: ResourceConflict: An active update")
    assert house.online() == {1: (YESTERDAY, 1), 2: (YESTERDAY, 2)}

    stores.busy = 2
    assert "not_published" not in house.publish()
    assert house.online() == {2: (D, 2), 3: (D, 3)}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("missing", f"{STORE} is no online store of this workspace"),
        ("STOPPED", f"{STORE} is STOPPED; it has to be AVAILABLE"),
        ("disabled", f"{STORE} cannot be used: BadRequest: Online stores are not enabled"),
    ],
)
def test_where_there_is_no_store_it_is_said_in_a_line_and_nothing_is_written(
    house: House, wrong: str, says: str
) -> None:
    if wrong == "missing":
        house.workspace.online.stores.clear()
    elif wrong == "disabled":
        house.workspace.online.enabled = False
    else:
        house.workspace.online.stores[STORE]["state"] = wrong

    said = house.publish()["not_published"]

    assert said.startswith(f"CHURN_DATABRICKS_ONLINE_STORE={says}")
    assert "\n" not in said
    assert house.lake.version(LATEST_USER_FEATURES) == -1


def test_a_table_of_somebody_elses_by_the_online_tables_name_is_left_alone(house: House) -> None:
    house.session.sql(f"CREATE TABLE {ONLINE} (user_id BIGINT)")

    assert "that no pipeline copies to" in house.publish()["not_published"]
    assert house.workspace.calls("POST", "/publish") == []


def table_without(sql: str) -> str:
    made = create_managed_table(LATEST_USER_FEATURES, SOURCE)
    assert sql in made
    return made.replace(sql, "")


KEY = ",\n  CONSTRAINT `latest_user_features_key` PRIMARY KEY (`user_id`)"
FEED = ", 'delta.enableChangeDataFeed' = 'true'"


@pytest.mark.parametrize(
    ("lacks", "service_says", "doctor_says"),
    [
        (KEY, "has no primary key", "its primary key is not set instead of ['user_id']"),
        (FEED, "Change data feed is not enabled", "property delta.enableChangeDataFeed is not set"),
    ],
)
def test_a_source_that_the_service_refuses_is_named_by_the_run_and_the_doctor(
    house: House, settings: Settings, lacks: str, service_says: str, doctor_says: str
) -> None:
    house.session.sql(table_without(lacks))

    said = house.publish()["not_published"]

    assert service_says in said
    assert said.endswith("What is missing is said by: churn doctor")
    problems = catalog_check.missing(house.workspace.client(), settings)
    assert [line for line in problems if line.startswith(f"table {SOURCE}: {doctor_says}")]


def test_setup_makes_the_table_only_where_there_is_a_store_to_publish_to(settings: Settings) -> None:
    def tables(settings: Settings) -> list[str]:
        return [statement.sql for statement in plan(settings) if f" {SOURCE} " in statement.sql]

    (made,) = tables(settings)
    assert made.count("PRIMARY KEY (`user_id`)") == 1
    assert properties_list(managed_properties(LATEST_USER_FEATURES)) in made
    assert tables(settings.model_copy(update={"databricks_online_store": ""})) == []


def test_a_feature_of_a_later_release_comes_to_the_table_in_place() -> None:
    without = [name for name in LATEST_USER_FEATURES.column_names if name != "active_days_90d"]
    assert not next(column for column in USER_FEATURES.columns if column.name == "active_days_90d").nullable
    gained = missing_columns(LATEST_USER_FEATURES, without)
    assert [column.name for column in gained] == ["active_days_90d"]


def test_a_null_in_the_key_is_refused_by_the_emulated_metastore(house: House) -> None:
    nullable = dataclasses.replace(LATEST_USER_FEATURES.columns[0], nullable=True)
    columns = (nullable, *LATEST_USER_FEATURES.columns[1:])
    sql = create_managed_table(dataclasses.replace(LATEST_USER_FEATURES, columns=columns), SOURCE)
    sql = sql.replace("\n)\nUSING", f"{KEY}\n)\nUSING")

    answer = house.workspace.engine.execute(sql)

    assert "PRIMARY_KEY_COLUMNS_NULLABLE" in str(answer["error"])


@pytest.mark.parametrize(
    ("online_name", "store", "says"),
    [
        (SOURCE, STORE, "already exists"),
        ("online_user_features", STORE, "does not have three parts"),
        (ONLINE, "another", "Online store"),
    ],
)
def test_the_emulated_service_refuses_what_the_service_refuses(
    house: House, online_name: str, store: str, says: str
) -> None:
    house.session.sql(create_managed_table(LATEST_USER_FEATURES, SOURCE))
    client = house.workspace.client()

    with pytest.raises(DatabricksError, match=says):
        client.feature_store.publish_table(SOURCE, PublishSpec(store, online_name))
    with pytest.raises(DatabricksError, match="DNS"):
        client.feature_store.create_online_store(OnlineStore("with_underscore", "CU_1"))
    with pytest.raises(DatabricksError, match="capacity"):
        client.feature_store.create_online_store(OnlineStore("other", "CU_3"))
    house.workspace.violations.clear()
