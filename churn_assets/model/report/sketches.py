"""Pictures of a training that are small enough for Dagster's UI to show them inline.

It shows Markdown of less than 1,000 characters where it stands, and longer one behind a link. So these are
SVG of a few lines, without axes' numbers. The report has the same as pictures to read values from.
"""

from collections.abc import Mapping

import numpy as np

from churn_assets.model.metrics import curves
from churn_assets.model.metrics.curves import Curve
from churn_assets.model.metrics.evaluation import CostMatrix, Vector
from churn_assets.model.report.plots import COLOURS

# The UI's own limit, in characters of Markdown.
SHOWN_INLINE = 1000

WIDTH, HEIGHT = 300, 180
# Points of a line: with three of them the Markdown stays below the limit.
POINTS = 13

Scores = Mapping[str, Vector]
Lines = Mapping[str, tuple[Curve, str]]


def sketches(label: Vector, scores: Scores, costs: CostMatrix) -> dict[str, str]:
    """Draw "roc", "calibration" and "profit" as Markdown, each with a line a model; none without scores.

    Args:
        label: 1 churned, 0 stayed; shape (rows,).
        scores: probabilities in the same order and shape, by the model's name.
        costs: what a contact costs and gains.
    """
    if not scores:
        return {}
    roc = {name: curves.roc(label, values) for name, values in scores.items()}
    calibration = {name: curves.reliability(label, values) for name, values in scores.items()}
    profit = {name: curves.profit(label, values, costs) for name, values in scores.items()}
    return {
        "roc": _sketch("Churners found over stayers flagged", _with(roc, "{:.3f}"), diagonal=True),
        "calibration": _sketch("Churn rate over probability", _with(calibration, "{:.3f}"), diagonal=True),
        "profit": _sketch("Profit over threshold", _with(profit, "{:,.0f}")),
    }


def _with(drawn: Mapping[str, Curve], summary: str) -> Lines:
    return {name: (curve, f"{name} {summary.format(curve.summary)}") for name, curve in drawn.items()}


def _sketch(title: str, lines: Lines, *, diagonal: bool = False) -> str:
    """Return the Markdown of a picture; ``diagonal``: of shares, with the line on which both are equal."""
    heights = np.concatenate([curve.y for curve, _ in lines.values()])
    low, high = (0.0, 1.0) if diagonal else (min(heights.min(), 0.0), max(heights.max(), 1e-9))
    # Where the lines end low there is room above them, and otherwise below.
    ends_low = next(iter(lines.values()))[0].y[-1] < (low + high) / 2
    drawn = [f"<path d='M0 {HEIGHT}L{WIDTH} 0' stroke='{COLOURS['grid']}'/>"] if diagonal else []
    for place, (name, (curve, text)) in enumerate(lines.items(), start=1):
        x, y = _few(curve)
        points = " ".join(
            f"{WIDTH * at:.0f} {HEIGHT * (high - value) / (high - low):.0f}"
            for at, value in zip(x, y, strict=True)
        )
        drawn.append(f"<path d='M{points}' stroke='{COLOURS[name]}' stroke-width='2'/>")
        drawn.append(
            f"<text x='170' y='{20 * place + (0 if ends_low else 95)}' fill='{COLOURS[name]}'>{text}</text>"
        )
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' fill='none' "
        "font-size='13'>"
        f"<path d='M0 0H{WIDTH}V{HEIGHT}H0' fill='#fff'/>{''.join(drawn)}</svg>"
    )
    quoted = svg.replace("<", "%3C").replace(">", "%3E").replace("#", "%23")
    return f"{title}\n\n![{title}](<data:image/svg+xml,{quoted}>)"


def _few(curve: Curve) -> tuple[Vector, Vector]:
    """Return at most so many points of a curve, denser at its beginning, where a ROC curve bends."""
    if len(curve.x) <= POINTS:
        return curve.x, curve.y
    x = curve.x[0] + (curve.x[-1] - curve.x[0]) * np.linspace(0, 1, POINTS) ** 1.5
    return x, np.interp(x, curve.x, curve.y)
