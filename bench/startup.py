"""What commands take from start to exit on the demo's data: help, status, runs with much, little and nothing.

    .venv/bin/python -m bench.startup --against COMMIT --rounds 3

Each round gives each commit a new lake and the same files: the demo's run but for the last day, that day, a
run with nothing new, the status, the help. CPU seconds are those of the process, with all of its threads.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.kills import environment
from bench.pipeline.programs import REPOSITORY, git, platform_at

COMMAND = "import sys; sys.argv[0] = 'churn'; from churn_assets.cli import main; main()"
QUICK_REPEATS = 3

HELP, STATUS, NOTHING = "`churn --help`", "`churn status`", "`churn run` with nothing new"
DAY, DEMO = "one more day of the demo", "`make demo`'s run"
LINES = (HELP, STATUS, NOTHING, DAY, DEMO)


class Took(NamedTuple):
    """Seconds from start to exit, and CPU seconds, user and system."""

    wall: float
    cpu: float


Measured = Mapping[str, list[Took]]


def main() -> None:
    """Prints a table of medians."""
    parser = argparse.ArgumentParser(prog="bench.startup")
    parser.add_argument("--against", metavar="COMMIT", help="the platform at this commit, too")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    here = f"this commit ({git('rev-parse', '--short', 'HEAD')}{' with changes' if _is_changed() else ''})"
    with contextlib.ExitStack() as stack:
        checkouts = {here: REPOSITORY}
        if asked.against:
            other = stack.enter_context(platform_at(asked.against))
            checkouts[other.name] = other.checkout or REPOSITORY
        files = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        churn(REPOSITORY, files, "simulate", "--sample")
        measured: dict[str, dict[str, list[Took]]] = {
            name: {line: [] for line in LINES} for name in checkouts
        }
        for _ in range(asked.rounds):
            for name, checkout in checkouts.items():
                for line, took in one_round(checkout, files):
                    measured[name][line].append(took)
                    print(f"{name}, {line}: {took.wall:.1f} s", file=sys.stderr, flush=True)
    print(
        f"{asked.rounds} rounds, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores.\n\n{table(measured)}"
    )


def one_round(checkout: Path, files: Path) -> Iterator[tuple[str, Took]]:
    """Take a new lake through all five.

    Args:
        checkout: of the platform.
        files: the folder of a lake in which the demo's files have landed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "demo"
        shutil.copytree(files, folder)
        last = max((folder / "lake" / "landing" / "events").iterdir())
        held_back = last.rename(folder / last.name)
        yield DEMO, churn(checkout, folder, "run")
        held_back.rename(last)
        yield DAY, churn(checkout, folder, "run")
        for _ in range(QUICK_REPEATS):
            yield NOTHING, churn(checkout, folder, "run")
            yield STATUS, churn(checkout, folder, "status")
            yield HELP, churn(checkout, folder, "--help")


def churn(checkout: Path, folder: Path, *arguments: str) -> Took:
    """Run a command in the folder of a lake.

    Raises:
        SystemExit: it fails.
    """
    # What was written before is not written out while this runs.
    os.sync()
    log = folder / "output.txt"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-P", "-c", COMMAND, *arguments],
            cwd=folder,
            env=environment({"PYTHONPATH": str(checkout)}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"churn {' '.join(arguments)} of {checkout} failed: {log.read_text()[-500:]}")
    return Took(wall, usage.ru_utime + usage.ru_stime)


def table(measured: Mapping[str, Measured]) -> str:
    """A row a command; wall and CPU seconds of each commit, medians."""
    headings = [f"{name}, {kind} s" for name in measured for kind in ("wall", "CPU")]
    rows = [f"| | {' | '.join(headings)} |", f"|---|{'--:|' * len(headings)}"]
    for line in LINES:
        cells = [cell for of_commit in measured.values() for cell in _medians(of_commit[line])]
        rows.append(f"| {line} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _medians(took: Sequence[Took]) -> list[str]:
    return [f"{statistics.median(values):.1f}" for values in zip(*took, strict=True)]


def _is_changed() -> bool:
    return bool(git("status", "--porcelain"))


if __name__ == "__main__":
    main()
