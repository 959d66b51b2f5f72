"""What was measured, as Markdown for people."""

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

import psutil

from bench.pipeline.events import Landed
from bench.pipeline.measure import PARTS, REST, Measured
from bench.pipeline.programs import git

PACKAGES = ("polars", "duckdb", "pandas", "pyspark", "delta-spark", "deltalake", "pysail", "dagster")

Runs = Mapping[str, Sequence[Measured]]


def seconds_of_parts(runs: Sequence[Measured]) -> dict[str, float]:
    """Medians of each part of the time; the rest is what is in no other."""
    wholes = [one.parts | {REST: one.wall - sum(one.parts.values())} for one in runs]
    return {part: statistics.median(whole[part] for whole in wholes) for part in PARTS}


def median(runs: Sequence[Measured], value: Callable[[Measured], float]) -> float:
    """Of all rounds."""
    return statistics.median(map(value, runs))


def table(measured: Runs, base: str) -> str:
    """A row a program: seconds, how many times those of the ``base``, each part, CPU, memory, disk."""
    headings = ["", "wall s", f"of {base}'s", *PARTS, "CPU s", "peak GB", "MB written"]
    lines = [f"| {' | '.join(headings)} |", f"|---|{'--:|' * (len(headings) - 1)}"]
    of_base = median(measured[base], lambda one: one.wall) if base in measured else float("nan")
    for name, runs in measured.items():
        walls = [one.wall for one in runs]
        wall = statistics.median(walls)
        spread = f" ({min(walls):.1f} to {max(walls):.1f})" if len(walls) > 1 else ""
        cells = [
            name,
            f"{wall:.1f}{spread}",
            f"{wall / of_base:.2f}",
            *(f"{seconds:.1f}" for seconds in seconds_of_parts(runs).values()),
            f"{median(runs, lambda one: one.cpu):.1f}",
            f"{median(runs, lambda one: one.peak) / 1e9:.2f}",
            f"{median(runs, lambda one: one.written) / 1e6:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def circumstances(landed: Landed, rounds: int) -> str:
    """The input, the machine, the versions and the commit."""
    changed = " with changes" if git("status", "--porcelain") else ""
    memory = psutil.virtual_memory().total / 1e9
    return (
        f"{landed.lines:,} lines ({landed.bytes / 1e9:.2f} GB) of {landed.dates}, in a file a day; "
        f"{'one round' if rounds == 1 else f'medians of {rounds} rounds'}, commit "
        f"{git('rev-parse', '--short', 'HEAD')}{changed}. {os.cpu_count()} cores, {memory:.0f} GB, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in PACKAGES)}."
    )
