"""What reaches a person's terminal when something fails: one line. What an engine says goes to a log."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from churn_assets.errors import one_line
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.ingestion import ingest
from churn_assets.tables import LANDED_EVENTS
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.rows import NOON, line

CHURN = Path(sys.executable).with_name("churn")

# The command line with a command of our own in place of all others.
NOISY = """
import os, sys, warnings
from churn_assets import cli
def command():
    os.write(2, b'{"engine": "says"}\\n')
    warnings.warn("a library warns")
    cli.err.print("  a step (1.0 s)")
    {then}
cli.app = command
cli.main()
"""


def noisy(then: str, folder: Path, stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home")}
    return subprocess.run(
        [sys.executable, "-c", NOISY.replace("{then}", then)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
    )


def test_an_error_that_nobody_has_foreseen_is_one_line_and_its_trace_is_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()

    done = noisy("1 / 0", tmp_path)

    log = tmp_path / "lake" / "logs" / "churn.log"
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "  a step (1.0 s)",
        f"churn: ZeroDivisionError: division by zero. Nobody has foreseen this. The trace is in {log}.",
    ]
    kept = log.read_text()
    assert all(what in kept for what in ('{"engine": "says"}', "a library warns", "ZeroDivisionError"))


def test_without_a_lake_the_trace_is_kept_with_the_user(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()

    done = noisy("1 / 0", tmp_path)

    assert done.stderr.rstrip().endswith(f"The trace is in {tmp_path}/home/.cache/churn-assets/churn.log.")
    assert not (tmp_path / "lake").exists()


def test_an_error_of_ours_says_what_paths_hold_and_leaves_no_log_without_a_lake(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    then = "from churn_assets.errors import LakeError; raise LakeError('The lake /a[b]c\\n:smile: is full.')"

    done = noisy(then, tmp_path)

    assert done.stderr.splitlines()[1:] == ["churn: The lake /a[b]c :smile: is full."]
    assert [path.name for path in tmp_path.rglob("*")] == ["home"]


def test_on_a_real_terminal_it_is_the_same_line(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    ours, theirs = pty.openpty()

    then = (
        "from churn_assets import console\n"
        "    with console.steps() as step:\n"
        "        step('a step'); os.write(2, b'noise'); print('noise', file=sys.stderr); 1 / 0"
    )

    noisy(then, tmp_path, stderr=theirs)

    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "division by zero" in shown
    assert "noise" not in shown
    assert "engine" not in shown
    assert "Traceback" not in shown


def test_how_a_command_is_used_is_for_people(tmp_path: Path) -> None:
    done = subprocess.run(
        [CHURN, "run", "--nonsense"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "No such option: --nonsense" in done.stderr


def test_an_engine_that_fails_says_nothing_on_the_terminal(
    deployment: str, make_settings: MakeSettings, spark: SparkSession, tmp_path: Path
) -> None:
    if deployment != "local":
        pytest.skip("the command would start a Spark of its own; what turns it away is the same")
    settings = make_settings()
    landing = Path(settings.landing_root)
    landing.mkdir()
    (landing / "a.json").write_text(f"{line('e1', 1, '2026-03-01T10:00:00Z')}\n")
    lake = FolderLakehouse(settings, lambda: spark)
    ingest(lake, now=lambda: NOON)
    for file in lake.location(LANDED_EVENTS).rglob("*.parquet"):
        file.write_text("no parquet")
    (landing / "b.json").write_text(f"{line('e2', 1, '2026-03-01T10:00:00Z')}\n")

    done = subprocess.run(
        [CHURN, "run"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **settings.as_env()},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("churn: files to events and users failed with ")
    assert "{" not in done.stderr
    assert "Traceback" in (settings.lake_root / "logs" / "churn.log").read_text()


def test_a_message_with_a_stack_is_one_line_without_it() -> None:
    message = (
        "[DIVIDE_BY_ZERO] Division by zero.\nUse try_divide.\n\nJVM stacktrace:\norg.apache.spark\n\tat a.b"
    )

    assert one_line(RuntimeError(message)) == "[DIVIDE_BY_ZERO] Division by zero. Use try_divide"
    assert len(one_line(RuntimeError("x" * 5000))) == 300
