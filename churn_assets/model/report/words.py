"""A report's numbers as a person reads them: rounded, named, and with what follows from them."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from churn_assets.model.gate.gate import Decision, Difference, Slice
from churn_assets.model.metrics import curves
from churn_assets.model.metrics.curves import Array
from churn_assets.model.metrics.evaluation import CostMatrix
from churn_assets.transforms.drift import NOT_JUDGED

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

# An interval of a slice's AUC is drawn on this scale; below is worse than a coin by more than noise.
SCALE = (0.4, 1.0)


class Metric(NamedTuple):
    """How one of the gate's figures is called and read."""

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
    """The decision in one line."""
    challenger = f"Version {version}" if version else "The challenger"
    champion = f"version {champion_version}" if champion_version else "the champion"
    if decision.promoted:
        over = "there was no champion" if decision.against == "recency" else f"it replaces {champion}"
        return f"{challenger} is promoted: {over}"
    if decision.against == "champion":
        return f"{challenger} is refused: {champion} stays in Production"
    return f"{challenger} is refused: nothing is in Production"


def metric_rows(decision: Decision) -> list[MetricRow]:
    """The key figures of challenger, champion, BG/NBD and recency, and the difference that was judged."""
    differences = {difference.metric: difference for difference in decision.differences}
    rows = []
    for key, metric in METRICS.items():
        judged = (decision.challenger, decision.champion, decision.formula, decision.floor)
        by_model = tuple(number(one.get(key), metric.digits) for one in judged)
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


def holdout_in_words(holdout: "pd.DataFrame | None", label: Array) -> str:
    """How many rows, of whom, when and with which outcome the figures come from."""
    if not len(label):
        return "There were no holdout rows to judge on."
    text = f"{len(label):,} rows"
    if holdout is not None and len(holdout):
        dates = holdout["feature_date"]
        text += f" of {holdout['user_id'].nunique():,} users, feature_dates {dates.min()} to {dates.max()}"
    return f"{text}; {share(np.mean(label))} of them churned."


def bin_rows(label: Array, scores: Mapping[str, Array]) -> list[tuple[str, str, str]]:
    """The challenger's bins of the reliability diagram: probability given, churn rate, rows."""
    if "challenger" not in scores:
        return []
    bins = curves.reliability_bins(np.asarray(label, dtype="float64"), scores["challenger"])
    return [(share(given), share(happened), f"{rows:,}") for given, happened, rows in bins]


class ThresholdRow(NamedTuple):
    """What follows from contacting these users, as text."""

    who: str
    contacted: str
    among: str
    reached: str
    profit: str


def threshold_rows(label: Array, scores: Mapping[str, Array], costs: CostMatrix) -> list[ThresholdRow]:
    """What contacting users from the cost matrix' threshold on leads to, beside contacting everybody."""
    if not scores:
        return []
    label = np.asarray(label, dtype="float64")
    rows = {**scores, "everybody": np.ones(len(label))}
    found = []
    for who, values in rows.items():
        users, among, reached = curves.contacted(label, values, costs.threshold)
        profit = number(curves.profit(label, values, costs).summary, ",.0f")
        found.append(ThresholdRow(who, share(users), share(among), share(reached), profit))
    return found


class SliceRow(NamedTuple):
    """One slice, as text, and where its interval lies on the scale, in percent of its width."""

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
    """The slices in the gate's order; the verdict says which are below the floor."""
    rows = []
    for one in slices:
        left, middle, right = (on_scale(value) for value in (one.low, one.roc_auc, one.high))
        verdict = "above the floor" if one.roc_auc >= floor else "below the floor"
        if one.roc_auc < floor <= one.high:
            verdict = "below the floor, within noise"
        rows.append(
            SliceRow(
                one.name,
                f"{one.rows:,}",
                share(one.churn_rate),
                number(one.roc_auc, ".3f"),
                f"{number(one.low, '.3f')} to {number(one.high, '.3f')}",
                number(one.champion_roc_auc, ".3f"),
                verdict,
                left,
                right - left,
                middle,
            )
        )
    return rows


def on_scale(value: float) -> float:
    """Where a ROC AUC lies on the slices' scale, in percent of its width; its ends for what is beyond."""
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
    """The features, the most drifted first."""
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
    """A number with so many digits; a dash where there is none."""
    if value is None:
        return NOTHING
    return format(value, digits).replace("-", MINUS) if math.isfinite(value) else "not a number"


def share(value: Any) -> str:
    """A share in percent."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{100 * value:.1f} %"


def count(value: object) -> str:
    """A whole number in groups of three digits; anything else as it is written."""
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def pairs(values: Mapping[str, Any]) -> str:
    """Parameters in one line."""
    return ", ".join(f"{name}={_short(value)}" for name, value in values.items()) or NOTHING


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


FILTERS = {"number": number, "share": share, "count": count, "pairs": pairs}
