"""The shadow: a second version that scores the same requests after they were answered."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from churn_assets.serving.scoring.scorer import ServedModel
from churn_assets.serving.server.metrics import Metrics

# The longest queue; further requests are skipped and counted, so that the queue cannot fill the memory.
MAX_QUEUED = 64


class Shadow:
    """Compares the shadow's scores with the answers, in metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._queued = 0

    def score(
        self,
        model: ServedModel,
        columns: list[str],
        matrix: NDArray[np.float64],
        answers: NDArray[np.float64],
    ) -> None:
        """Queue the rows of a request that was just answered.

        Args:
            model: the shadow.
            columns: the features of the version that answered. A shadow with further features is skipped,
                because without them it would not score as it will once it serves.
            matrix: the rows that were answered, one column for each feature.
            answers: their probabilities.
        """
        if self._queued >= MAX_QUEUED or not set(model.parser.columns).issubset(columns):
            self._metrics.count_shadow_skip()
            return
        if model.parser.columns != columns:
            matrix = matrix[:, [columns.index(name) for name in model.parser.columns]]
        if not model.accepts(matrix):
            self._metrics.count_shadow_skip()
            return
        self._queued += 1
        asyncio.get_running_loop().run_in_executor(None, self._score, model, matrix, answers)

    def _score(self, model: ServedModel, matrix: NDArray[np.float64], answers: NDArray[np.float64]) -> None:
        self._queued -= 1
        try:
            differences = np.abs(model.predict(matrix) - answers)
        except Exception:  # noqa: BLE001 - no failure of the shadow may reach the endpoint
            self._metrics.count_shadow_failure()
            return
        self._metrics.record_shadow(differences.tolist())
