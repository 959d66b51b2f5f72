"""``churn run`` killed at any moment, a hundred times, while others read: as if nothing had happened."""

import random
import re
import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest
from deltalake.exceptions import TableNotFoundError

from churn_assets.settings import Settings
from churn_assets.tables import TABLES
from churn_assets_tests.faults.conftest import Count
from churn_assets_tests.faults.lakes import Undisturbed, doubled_keys, left_behind
from churn_assets_tests.forked import Command, at_work, churn

# A run is killed after some of its steps and a while, on a machine of any speed at any of them; a lake is
# done after some ten kills.
MOST_STEPS = 3
MEAN_SECONDS = 1.5
STEP = re.compile(r"^  ([a-z_ ]+?)(?::.*)? \([0-9.]+ s\)$", re.MULTILINE)


class Reader(threading.Thread):
    """Reads every table, again and again, as an analyst's tool would; notes what it should not have met."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings, self._over = settings, threading.Event()
        self.looks, self.wrong = 0, Counter[str]()

    def run(self) -> None:
        while not self._over.wait(0.05):
            for table in TABLES:
                try:
                    doubled = doubled_keys(self._settings, table)
                except TableNotFoundError:
                    continue
                except Exception as error:  # noqa: BLE001 - whatever a reader meets is what is asked for
                    self.wrong[f"{table}: {error}"] += 1
                    continue
                self.looks += 1
                if doubled:
                    self.wrong[f"{table} has rows twice"] += doubled

    def end(self) -> None:
        self._over.set()
        self.join()


@pytest.mark.parametrize(
    ("lake", "kills"), [("small", 2), pytest.param("undisturbed", 200, marks=pytest.mark.faults)]
)
def test_killed_at_any_moment_a_run_loses_and_doubles_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, lake: str, kills: int, count: Count
) -> None:
    undisturbed: Undisturbed = request.getfixturevalue(lake)
    random_ = random.Random(kills)
    killed, lakes, looks, steps = 0, 0, 0, Counter[str]()
    while killed < kills:
        folder = tmp_path / str(lakes)
        settings = undisturbed.copy_landed(folder)
        lakes += 1
        reader = Reader(settings)
        reader.start()
        try:
            while killed < kills and (command := _killed(settings, random_)):
                killed += 1
                steps[_at_work_on(command)] += 1
            ended = churn(settings, "run")
        finally:
            reader.end()

        assert ended.exit_code == 0, ended.err
        assert not ended.has_a_traceback
        assert not reader.wrong, f"after {killed} kills with the seed {kills}"
        looks += reader.looks
        undisturbed.assert_equal(settings)
        verified = churn(settings, "verify", "--deep")
        assert verified.exit_code == 0, verified.out + verified.err
        assert left_behind(settings) == []
        shutil.rmtree(folder)
    if kills > 100:
        assert len(steps) > 5, steps
    count(
        "`churn run` killed (SIGKILL) at a random moment of the whole graph, first creation, promotion and "
        "publishing included, while a reader reads every table",
        kills,
        f"0 lost, 0 doubled, 0 tracebacks, nothing left behind; {lakes} lakes; {looks:,} reads, all right",
    )


def _killed(settings: Settings, random_: random.Random) -> Command | None:
    """Start a run and kill it; None if it was over before."""
    steps, seconds = random_.randint(0, MOST_STEPS), random_.expovariate(1 / MEAN_SECONDS)
    with at_work(settings, "run") as command:
        while command.is_at_work() and len(STEP.findall(command.said())) < steps:
            command.process.join(0.05)
        command.process.join(seconds)
        if not command.is_at_work():
            ended = command.wait()
            assert ended.exit_code == 0, ended.err
            return None
        command.kill()
        assert "Traceback" not in command.said()
        return command


def _at_work_on(command: Command) -> str:
    """The last step that it had done, by what it said."""
    done = STEP.findall(command.said())
    return done[-1] if done else "nothing yet"
