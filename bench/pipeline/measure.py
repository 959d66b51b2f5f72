"""One program in a process of its own: seconds of each part, CPU, peak memory, and what it left on disk."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.pipeline.job import STAGES

SAMPLE_SECONDS = 0.2

# Start is what comes before the first stage: imports, definitions, a session. Checks are the platform's, and
# with them stands its daily summary, which no feature reads. The rest is Dagster between steps, and the exit.
START, CHECKS, REST = "start", "checks", "rest"
PARTS = (START, *STAGES, CHECKS, REST)

OUTPUT, ERRORS = "output.txt", "errors.txt"


class Measured(NamedTuple):
    """Seconds from start to end and of each part, CPU seconds, and bytes: at the peak, and of the lake."""

    wall: float
    parts: dict[str, float]
    cpu: float
    peak: int
    written: int


class ProgramError(Exception):
    """A program failed; the message is the last line of its errors."""


def measured(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    lake: Path,
    parts: Callable[[dict[str, float]], dict[str, float]],
) -> Measured:
    """Run a program whose last line is JSON: when its work began, and the seconds of what it did.

    Args:
        command: the program.
        folder: where it runs, and its output is kept.
        environment: all of its variables.
        lake: what it writes.
        parts: from those seconds to those of each of ``PARTS`` but the start.

    Raises:
        ProgramError: it exits with another code than 0.
    """
    # Its writes are its own, and not those of the program before.
    os.sync()
    with (folder / OUTPUT).open("wb") as output, (folder / ERRORS).open("wb") as errors:
        started, clock = time.perf_counter(), time.time()
        process = subprocess.Popen(  # noqa: S603 - ourselves
            command, cwd=folder, env=environment, stdout=output, stderr=errors
        )
        usage = _watched(process)
        wall = time.perf_counter() - started
    if process.returncode:
        lines = (folder / ERRORS).read_text(errors="replace").split("\n")
        raise ProgramError(next((line for line in reversed(lines) if line.strip()), "no word"))
    found = json.loads((folder / OUTPUT).read_text().splitlines()[-1])
    written = sum(file.stat().st_size for file in lake.rglob("*") if file.is_file())
    seconds = {START: found["began"] - clock, **parts(found["seconds"])}
    return Measured(wall, seconds, usage.cpu, usage.peak, written)


class _Usage(NamedTuple):
    cpu: float
    peak: int


def _watched(process: subprocess.Popen[bytes]) -> _Usage:
    """Wait for a process; its CPU seconds and peak memory are those of the whole tree, by samples."""
    peak, seconds = 0, dict[int, float]()
    while True:
        pid, status, own = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            # Exact, but blind for a JVM that nobody has waited for; samples miss the last moment.
            return _Usage(max(own.ru_utime + own.ru_stime, sum(seconds.values())), peak)
        memory = 0
        for one in _tree(process.pid):
            try:
                with one.oneshot():
                    memory += one.memory_info().rss
                    times = one.cpu_times()
                    seconds[one.pid] = times.user + times.system
            except psutil.Error:
                continue
        peak = max(peak, memory)
        time.sleep(SAMPLE_SECONDS)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
