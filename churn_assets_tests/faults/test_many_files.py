"""Very many files, and a very large one."""

import json
from pathlib import Path

import pandas as pd
import pytest

from churn_assets.tables import CHURN_LABELS, EVENTS, USER_DAILY_ACTIVITY, USER_FEATURES, USERS
from churn_assets_tests.faults.conftest import Count
from churn_assets_tests.faults.lakes import (
    Undisturbed,
    content,
    lines_landed,
    lines_of_bronze,
    settings_in,
)
from churn_assets_tests.forked import churn

GIGABYTE = 10**9


@pytest.mark.faults
def test_20_000_files_give_what_a_few_give(undisturbed: Undisturbed, tmp_path: Path, count: Count) -> None:
    files = 20_000
    settings = settings_in(tmp_path)
    landing = Path(settings.landing_root)
    landing.mkdir()
    paths = sorted(path for path in undisturbed.landed.iterdir() if path.is_file())
    lines = [line for path in paths for line in path.read_bytes().splitlines()]
    assert len(lines) > files
    for number in range(files):
        (landing / f"{number:05}.jsonl").write_bytes(b"\n".join(lines[number::files]) + b"\n")

    ended = churn(settings, "run")

    assert ended.exit_code == 0, ended.err
    assert lines_of_bronze(settings) == lines_landed(landing)
    for table in (USERS, USER_DAILY_ACTIVITY, USER_FEATURES, CHURN_LABELS):
        pd.testing.assert_frame_equal(content(settings, table), content(undisturbed.settings, table))
    count(f"{files:,} files in the landing zone at once", files, "tables as from a few files")


@pytest.mark.faults
def test_a_file_of_a_gigabyte_is_taken_in_whole(small: Undisturbed, tmp_path: Path, count: Count) -> None:
    settings = settings_in(tmp_path)
    landing = Path(settings.landing_root)
    landing.mkdir()
    good = []
    for path in sorted(small.landed.iterdir()):
        for line in path.read_bytes().splitlines():
            try:
                good.append(json.loads(line))
            except ValueError:
                continue
    events = {record["event_id"]: record for record in good if record.get("event_id")}
    written = 0
    with (landing / "large.jsonl").open("wb") as file:
        while file.tell() < GIGABYTE:
            for record in events.values():
                file.write(
                    json.dumps({**record, "event_id": f"{record['event_id']}-{written}"}).encode() + b"\n"
                )
                written += 1

    ended = churn(settings, "run")

    assert ended.exit_code == 0, ended.err
    assert lines_of_bronze(settings) == {"large.jsonl": written}
    accepted = len(content(small.settings, EVENTS)) / len(events)
    assert len(content(settings, EVENTS)) == pytest.approx(accepted * written, rel=1e-3)
    verified = churn(settings, "verify", "--deep")
    assert verified.exit_code == 0, verified.out + verified.err
    count("a file of 1 GB", 1, f"{written:,} lines, every one an event, a duplicate or quarantined")
