"""Databases lose the ids, SQLite in its free pages and write-ahead log as well."""

import json
import sqlite3
from pathlib import Path

import psycopg2
import pytest

from churn_assets.erasure import databases
from churn_assets.erasure.databases import clean_database
from churn_assets.erasure.files import NO_SAMPLE
from churn_assets.erasure.people import People
from churn_assets.errors import BusyError
from churn_assets.postgres import Postgres

PEOPLE = People(frozenset({4815162342}), frozenset({"zz-erase-me@example.org"}))
EVENTS = "CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT, n INTEGER)"


def event(preview: str, message: str = "") -> str:
    return json.dumps(
        {"metadata": [{"label": "preview", "md_str": preview}, {"n": 4815162342.5}], "user_message": message}
    )


def test_a_sample_of_rows_with_the_user_goes_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT, n INTEGER)")
        database.execute("CREATE TABLE others (name VARCHAR(10))")
        database.executemany(
            "INSERT INTO event_logs (event) VALUES (?)",
            [
                (event("| 4815162342 | a |"),),
                (event("| 48151623420 | a |"),),
                (event("", "user_id 4815162342 of zz-erase-me@example.org"),),
            ],
        )
        database.execute("PRAGMA secure_delete = OFF")
        database.executemany("INSERT INTO others VALUES (?)", [("zz-erase-me@example.org",)] * 1000)
        database.execute("DELETE FROM others")
    database.close()
    # As `make dev` holds it: nothing is written back when others close the file.
    reader = sqlite3.connect(path)
    reader.execute("SELECT count(*) FROM event_logs").fetchall()

    assert clean_database(path, PEOPLE, dry_run=True) == 2
    assert b"zz-erase-me" in path.read_bytes() + _wal(path)
    assert clean_database(path, PEOPLE) == 2
    events = [json.loads(row[0]) for row in reader.execute("SELECT event FROM event_logs ORDER BY id")]
    assert b"zz-erase-me" not in path.read_bytes() + _wal(path)
    reader.close()

    assert [one["metadata"][0]["md_str"] for one in events] == [NO_SAMPLE, "| 48151623420 | a |", ""]
    assert events[0]["metadata"][1] == {"n": 4815162342.5}
    assert events[2]["user_message"] == "user_id [erased] of [erased]"
    assert clean_database(path, PEOPLE) == 0


def _wal(path: Path) -> bytes:
    wal = path.with_name(f"{path.name}-wal")
    return wal.read_bytes() if wal.exists() else b""


def named_events() -> list[str]:
    return [
        event("| 4815162342 | a |"),
        event("| 48151623420 | a |"),
        event("", "user_id 4815162342 of zz-erase-me@example.org"),
    ]


@pytest.fixture
def server(database_url: str) -> Postgres:
    """A database with Dagster's table and, in a schema of its own, MLflow's."""
    database = Postgres(database_url)
    run(database, EVENTS)
    for text in named_events():
        run(database, "INSERT INTO event_logs (id, event) SELECT count(*), %s FROM event_logs", text)
    run(database, 'CREATE SCHEMA mlflow; CREATE TABLE mlflow."Tags" (id INT, "odd ""name" VARCHAR(99))')
    run(database, 'INSERT INTO mlflow."Tags" VALUES (1, %s), (2, NULL)', "of zz-erase-me@example.org")
    return database


def run(database: Postgres, statement: str, *parameters: str) -> list[tuple]:
    connection = psycopg2.connect(database.for_libpq())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def pages(database: Postgres) -> bytes:
    """The bytes of both tables as they are on the server's disk."""
    run(database, "CHECKPOINT")
    tables = "unnest(ARRAY['event_logs', 'mlflow.\"Tags\"']) AS name"
    files = run(database, f"SELECT pg_read_binary_file(pg_relation_filepath(name::regclass)) FROM {tables}")
    return b"".join(bytes(content) for (content,) in files)


def test_both_schemas_of_a_server_lose_them(server: Postgres) -> None:
    assert b"zz-erase-me" in pages(server)
    assert clean_database(server, PEOPLE, dry_run=True) == 3
    assert json.loads(run(server, "SELECT event FROM event_logs WHERE id = 0")[0][0]) == json.loads(
        named_events()[0]
    )

    assert clean_database(server, PEOPLE) == 3

    first, other, last = (
        json.loads(text) for (text,) in run(server, "SELECT event FROM event_logs ORDER BY id")
    )
    assert first["metadata"] == [{"label": "preview", "md_str": NO_SAMPLE}, {"n": 4815162342.5}]
    assert other == json.loads(named_events()[1])
    assert last["user_message"] == "user_id [erased] of [erased]"
    assert run(server, 'SELECT * FROM mlflow."Tags" ORDER BY id') == [(1, "of [erased]"), (2, None)]
    assert b"zz-erase-me" not in pages(server)
    assert clean_database(server, PEOPLE) == 0


def test_a_table_that_somebody_holds_is_said_in_one_line(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BUSY_SECONDS", 1)
    holder = psycopg2.connect(server.for_libpq())
    try:
        with holder.cursor() as cursor:
            cursor.execute("UPDATE event_logs SET n = 1")
        with pytest.raises(BusyError, match=r"a table could not be locked in 1 seconds\. Stop Dagster's"):
            clean_database(server, PEOPLE)
    finally:
        holder.close()
