"""What the gate decided, with every number it rests on: for people, and as JSON for the model version."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from churn_assets.model.gate.slices import NEGLIGIBLE, Slice

# In the order in which they are shown.
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

# How they are called in sentences.
OTHERS = {"champion": "the champion", "recency": "recency alone"}


@dataclass(frozen=True)
class Difference:
    """One metric of both models, and the 95 % interval of challenger minus champion.

    Without a champion, the latter is what recency alone reaches.
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
        """The difference for people."""
        digits = 2 if self.metric == "profit" else _digits(self.low, self.high)
        title = TITLES[self.metric]
        if self.is_better:
            verdict = "is better beyond noise"
        else:
            verdict = "is worse beyond noise" if self.is_worse else "is within noise"
        return (
            f"{title[0].upper()}{title[1:]} {self.challenger:,.{digits}f} against "
            f"{self.champion:,.{digits}f} of {OTHERS[against]}; the difference of "
            f"{self.challenger - self.champion:+,.{digits}f} (95 % {self.low:+,.{digits}f} to "
            f"{self.high:+,.{digits}f}) {verdict}."
        )


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and why; the metrics of a model that could not be judged are empty."""

    promoted: bool
    reasons: tuple[str, ...]
    against: Literal["champion", "recency"]
    challenger: dict[str, float] = field(default_factory=dict)
    champion: dict[str, float] = field(default_factory=dict)
    floor: dict[str, float] = field(default_factory=dict)
    formula: dict[str, float] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    slices: tuple[Slice, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The decision as JSON takes it."""
        return {**asdict(self), "reasons": list(self.reasons)} | {
            name: [asdict(one) for one in getattr(self, name)] for name in ("differences", "slices")
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The decision that ``as_json`` gave."""
        lists = {
            "reasons": tuple(content["reasons"]),
            "differences": tuple(Difference(**one) for one in content["differences"]),
            "slices": tuple(Slice(**one) for one in content["slices"]),
        }
        return cls(**{**content, **lists})


def _digits(low: float, high: float) -> int:
    """Decimals: four, or as many as show on which side of 0 an interval lies."""
    nearest = min(abs(low), abs(high))
    if low * high <= 0 or nearest == 0:
        return 4
    return min(max(4, -math.floor(math.log10(nearest))), 9)
