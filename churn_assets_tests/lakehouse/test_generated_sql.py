"""Every SQL statement for Databricks, parsed in its dialect: by sqlglot, or where it has no grammar, by ours.

Statements that a script is made of are asked of who makes it; those of the lake are collected while a lake is
used in all the ways that it has, and every line of the package that runs SQL has to be among them.
"""

import ast
import datetime as dt
import logging
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

import churn_assets
from churn_assets.assets import drift
from churn_assets.assets.promotions import recorded_promotions
from churn_assets.databricks import billing
from churn_assets.databricks.catalog import setup
from churn_assets.lakehouse import maintenance
from churn_assets.lakehouse.ddl import create_managed_table
from churn_assets.lakehouse.ingestion import ingest
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.serving.features.online_features import LatestFeatures, write_latest
from churn_assets.tables import CHURN_PREDICTIONS, EVENTS, FEATURE_DRIFT, MODEL_PROMOTIONS, USERS
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.lakehouse.conftest import Cluster, made_old
from churn_assets_tests.lakehouse.test_unity import FIRST, MERGES, OVERWRITES, SECOND, WHOLE, done
from churn_assets_tests.rows import NOON, frame
from churn_assets_tests.workspace.runtime.emulated_databricks.grammar import parse

PACKAGE = Path(churn_assets.__file__).parent
LANDING = "/Volumes/raw_catalog/landing/files/events"

# By their first words: sqlglot 30.30 takes them for "a command", or not at all. Ours is written from the
# reference of Databricks SQL.
BEYOND_SQLGLOT = {
    "CREATE CATALOG": "no grammar",
    "CREATE EXTERNAL LOCATION": "no grammar",
    "CREATE VOLUME": "no grammar",
    "DESCRIBE DETAIL": "takes DETAIL for the table",
    "DESCRIBE HISTORY": "takes no LIMIT after it",
    "GRANT": "takes privileges of one word, on tables",
    "OPTIMIZE": "no grammar",
    "VACUUM": "no grammar",
}

# Where SQL for Databricks is run, below the package.
PLACES = (
    "assets/drift.py",
    "assets/promotions.py",
    "lakehouse/computed_dates/unity_store.py",
    "lakehouse/file_stream.py",
    "lakehouse/unity_lake.py",
    "lakehouse/writes.py",
)
RUNS_SQL = {"sql", "query", "_sql", "_run_sql"}


class Collected:
    """Statements, and the lines of the package that asked for them."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.lines: set[tuple[str, int]] = set()

    def add(self, sql: str) -> None:
        self.statements.append(sql)
        called: Any = sys._getframe(1)
        while called:
            file = Path(called.f_code.co_filename)
            if file.is_relative_to(PACKAGE):
                self.lines.add((file.relative_to(PACKAGE).as_posix(), called.f_lineno))
            called = called.f_back


@pytest.fixture
def collected(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Collected:
    found, run = Collected(), cluster.session.sql

    def listening(sql: str, *args: Any, **kwargs: Any) -> Any:
        found.add(sql)
        return run(sql, *args, **kwargs)

    monkeypatch.setattr(cluster.session, "sql", listening)
    return found


@pytest.fixture
def unity(cluster: Cluster, collected: Collected, make_settings: MakeSettings) -> UnityLakehouse:
    for volume in ("raw_catalog.landing.files", "main_catalog.gold.churn"):
        shutil.rmtree(cluster.engine.unity.folder / "Volumes" / volume.replace(".", "/"), ignore_errors=True)
        cluster.session.sql(f"CREATE VOLUME {volume}")
    folder = cluster.engine.unity.local(LANDING)
    folder.mkdir()
    (folder / "day1.json").write_text('{"event_id":"a","user_id":1}\n')
    return UnityLakehouse(
        make_settings(deployment="databricks", landing_root=LANDING), lambda: cluster.session
    )


def use_in_all_ways(lake: UnityLakehouse, cluster: Cluster) -> None:
    ingest(lake, lambda: NOON)
    lake._sql(create_managed_table(replace(USERS, columns=USERS.columns[:-1]), lake.table_name(USERS)))
    for writes in (OVERWRITES, MERGES, WHOLE):
        done(lake, writes)
    made_old(cluster, lake.table_name(EVENTS), days=8)
    done(lake, [(EVENTS, [("z", 1, NOON, NOON.date(), "view", "DE", NOON)], None)])
    lake.read(EVENTS, version=lake.version(EVENTS)).count()
    scores = [(1, FIRST, 0.25, False, NOON, 1), (2, SECOND, 0.5, True, NOON, 1)]
    lake.write(CHURN_PREDICTIONS, frame(lake.spark, CHURN_PREDICTIONS, scores), OVERWRITES[0][2])
    lake.details(EVENTS)
    lake.version_at(EVENTS, dt.datetime.now(dt.UTC))
    lake.totals(CHURN_PREDICTIONS, FIRST, ["churn_probability"])
    lake.latest_timestamp(CHURN_PREDICTIONS, "scored_at", FIRST)
    lake.count_at_least(CHURN_PREDICTIONS, FIRST, "churn_probability", 0.1)
    lake.sample_rows(CHURN_PREDICTIONS, FIRST)
    lake.require_writable()
    lake.spark.sql(create_managed_table(MODEL_PROMOTIONS, lake.table_name(MODEL_PROMOTIONS)))
    recorded_promotions(lake)
    drifted = {"feature_date": FIRST, "feature": "x"}
    row = [drifted.get(column.name, 0 if column.type == "int" else None) for column in FEATURE_DRIFT.columns]
    values = ", ".join(
        f"CAST({'NULL' if value is None else repr(str(value))} AS {column.type}) AS {column.name}"
        if column.nullable or value is not None
        else f"CAST('0' AS {column.type}) AS {column.name}"
        for column, value in zip(FEATURE_DRIFT.columns, row, strict=True)
    )
    lake.write(FEATURE_DRIFT, lake.spark.sql(f"SELECT {values}"), OVERWRITES[2][2])
    drift._rows(lake, None)
    write_latest(lake, LatestFeatures(FIRST, 0, 0))


def scripts(lake: UnityLakehouse, make_settings: MakeSettings) -> Iterator[str]:
    settings = make_settings(
        deployment="databricks",
        landing_root=LANDING,
        databricks_external_location="s3://bucket/raw credential",
        databricks_managed_location="s3://bucket/churn",
        databricks_engineers="data engineers, o'hara@example.com",
        databricks_analysts="analysts",
        databricks_online_store="churn-online",
    )
    yield from (statement.sql for statement in setup.plan(settings))
    yield from (grant.sql for grant in billing.grants(settings))
    yield billing.query("12", "34", FIRST, billing.Ours("endpoint", "job", ("5",)))
    yield from maintenance.statements(lake, 168)


def lines_that_run_sql() -> dict[tuple[str, int], int]:
    """The first line of each call that runs SQL, and its last one."""
    return {
        (place, node.lineno): node.end_lineno or node.lineno
        for place in PLACES
        for node in ast.walk(ast.parse((PACKAGE / place).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RUNS_SQL
    }


def beyond_sqlglot(sql: str) -> str | None:
    """The first words of a statement that sqlglot does not parse."""
    try:
        if not isinstance(sqlglot.parse_one(sql, dialect="databricks"), exp.Command):
            return None
    except sqlglot.ParseError:
        pass
    return next((words for words in BEYOND_SQLGLOT if sql.startswith(words)), sql)


def test_every_statement_is_sql_of_databricks_and_no_line_that_runs_sql_is_left_out(
    unity: UnityLakehouse, cluster: Cluster, collected: Collected, make_settings: MakeSettings
) -> None:
    logging.getLogger("sqlglot").setLevel(logging.ERROR)

    use_in_all_ways(unity, cluster)

    everything = [*collected.statements, *scripts(unity, make_settings)]
    not_parsed = {sql: words for sql in everything if (words := beyond_sqlglot(sql))}
    assert set(not_parsed.values()) == BEYOND_SQLGLOT.keys()
    assert [sql for sql in not_parsed if parse(sql) is None] == []
    assert len(everything) > 200
    missed = [
        f"{place}:{first}"
        for (place, first), last in lines_that_run_sql().items()
        if not any((place, line) in collected.lines for line in range(first, last + 1))
    ]
    assert missed == []


def test_what_is_no_sql_of_databricks_would_be_seen() -> None:
    assert beyond_sqlglot("SELECT FROM WHERE") == "SELECT FROM WHERE"
    assert beyond_sqlglot("CREATE SECRET GARDEN x") == "CREATE SECRET GARDEN x"
