"""The gate's decision with every number it rests on: as sentences, and as JSON for the training's run."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from churn_assets.model.gate.slices import NEGLIGIBLE, Slice

# In the order of the report.
TITLES = {
    "brier": "Brier",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "calibration_error": "calibration error",
    "lift_10": "lift at 10 %",
    "profit": "profit per 1,000 users",
    "log_loss": "log loss",
}
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "calibration_error"})

# The opponents' names in sentences.
OPPONENTS = {"champion": "the champion", "recency": "recency alone"}


@dataclass(frozen=True)
class Difference:
    """One metric of both models, and the 95 % interval (low, high) of challenger minus champion.

    Without a champion, ``champion`` is the metric of recency alone.
    """

    metric: str
    challenger: float
    champion: float
    low: float
    high: float

    @property
    def is_better(self) -> bool:
        """Whether the challenger is better beyond noise."""
        return self.high < -NEGLIGIBLE if self.metric in LOWER_IS_BETTER else self.low > NEGLIGIBLE

    @property
    def is_worse(self) -> bool:
        """Whether the challenger is worse beyond noise."""
        return self.low > NEGLIGIBLE if self.metric in LOWER_IS_BETTER else self.high < -NEGLIGIBLE

    def sentence(self, against: str) -> str:
        """Return the difference as a sentence."""
        digits = 2 if self.metric == "profit" else _digits(self.low, self.high)
        title = TITLES[self.metric]
        if self.is_better:
            verdict = "is better beyond noise"
        else:
            verdict = "is worse beyond noise" if self.is_worse else "is within noise"
        return (
            f"{title[0].upper()}{title[1:]} {self.challenger:,.{digits}f} against "
            f"{self.champion:,.{digits}f} of {OPPONENTS[against]}; the difference of "
            f"{self.challenger - self.champion:+,.{digits}f} (95 % {self.low:+,.{digits}f} to "
            f"{self.high:+,.{digits}f}) {verdict}."
        )


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and why. The metrics of a model that could not be judged are empty.

    ``notes`` are sentences about what is worse and yet refuses nothing.
    """

    promoted: bool
    reasons: tuple[str, ...]
    against: Literal["champion", "recency"]
    challenger: dict[str, float] = field(default_factory=dict)
    champion: dict[str, float] = field(default_factory=dict)
    floor: dict[str, float] = field(default_factory=dict)
    formula: dict[str, float] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    slices: tuple[Slice, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the decision in types that JSON can hold."""
        return {**asdict(self), "reasons": list(self.reasons), "notes": list(self.notes)} | {
            name: [asdict(item) for item in getattr(self, name)] for name in ("differences", "slices")
        }


def _digits(low: float, high: float) -> int:
    """Return a number of decimals: four, or as many as show on which side of 0 an interval lies."""
    nearest = min(abs(low), abs(high))
    if low * high <= 0 or nearest == 0:
        return 4
    return min(max(4, -math.floor(math.log10(nearest))), 9)
