"""The command: programs in turn, each into a new lake; then whether they agree, and a table."""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.pipeline.compare import COMPARED, Totals, differences, totals
from bench.pipeline.events import DEFAULT_FOLDER, Landed, landed_events
from bench.pipeline.measure import Measured, ProgramError
from bench.pipeline.programs import ON_SPARK, PEERS, PLATFORM, Program, lake_in, platform_at, program
from bench.pipeline.table import circumstances, table

# A million lines take it 1.7 GB at the peak, as it holds each as several Python objects.
MOST_FOR_PANDAS = 5_000_000
DESCRIPTION = """From landed JSON lines to user_features of all dates: the platform beside the same pipeline
written by hand in Polars, DuckDB, pandas and plain PySpark, into the same Delta tables."""


class Rounds:
    """What was measured so far, what tables add up to, and which programs failed."""

    def __init__(self, landed: Landed, folder: Path) -> None:
        self._landed, self._folder = landed, folder
        self.measured: dict[str, list[Measured]] = {}
        self.totals: dict[str, Totals] = {}
        self.failed: dict[str, str] = {}

    def run(self, one: Program) -> None:
        """Run a program into a lake of its own, which is gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="run-") as run:
            folder = Path(run)
            try:
                found = one.run(self._landed, folder)
            except ProgramError as error:
                self.failed[one.name] = str(error)
                print(f"{one.name} failed: {error}", file=sys.stderr, flush=True)
                return
            self.measured.setdefault(one.name, []).append(found)
            print(f"{one.name}: {found.wall:.1f} s", file=sys.stderr, flush=True)
            if one.name not in self.totals:
                self.totals[one.name] = totals(lake_in(folder))
            shutil.rmtree(lake_in(folder))


def asked_programs(names: Sequence[str], lines: int) -> tuple[list[Program], list[str]]:
    """The programs to run, and notes on those that are left out."""
    if lines > MOST_FOR_PANDAS and "pandas" in names:
        note = f"pandas is left out: it holds every line as Python objects, of which {lines:,} are too many."
        return [program(name) for name in names if name != "pandas"], [note]
    return [program(name) for name in names], []


def agreement(found: dict[str, Totals], base: str) -> list[str]:
    """A line a program on whether its tables are those of the ``base``."""
    lines = []
    for name, own in found.items():
        if name == base:
            continue
        differ = differences(own, found[base])
        tables = ", ".join(f"{one.schema}.{one.name}" for one in COMPARED)
        if differ:
            lines.append(f"{name} DIFFERS from {base} in {len(differ)} of {len(own)}: {'; '.join(differ)}")
        else:
            lines.append(f"{name} and {base} agree: rows and sums of all columns of {tables}.")
    return lines


def main() -> None:
    """Prints a table of medians, and where the tables differ; exit 1 if any does."""
    parser = argparse.ArgumentParser(prog="bench.pipeline", description=DESCRIPTION)
    parser.add_argument("--events", type=int, default=1_000_000, help="about so many lines")
    parser.add_argument(
        "--peers",
        default=",".join((*PEERS, PLATFORM)),
        help=f"in the order in which they run; {ON_SPARK} is the platform on Apache Spark",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", metavar="COMMIT", help="the platform at this commit, too")
    parser.add_argument(
        "--folder", type=Path, default=DEFAULT_FOLDER, help="of events, which are kept, and lakes"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="bars of where the time went")
    asked = parser.parse_args()
    names = asked.peers.split(",")
    if unknown := set(names) - {*PEERS, PLATFORM, ON_SPARK}:
        parser.error(f"no such peers: {', '.join(sorted(unknown))}")
    landed = landed_events(asked.folder, asked.events)
    programs, notes = asked_programs(names, landed.lines)
    rounds = Rounds(landed, asked.folder.expanduser())
    with contextlib.ExitStack() as stack:
        if asked.against:
            programs.append(stack.enter_context(platform_at(asked.against)))
        for _ in range(asked.rounds):
            for one in programs:
                if one.name not in rounds.failed:
                    rounds.run(one)
    if not rounds.measured:
        sys.exit("No program came to its end.")
    base = PLATFORM if PLATFORM in rounds.measured else next(iter(rounds.measured))
    about, agrees = circumstances(landed, asked.rounds), agreement(rounds.totals, base)
    notes += [f"{name} failed: {reason}" for name, reason in rounds.failed.items()]
    print(
        "\n\n".join([about, table(rounds.measured, base), "\n".join(f"- {line}" for line in agrees + notes)])
    )
    if asked.plot:
        from bench.pipeline.plot import plot

        plot(rounds.measured, f"{landed.lines:,} events to user_features", asked.plot)
    sys.exit(any("DIFFERS" in line for line in agrees) or bool(rounds.failed))
