"""Logs and pages lose the ids."""

from pathlib import Path

from churn_assets.erasure.files import clean_text
from churn_assets.erasure.people import People

PEOPLE = People(frozenset({4815162342}), frozenset({"zz-erase-me@example.org"}))


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
