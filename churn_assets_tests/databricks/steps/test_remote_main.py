"""The cluster's side by itself: which package wins, signs of life, and what is said when it cannot start."""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dagster._serdes import deserialize_value, serialize_value

from churn_assets.databricks.steps import remote_main
from churn_assets.databricks.steps.churn_remote.batches import BATCH_SECONDS, Batches
from churn_assets.databricks.steps.churn_remote.heartbeat import Heartbeat
from churn_assets.databricks.steps.staged_code import REMOTE


def make_zip(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(name.replace("__", "/") + ".py", content)
    return path


def run_main(folder: Path, code: Path, **config: object) -> subprocess.CompletedProcess[str]:
    """The main as the cluster starts it: by itself, with the standard library."""
    full_config = {
        "launcher": "step",
        "package": "ours",
        "environment": {},
        "heartbeat": {"seconds": 0.05, "missed": 200},
        **config,
    }
    (folder / "config.json").write_text(json.dumps(full_config))
    return subprocess.run(
        [sys.executable, "-I", remote_main.__file__, folder / "config.json", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
    )


def test_the_staged_package_wins_over_an_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed" / "ours_first"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("which = 'installed'")
    code = tmp_path / "code.zip"
    with zipfile.ZipFile(code, "w") as zipped:
        zipped.writestr("ours_first/__init__.py", "which = 'staged'")
    spark = tmp_path / "spark" / "python"
    (spark / "lib").mkdir(parents=True)
    (spark / "lib" / "py4j-0.10-src.zip").touch()
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "spark"))
    monkeypatch.setattr(sys, "path", [str(installed.parent), *sys.path])
    unpacked = tmp_path / "unpacked"
    remote_main.import_from_archive(str(code), "ours_first", str(unpacked))
    assert sys.path[:5] == [
        str(unpacked),
        str(unpacked),
        # Then the runtime's own Spark, before one that a library may have brought.
        str(spark),
        str(spark / "lib" / "py4j-0.10-src.zip"),
        str(installed.parent),
    ]
    import ours_first  # type: ignore[import-not-found]  # made above

    assert ours_first.which == "staged"


def test_an_archive_without_the_package_is_refused_though_it_is_installed(tmp_path: Path) -> None:
    code = tmp_path / "code.zip"
    with zipfile.ZipFile(code, "w") as zipped:
        zipped.writestr("theirs/__init__.py", "")
    done = run_main(tmp_path, code, package="dagster")
    error = json.loads((tmp_path / "error.json").read_text())
    assert done.returncode == 1
    assert error["type"] == "PackageNotStagedError"
    assert error["message"].startswith("The archive code.zip holds theirs, not dagster.")


# In its own process: an interrupt ends the embedded engine, and calls on its session then never return.
ORPHAN = """
import signal, sys, time
from pathlib import Path

# As it is on a cluster: who is started in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
from churn_remote.heartbeat import Heartbeat

folder = Path(sys.argv[2])
heartbeat = Heartbeat(folder, seconds=0.02, missed=4)
try:
    heartbeat.start()
    time.sleep(10)
except KeyboardInterrupt:
    heartbeat.stop()
    heartbeat.join()
    print("interrupted", heartbeat.orphaned, folder.exists())
"""


def test_an_orphan_interrupts_its_step_and_takes_its_folder_along(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    (folder / "beats").mkdir(parents=True)
    (folder / "beats" / "1").touch()
    command = [sys.executable, "-c", ORPHAN, str(REMOTE.parent), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert ended.stdout == "interrupted True False\n"


def test_a_step_whose_launcher_lives_is_left_in_peace(tmp_path: Path) -> None:
    assert not orphaned_while_beating(tmp_path, seconds=0.05)


def test_a_volume_that_takes_long_to_list_a_folder_ends_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each listing takes as long as four beats may be missed.
    monkeypatch.setattr(os, "listdir", slow(os.listdir, 0.2))
    assert not orphaned_while_beating(tmp_path, seconds=0.05)


def orphaned_while_beating(folder: Path, seconds: float) -> bool:
    """Whether a step takes itself for an orphan though its launcher beats, a new file each time."""
    beats = folder / "beats"
    beats.mkdir()
    heartbeat = Heartbeat(folder, seconds=seconds, missed=4)
    heartbeat.start()
    stop = time.monotonic() + 1.2
    before = None
    while time.monotonic() < stop:
        beat = beats / str(time.time_ns())
        beat.touch()
        if before:
            before.unlink()
        before = beat
        time.sleep(0.02)
    heartbeat.stop()
    heartbeat.join()
    return heartbeat.orphaned


def slow(listdir: Callable[..., list[str]], seconds: float) -> Callable[..., list[str]]:
    def slowly(*arguments: Any) -> list[str]:
        time.sleep(seconds)
        return listdir(*arguments)

    return slowly


def test_events_are_files_that_are_whole(tmp_path: Path) -> None:
    from dagster import DagsterInstance, job, op

    entries = []
    with DagsterInstance.ephemeral() as instance:

        @op
        def one() -> None: ...

        @job
        def all_of_it() -> None:
            one()

        run_id = all_of_it.execute_in_process(instance=instance).run_id
        entries = instance.all_logs(run_id)
    heartbeat = Heartbeat(tmp_path, seconds=10, missed=10)
    before = threading.active_count()
    with Batches(tmp_path, heartbeat, serialize_value) as events:
        for entry in entries[:3]:
            events.put(entry)
        time.sleep(BATCH_SECONDS * 2)
        for entry in entries[3:]:
            events.put(entry)
    files = sorted(tmp_path.glob("events-*.json.gz"))
    assert [file.name for file in files] == ["events-000001.json.gz", "events-000002.json.gz"]
    read = [deserialize_value(gzip.decompress(file.read_bytes()).decode(), list) for file in files]
    assert [*read[0], *read[1]] == list(entries)
    assert threading.active_count() <= before


def test_what_runs_on_the_cluster_imports_nothing_of_the_package() -> None:
    for file in (Path(remote_main.__file__), *REMOTE.glob("*.py")):
        assert "import churn_assets" not in file.read_text()
        assert "from churn_assets" not in file.read_text()
