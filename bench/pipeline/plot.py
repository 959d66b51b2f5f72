"""What was measured, as bars of its parts."""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.pipeline.measure import PARTS
from bench.pipeline.table import Runs, seconds_of_parts

COLOURS = ("#bfc5cc", "#8c6d46", "#5b84b1", "#6b9080", "#e0a458", "#d1603d", "#7a5c86", "#e3e3e3")


def plot(measured: Runs, title: str, file: Path) -> None:
    """One bar a program, the fastest on top."""
    mpl.use("Agg")
    found = {name: seconds_of_parts(runs) for name, runs in measured.items()}
    names = sorted(found, key=lambda name: -sum(found[name].values()))
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.5 * len(names)), layout="constrained")
    left = [0.0] * len(names)
    for part, colour in zip(PARTS, COLOURS, strict=True):
        widths = [found[name][part] for name in names]
        axes.barh(names, widths, left=left, color=colour, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, end in enumerate(left):
        axes.text(end, place, f" {end:.1f} s", va="center")
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("seconds")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=len(COLOURS), loc="upper center", bbox_to_anchor=(0.5, -0.25), frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)
