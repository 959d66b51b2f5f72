"""The emulated cluster of the tests of Unity Catalog's lake, shared by all of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pyspark.sql import SparkSession

from churn_assets_tests.workspace.runtime import Engine

SCHEMAS = ("main_catalog.clean", "main_catalog.gold", "main_catalog.ops", "raw_catalog.landing")


class Cluster(NamedTuple):
    """An engine, and a session of it in this process."""

    engine: Engine
    session: SparkSession


@pytest.fixture(scope="session")
def shared_cluster(deployment: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if deployment == "spark":
        pytest.skip("the emulated cluster is a Spark Connect server, which a classic session shuts out")
    with Engine(tmp_path_factory.mktemp("workspace")) as engine:
        session = engine.session()
        for catalog in ("main_catalog", "raw_catalog"):
            session.sql(f"CREATE CATALOG {catalog} MANAGED LOCATION 's3://bucket/{catalog}'")
        for schema in SCHEMAS:
            session.sql(f"CREATE SCHEMA {schema}")
        yield Cluster(engine, session)


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """Catalogs and schemas without tables and volumes."""
    yield shared_cluster
    unity = shared_cluster.engine.unity
    for table in unity.all("table"):
        shared_cluster.session.sql(f"DROP TABLE {table['name']}")
    for volume in unity.all("volume"):
        unity.drop("volume", volume["name"])


def made_old(cluster: Cluster, name: str, days: int) -> None:
    """Let all that was committed to a table up to now be so many days older."""
    earlier = days * 24 * 60 * 60 * 1000
    for commit in Path(cluster.engine.unity.require("table", name)["location"]).glob("_delta_log/*.json"):
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        for action in actions:
            for kind, key in (("commitInfo", "timestamp"), ("remove", "deletionTimestamp")):
                if kind in action:
                    action[kind][key] -= earlier
        commit.write_text("\n".join(map(json.dumps, actions)))
