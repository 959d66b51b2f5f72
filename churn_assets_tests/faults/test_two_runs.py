"""Two ``churn run`` at once: one does the work, the other does none of it or says so in one line."""

import random
import shutil
import time
from pathlib import Path

import pytest

from churn_assets_tests.faults.conftest import Count
from churn_assets_tests.faults.lakes import Undisturbed, left_behind
from churn_assets_tests.forked import at_work

REFUSED = "churn: Another churn run is at work on this lake."


@pytest.mark.parametrize("tries", [1, pytest.param(30, marks=pytest.mark.faults)])
def test_of_two_runs_at_once_each_line_is_taken_in_once(
    small: Undisturbed, tmp_path: Path, tries: int, count: Count
) -> None:
    random_ = random.Random(tries)
    refused = 0
    for number in range(tries):
        folder = tmp_path / str(number)
        settings = small.copy_landed(folder)
        with at_work(settings, "run") as first:
            time.sleep(random_.uniform(0, 3) if number % 2 else 0)
            with at_work(settings, "run") as second:
                ended = [first.wait(), second.wait()]

        assert not any(one.has_a_traceback for one in ended)
        failed = [one for one in ended if one.exit_code]
        assert len(failed) < 2
        assert all(one.reason.startswith(REFUSED) for one in failed), failed
        refused += len(failed)
        small.assert_equal(settings)
        assert left_behind(settings) == []
        shutil.rmtree(folder)
    count(
        "two `churn run` at once on one lake, up to 3 s apart",
        tries,
        f"0 lost, 0 doubled; the second is refused in one line ({refused}), or has nothing to do",
    )
