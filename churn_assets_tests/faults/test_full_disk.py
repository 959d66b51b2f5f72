"""A disk that is full in the middle of a run: one line says so, and with space the run goes on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from churn_assets_tests.faults.conftest import Count
from churn_assets_tests.faults.lakes import Undisturbed, left_behind
from churn_assets_tests.forked import churn


class Disk:
    """A file system in memory, which root may make smaller or larger."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resize(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self._folder], check=True)


@contextmanager
def disk_at(folder: Path, size: int) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small disk that this test fills")
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.faults
def test_on_a_full_disk_a_run_fails_in_one_line_and_goes_on_when_there_is_space(
    undisturbed: Undisturbed, tmp_path: Path, count: Count
) -> None:
    tries = 30
    settings = undisturbed.copy_landed(tmp_path)
    needed = size_of(undisturbed.settings.lake_root)
    filled = 0
    with disk_at(settings.lake_root, 4096) as disk:
        for number in range(tries):
            disk.resize(4096 + needed * number // tries)
            ended = churn(settings, "run")
            assert not ended.has_a_traceback, ended.err
            if ended.exit_code == 0:
                break
            filled += 1
            assert "No space left on device" in ended.reason, ended.err

        disk.resize(4 * needed)
        ended = churn(settings, "run")
        assert ended.exit_code == 0, ended.err
        undisturbed.assert_equal(settings)
        verified = churn(settings, "verify", "--deep")
        assert verified.exit_code == 0, verified.out + verified.err
        assert left_behind(settings) == []
    assert filled > tries // 2
    count(
        "a disk that is full, a little later each time, from the first byte of the lake to the endpoint",
        filled,
        "one line each; with space the run goes on: 0 lost, 0 doubled, nothing left behind",
    )


def size_of(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
