"""A machine whose clock jumps: what it judged wrongly is judged rightly when it is delivered again."""

import datetime as dt
import shutil
from pathlib import Path

import pandas as pd
import pytest

from churn_assets.tables import CHURN_LABELS, DAILY_SUMMARY, USER_DAILY_ACTIVITY, USER_FEATURES, USERS
from churn_assets_tests.faults.conftest import Count
from churn_assets_tests.faults.lakes import Undisturbed, content, lines_landed, lines_of_bronze
from churn_assets_tests.forked import churn

TRUTH = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
WRONG = {
    "a second after the epoch": dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC),
    "a battery that died": dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
    "within the events": dt.datetime(2026, 1, 9, 7, tzinfo=dt.UTC),
    "an hour back": TRUTH - dt.timedelta(hours=1),
    "a year ahead": TRUTH + dt.timedelta(days=365),
    "a century ahead": dt.datetime(2126, 3, 1, tzinfo=dt.UTC),
}


@pytest.mark.faults
@pytest.mark.parametrize("clock", WRONG.values(), ids=WRONG)
def test_what_came_under_a_wrong_clock_counts_once_it_comes_again(
    small: Undisturbed, tmp_path: Path, clock: dt.datetime, count: Count
) -> None:
    settings = small.copy_landed(tmp_path)
    landing = Path(settings.landing_root)
    files = sorted(path for path in landing.iterdir() if path.is_file())
    late, waiting = tmp_path / "late", tmp_path / "waiting"
    third = len(files) // 3
    for folder, some in ((late, files[third : 2 * third]), (waiting, files[2 * third :])):
        folder.mkdir()
        for file in some:
            file.rename(folder / file.name)

    for now, arrived in ((TRUTH, None), (clock, late), (TRUTH + dt.timedelta(hours=2), waiting)):
        for file in arrived.iterdir() if arrived else ():
            shutil.copy(file, landing)
        ended = churn(settings, "run", clock=now)
        assert not ended.has_a_traceback, ended.err
        assert ended.exit_code == 0 or ended.reason, ended.err
    # Its owner delivers again what was refused.
    for file in late.iterdir():
        shutil.copy(file, landing / f"again-{file.name}")
    ended = churn(settings, "run", clock=TRUTH + dt.timedelta(hours=3))
    assert ended.exit_code == 0, ended.err

    assert lines_of_bronze(settings) == lines_landed(landing)
    for table in (USERS, USER_DAILY_ACTIVITY, DAILY_SUMMARY, USER_FEATURES, CHURN_LABELS):
        pd.testing.assert_frame_equal(content(settings, table), content(small.settings, table))
    verified = churn(settings, "verify", "--deep")
    assert verified.exit_code == 0, verified.out + verified.err
    count(
        f"a clock that jumps to {clock:%Y-%m-%d %H:%M} for one run, and back",
        1,
        "every line in Bronze; delivered again, its events count once: tables as without the jump",
    )
