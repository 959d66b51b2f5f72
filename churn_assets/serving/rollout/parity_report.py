"""The differences between the endpoint's predictions and the batch's, and their summary in one line."""

import datetime as dt
import math
import statistics
from dataclasses import dataclass, field

from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.tables import CHURN_PREDICTIONS

WORST_ROWS = 10

# The largest difference of two probabilities that passes.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Difference:
    """One user's probability in the batch and from the endpoint, None without an answer.

    ``asked_by`` is the content of the request: ``features`` or ``user_id``.
    """

    user_id: int
    asked_by: str
    batch: float
    endpoint: float | None

    @property
    def size(self) -> float:
        """The absolute difference; infinite if the answer is missing or NaN."""
        if self.endpoint is None or math.isnan(self.endpoint):
            return math.inf
        return abs(self.endpoint - self.batch)


@dataclass(frozen=True)
class ParityReport:
    """The result of a comparison; ``differences`` holds each user once for each value of ``asked_by``."""

    feature_date: dt.date
    differences: list[Difference] = field(repr=False)
    versions: list[str]
    request_seconds: list[float] = field(repr=False)

    @property
    def users(self) -> int:
        """The number of compared users."""
        return len({difference.user_id for difference in self.differences})

    @property
    def asked_by(self) -> list[str]:
        """The contents of the requests: ``features``, ``user_id`` or both."""
        return sorted({difference.asked_by for difference in self.differences})

    @property
    def worst(self) -> list[Difference]:
        """The largest differences, in descending order."""
        return sorted(self.differences, key=lambda row: (-row.size, row.user_id))[:WORST_ROWS]

    @property
    def largest_difference(self) -> float:
        """The largest difference of all users with an answer; 0 if there are none."""
        sizes = [row.size for row in self.differences if row.size != math.inf]
        return max(sizes, default=0.0)

    @property
    def missing(self) -> list[int]:
        """The user_ids for which the endpoint gave no number."""
        return sorted({row.user_id for row in self.differences if row.size == math.inf})

    @property
    def passed(self) -> bool:
        """Whether there are users, and none differs by more than the tolerance."""
        return bool(self.differences) and all(row.size <= TOLERANCE for row in self.differences)

    @property
    def p50_request_ms(self) -> float:
        """The median time of a request in milliseconds, for up to ``parity.ROWS_PER_REQUEST`` rows."""
        return statistics.median(self.request_seconds) * 1000 if self.request_seconds else 0.0

    def description(self, scored_by: str) -> str:
        """Return one line with both versions and the largest difference.

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
