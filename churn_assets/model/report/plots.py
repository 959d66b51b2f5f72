"""A report's pictures: as SVG in the page's colours, light or dark."""

import html
import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.model.metrics import curves
from churn_assets.model.metrics.evaluation import CostMatrix, Vector

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[["Figure"], None]
Scores = Mapping[str, Vector]

# Drawn in light colours; in SVG each becomes the page's variable of that name.
COLOURS = {
    "ink": "#1b2430",
    "muted": "#5b6676",
    "grid": "#dfe4ea",
    "paper": "#ffffff",
    "challenger": "#1f5fbf",
    "champion": "#b4510b",
    "recency": "#7b8694",
    "mark": "#8a2f8f",
}
# Distinguishable without colours, too.
LINES = {"challenger": "solid", "champion": (0, (6, 2)), "recency": (0, (1.5, 1.5))}

INCHES = (5.2, 3.9)
# Any: matplotlib's own type lists its keys one by one.
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.facecolor": COLOURS["paper"],
    "legend.edgecolor": "none",
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "churn",
}


def svg(name: str, title: str, draw: Draw) -> str:
    """Draw as an ``<svg>`` element for a page that has the CSS variables ``--ink`` and so on.

    Screen readers say the title, and the legend with its numbers.

    Args:
        name: prefix of each id, as one page holds several pictures.
        title: of the picture.
        draw: one of this module's functions, with its values bound.
    """
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    drawn, legend = _drawn(draw, format="svg", transparent=True, metadata=nothing)
    element = drawn[drawn.index(b"<svg") :].decode()
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", element).replace("xlink:href", "href")
    says = (
        f'role="img" aria-labelledby="{name}-title {name}-says">'
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-says">{html.escape("; ".join(legend))}.</desc>'
    )
    element = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', lambda tag: f'<svg viewBox="{tag[1]}" {says}', element, count=1
    )
    # The page's typeface: it is there, and no wider than the one that the layout was made with.
    element = re.sub(r"font: (?:(\w+) )?([\d.]+)px [^;\"]*", r"font-size: \2px", element)
    for colour, value in COLOURS.items():
        element = element.replace(value, f"var(--{colour})")
    return element


def _drawn(draw: Draw, **options: Any) -> tuple[bytes, list[str]]:
    """Return the picture, and what its legend says; of one without, the names that it would have."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=INCHES, layout="constrained")
        draw(figure)
        figure.savefig(buffer, **options)
    return buffer.getvalue(), [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]


def roc(figure: "Figure", label: Vector, scores: Scores) -> None:
    """Draw how well each model ranks churners above stayers."""
    axes = _axes(figure, "Stayers taken for churners", "Churners found")
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=0.8)
    for name, probability in scores.items():
        curve = curves.roc(label, probability)
        _line(axes, name, curve.x, curve.y, f"{name}, area {curve.summary:.3f}")
    _as_shares(axes, both=True)
    axes.legend(loc="lower right")


def precision_recall(figure: "Figure", label: Vector, scores: Scores) -> None:
    """Draw the precision of ever longer lists of the likeliest churners."""
    axes = _axes(figure, "Churners found", "Churners among those flagged")
    rate = float(np.mean(label))
    axes.axhline(rate, color=COLOURS["muted"], linewidth=0.8)
    for name, probability in scores.items():
        curve = curves.precision_recall(label, probability)
        _line(axes, name, curve.x, curve.y, f"{name}, average {curve.summary:.3f}", drawstyle="steps-post")
    axes.plot([], [], color=COLOURS["muted"], linewidth=0.8, label=f"everybody flagged, {rate:.3f}")
    _as_shares(axes, both=True)
    axes.legend(loc="upper right")


def calibration(figure: "Figure", label: Vector, scores: Scores) -> None:
    """Draw churn rates over predicted probabilities, and a histogram of the probabilities."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=0.8)
    bins = np.linspace(0, 1, 41)
    for name, probability in scores.items():
        curve = curves.reliability(label, probability)
        text = f"{name}, mean error {curve.summary:.3f}"
        _line(above, name, curve.x, curve.y, text, marker="o", markersize=4)
        counts, _ = np.histogram(probability, bins)
        below.stairs(counts, bins, color=COLOURS[name], linestyle=LINES[name], linewidth=1.4)
    above.set_ylabel("Churn rate")
    below.set_ylabel("Rows")
    below.set_xlabel("Predicted probability of churn")
    below.locator_params(axis="y", nbins=3)
    below.yaxis.set_major_formatter("{x:,.0f}")
    _as_shares(above, both=True)
    above.tick_params(axis="x", labelbottom=False)
    _percent(below.xaxis)
    above.legend(loc="upper left")


def gain(figure: "Figure", label: Vector, scores: Scores) -> None:
    """Draw the share of churners that a list of users reaches, over its length."""
    axes = _axes(figure, "Users contacted, likeliest first", "Churners reached")
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=0.8)
    axes.axvline(curves.LIFTED, color=COLOURS["mark"], linewidth=0.8)
    for name, probability in scores.items():
        curve = curves.gain(label, probability)
        reached = 100 * curve.summary * curves.LIFTED
        _line(axes, name, curve.x, curve.y, f"{name}, {reached:.0f} % among the first 10 %")
    _as_shares(axes, both=True)
    axes.legend(loc="lower right")


def lift(figure: "Figure", label: Vector, scores: Scores) -> None:
    """Draw how many times more churners a list of users holds than a random one, over its length."""
    axes = _axes(figure, "Users contacted, likeliest first", "Churn rate over that of all")
    axes.axhline(1, color=COLOURS["muted"], linewidth=0.8)
    axes.axvline(curves.LIFTED, color=COLOURS["mark"], linewidth=0.8)
    for name, probability in scores.items():
        curve = curves.gain(label, probability)
        # Below a hundredth of the users, the lift rests on a handful of rows.
        shown = curve.x >= 0.01
        text = f"{name}, {curve.summary:.2f} at 10 %"
        _line(axes, name, curve.x[shown], curve.y[shown] / curve.x[shown], text)
    _as_shares(axes, both=False)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")


def profit(figure: "Figure", label: Vector, scores: Scores, costs: CostMatrix) -> None:
    """Draw the profit of contacting the users at or above each threshold."""
    axes = _axes(figure, "Threshold: contacted from this probability on", "Profit per 1,000 users")
    axes.axhline(0, color=COLOURS["muted"], linewidth=0.8)
    axes.axvline(costs.threshold, color=COLOURS["mark"], linewidth=1.2)
    for name, probability in scores.items():
        curve = curves.profit(label, probability, costs)
        _line(axes, name, curve.x, curve.y, f"{name}, {curve.summary:,.0f} at the threshold")
    axes.plot([], [], color=COLOURS["mark"], linewidth=1.2, label=f"threshold {costs.threshold:.3g}")
    _as_shares(axes, both=False)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="best")


def importances(figure: "Figure", by_feature: Mapping[str, float]) -> None:
    """Draw by how much the ROC AUC falls when a feature's values are shuffled."""
    axes = _axes(figure, "Loss of ROC AUC when shuffled", "")
    ordered = sorted(by_feature.items(), key=lambda item: item[1])
    names, values = [name for name, _ in ordered], [value for _, value in ordered]
    said = [f"{name} {value:.4f}" for name, value in ordered]
    bars = axes.barh(names, values, color=COLOURS["challenger"], height=0.6, label=said)
    axes.bar_label(bars, fmt="{:.4f}", padding=4)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.18)
    axes.axvline(0, color=COLOURS["muted"], linewidth=0.8)


def _axes(figure: "Figure", x: str, y: str) -> "Axes":
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def _line(axes: "Axes", name: str, x: Vector, y: Vector, text: str, **options: Any) -> None:
    axes.plot(x, y, color=COLOURS[name], linestyle=LINES[name], label=text, **options)


def _as_shares(axes: "Axes", *, both: bool) -> None:
    """Scale axes from 0 to 100 % and a little beyond, so that a line along the edge is visible."""
    axes.set_xlim(-0.02, 1.02)
    _percent(axes.xaxis)
    if both:
        axes.set_ylim(-0.02, 1.04)
        _percent(axes.yaxis)


def _percent(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
