"""How far the endpoint's answers are from the batch's, and the one line that names it."""

import datetime as dt
import math
import statistics
from dataclasses import dataclass, field

from churn_assets.serving.contract import ENDPOINT_NAME
from churn_assets.tables import CHURN_PREDICTIONS

WORST_ROWS = 10

# The largest difference of two probabilities that passes.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Difference:
    """How far the endpoint is from the batch for one user, asked in one way; None where it gave no answer."""

    user_id: int
    asked_by: str
    batch: float
    endpoint: float | None

    @property
    def size(self) -> float:
        """The absolute difference; infinite without an answer, or where that is no number."""
        if self.endpoint is None or math.isnan(self.endpoint):
            return math.inf
        return abs(self.endpoint - self.batch)


@dataclass(frozen=True)
class ParityReport:
    """What was compared; ``differences`` holds each user once for each way of asking."""

    feature_date: dt.date
    differences: list[Difference] = field(repr=False)
    versions: list[str]
    request_seconds: list[float] = field(repr=False)

    @property
    def users(self) -> int:
        """How many were compared."""
        return len({difference.user_id for difference in self.differences})

    @property
    def asked_by(self) -> list[str]:
        """The ways of asking: by features, by user_id."""
        return sorted({difference.asked_by for difference in self.differences})

    @property
    def worst(self) -> list[Difference]:
        """The largest differences first, as many as a person will look at."""
        return sorted(self.differences, key=lambda one: (-one.size, one.user_id))[:WORST_ROWS]

    @property
    def largest_difference(self) -> float:
        """Over everybody who got an answer; 0 where nobody did."""
        sizes = [one.size for one in self.differences if one.size != math.inf]
        return max(sizes, default=0.0)

    @property
    def missing(self) -> list[int]:
        """Users of whom the endpoint knows nothing."""
        return sorted({one.user_id for one in self.differences if one.size == math.inf})

    @property
    def passed(self) -> bool:
        """Whether somebody was compared, and nobody differs by more than the tolerance."""
        return bool(self.differences) and all(one.size <= TOLERANCE for one in self.differences)

    @property
    def p50_request_ms(self) -> float:
        """The median time of a request, of up to ``parity.ROWS_PER_REQUEST`` rows."""
        return statistics.median(self.request_seconds) * 1000 if self.request_seconds else 0.0

    def description(self, scored_by: str) -> str:
        """In one line, who serves what and how far it is from the batch.

        Args:
            scored_by: the version that scored the batch, or "unknown".
        """
        serving = " and ".join(self.versions) or "unknown"
        versions = (
            f"{ENDPOINT_NAME} serves version {serving}, {CHURN_PREDICTIONS.name} of {self.feature_date} "
            f"were scored by version {scored_by}"
        )
        if not self.differences:
            return f"{versions}; nobody was compared, for there are no predictions."
        if self.passed:
            return f"{versions}; {self.users} users agree, largest difference {self.largest_difference:.2g}"
        if self.missing:
            return f"{versions}; no answer for {len(self.missing)} users, such as user_id {self.missing[0]}"
        worst = self.worst[0]
        return f"{versions}; largest difference {worst.size:.2g} at user_id {worst.user_id}"
