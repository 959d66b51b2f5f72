"""Databases, logs and pages lose the ids, in their free pages and write-ahead logs as well."""

import json
import sqlite3
from pathlib import Path

from churn_assets.erasure.files import NO_SAMPLE, clean_database, clean_text
from churn_assets.erasure.people import People

PEOPLE = People(frozenset({4815162342}), frozenset({"zz-erase-me@example.org"}))


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


def test_rows_of_a_csv_file_go_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("user_id,left\n1,2026-01-01\n4815162342,\n48151623420,4815162342\n")

    assert clean_text(path, PEOPLE, dry_run=True) == 1
    assert clean_text(path, PEOPLE) == 1
    assert path.read_text() == "user_id,left\n1,2026-01-01\n48151623420,4815162342\n"


def test_a_log_keeps_its_lines_without_the_ids(tmp_path: Path) -> None:
    path = tmp_path / "a.err"
    path.write_text("first\nuser 4815162342 failed\nlast\n")
    path.chmod(0o640)

    assert clean_text(path, PEOPLE) == 1
    assert path.read_text() == "first\nuser [erased] failed\nlast\n"
    assert path.stat().st_mode & 0o777 == 0o640
