"""A report's numbers as text: rounded, named, and with the verdict that follows from them."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from churn_assets.model.gate.gate import Decision, Difference, Slice
from churn_assets.model.metrics import curves
from churn_assets.model.metrics.evaluation import CostMatrix, Vector
from churn_assets.transforms.drift import NOT_JUDGED

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

# The scale on which the intervals of the slices' AUCs are drawn.
SCALE = (0.4, 1.0)


class Metric(NamedTuple):
    """The name and the meaning of one of the gate's metrics."""

    name: str
    meaning: str
    higher_is_better: bool
    digits: str = ".4f"


METRICS = {
    "roc_auc": Metric("ROC AUC", "chance that a churner is ranked above a stayer", True),
    "pr_auc": Metric("PR AUC", "churners among those flagged, averaged over every length of list", True),
    "brier": Metric("Brier score", "mean squared error of the probability", False),
    "log_loss": Metric("Log loss", "how surprising the outcomes were; punishes false certainty", False),
    "calibration_error": Metric(
        "Calibration error", "mean distance between the probability given and the churn rate", False
    ),
    "lift_10": Metric(
        "Lift at 10 %", "churn rate among the likeliest tenth over that of everybody", True, ".2f"
    ),
    "profit": Metric("Profit per 1,000 users", "at the threshold of the cost matrix", True, ",.1f"),
}


class MetricRow(NamedTuple):
    """One line of the table of key figures, as text."""

    name: str
    meaning: str
    better: str
    by_model: tuple[str, ...]
    difference: str
    interval: str
    verdict: str


def headline(decision: Decision, version: str, champion_version: str | None) -> str:
    """Return the decision in one line."""
    challenger = f"Version {version}" if version else "The challenger"
    champion = f"version {champion_version}" if champion_version else "the champion"
    if decision.promoted:
        over = "there was no champion" if decision.against == "recency" else f"it replaces {champion}"
        return f"{challenger} is promoted: {over}"
    if decision.against == "champion":
        return f"{challenger} is refused: {champion} stays in Production"
    return f"{challenger} is refused: nothing is in Production"


def metric_rows(decision: Decision) -> list[MetricRow]:
    """Return the metrics of challenger, champion, BG/NBD and recency, and the difference that was judged."""
    differences = {difference.metric: difference for difference in decision.differences}
    rows = []
    for key, metric in METRICS.items():
        judged = (decision.challenger, decision.champion, decision.formula, decision.floor)
        by_model = tuple(number(metrics.get(key), metric.digits) for metrics in judged)
        difference = differences.get(key)
        measured = _measured(difference) if difference else (None, None, None)
        apart, low, high = (number(value, f"+{metric.digits}") for value in measured)
        rows.append(
            MetricRow(
                metric.name,
                metric.meaning,
                "higher is better" if metric.higher_is_better else "lower is better",
                by_model,
                apart,
                f"{low} to\N{NO-BREAK SPACE}{high}" if difference else NOTHING,
                _verdict(difference) if difference else NOTHING,
            )
        )
    return rows


def _measured(difference: Difference) -> tuple[float, float, float]:
    return difference.challenger - difference.champion, difference.low, difference.high


def _verdict(difference: Difference) -> str:
    if difference.is_better:
        return "better"
    return "worse" if difference.is_worse else "within noise"


def holdout_in_words(holdout: "pd.DataFrame | None", label: Vector) -> str:
    """Return the rows, users, dates and churn rate of the holdout as a sentence."""
    if not len(label):
        return "There were no holdout rows to judge on."
    text = f"{len(label):,} rows"
    if holdout is not None and len(holdout):
        dates = holdout["feature_date"]
        text += f" of {holdout['user_id'].nunique():,} users, feature_dates {dates.min()} to {dates.max()}"
    return f"{text}; {share(np.mean(label))} of them churned."


def bin_rows(label: Vector, scores: Mapping[str, Vector]) -> list[tuple[str, str, str]]:
    """Return the challenger's bins of the reliability diagram: mean probability, churn rate, rows."""
    if "challenger" not in scores:
        return []
    bins = curves.reliability_bins(np.asarray(label, dtype="float64"), scores["challenger"])
    return [(share(predicted), share(observed), f"{rows:,}") for predicted, observed, rows in bins]


def groups_in_words(label: Vector, scores: Mapping[str, Vector]) -> str:
    """Return how many bins of how many rows ``bin_rows`` has; empty without any."""
    if "challenger" not in scores:
        return ""
    bins = curves.reliability_bins(np.asarray(label, dtype="float64"), scores["challenger"])
    fewest, most = min(bins, key=lambda one: one[2])[2], max(bins, key=lambda one: one[2])[2]
    groups = f"{len(bins)} group{'' if len(bins) == 1 else 's'}"
    return f"{groups} of {fewest:,} rows" if fewest == most else f"{groups} of {fewest:,} to {most:,} rows"


class ThresholdRow(NamedTuple):
    """The result of contacting the users whom a model names, as text."""

    model: str
    contacted: str
    among: str
    reached: str
    profit: str


def threshold_rows(label: Vector, scores: Mapping[str, Vector], costs: CostMatrix) -> list[ThresholdRow]:
    """Return the result of contacting users from the costs' threshold up, and of contacting everybody."""
    if not scores:
        return []
    label = np.asarray(label, dtype="float64")
    probabilities = {**scores, "everybody": np.ones(len(label))}
    rows = []
    for model, values in probabilities.items():
        users, among, reached = curves.contact_shares(label, values, costs.threshold)
        profit = number(curves.profit(label, values, costs).summary, ",.0f")
        rows.append(ThresholdRow(model, share(users), share(among), share(reached), profit))
    return rows


class SliceRow(NamedTuple):
    """One slice as text, and the position of its interval on the scale, in percent of the scale's width."""

    name: str
    rows: str
    churn_rate: str
    roc_auc: str
    interval: str
    champion: str
    verdict: str
    left: float
    width: float
    middle: float


def slice_rows(slices: Sequence[Slice], floor: float) -> list[SliceRow]:
    """Return the slices in the gate's order; the verdict says which are below the floor."""
    rows = []
    for part in slices:
        left, middle, right = (on_scale(value) for value in (part.low, part.roc_auc, part.high))
        verdict = "above the floor" if part.roc_auc >= floor else "below the floor"
        if part.roc_auc < floor <= part.high:
            verdict = "below the floor, within noise"
        rows.append(
            SliceRow(
                part.name,
                f"{part.rows:,}",
                share(part.churn_rate),
                number(part.roc_auc, ".3f"),
                f"{number(part.low, '.3f')} to {number(part.high, '.3f')}",
                number(part.champion_roc_auc, ".3f"),
                verdict,
                left,
                right - left,
                middle,
            )
        )
    return rows


def on_scale(value: float) -> float:
    """Return the position of a ROC AUC on ``SCALE``, in percent of its width, 0 to 100."""
    if not math.isfinite(value):
        return 0.0
    return round(100 * (min(max(value, SCALE[0]), SCALE[1]) - SCALE[0]) / (SCALE[1] - SCALE[0]), 1)


class DriftRow(NamedTuple):
    """One feature's drift, as text."""

    feature: str
    psi: str
    by_chance: str
    verdict: str


def drift_rows(drift: Sequence[tuple[str, float, float]], warn: float, fail: float) -> list[DriftRow]:
    """Return the features, the most drifted first."""
    rows = []
    for feature, psi, by_chance in sorted(drift, key=lambda row: -row[1]):
        if feature in NOT_JUDGED:
            verdict = "grows by itself"
        elif psi <= by_chance:
            verdict = "no more than chance"
        elif psi < warn:
            verdict = "slight"
        else:
            verdict = "drifted" if psi >= fail else "worth a look"
        rows.append(DriftRow(feature, number(psi, ".4f"), number(by_chance, ".4f"), verdict))
    return rows


def number(value: Any, digits: str = ".4f") -> str:
    """Format a number; a dash where there is none."""
    if value is None:
        return NOTHING
    return format(value, digits).replace("-", MINUS) if math.isfinite(value) else "not a number"


def share(value: Any) -> str:
    """Format a share in percent."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{100 * value:.1f} %"


def count(value: object) -> str:
    """Format a whole number in groups of three digits, anything else with ``str``."""
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def pairs(values: Mapping[str, Any]) -> str:
    """Format parameters in one line."""
    return ", ".join(f"{name}={_short(value)}" for name, value in values.items()) or NOTHING


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


FILTERS = {"number": number, "share": share, "count": count, "pairs": pairs}
