"""A second version that scores the same requests, without anybody waiting for it."""

import asyncio

import numpy as np

from churn_assets.serving.scoring.scorer import ServedModel
from churn_assets.serving.server.metrics import Metrics

# Requests that may wait for the shadow; more are skipped and counted, so that it never piles up memory.
WAITING = 64


class Shadow:
    """Compares a shadow's answers with those that were given, in metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting = 0

    def score(self, model: ServedModel, columns: list[str], matrix: np.ndarray, given: np.ndarray) -> None:
        """Score later what has just been answered.

        Args:
            model: the shadow.
            columns: of the version that answered. A shadow that knows more features would not answer as it
                will once it serves, and is skipped.
            matrix: the rows that were answered.
            given: the answers.
        """
        if self._waiting >= WAITING or not set(model.parser.columns).issubset(columns):
            self._metrics.shadow_skipped()
            return
        if model.parser.columns != columns:
            matrix = matrix[:, [columns.index(name) for name in model.parser.columns]]
        if not model.takes(matrix):
            self._metrics.shadow_skipped()
            return
        self._waiting += 1
        asyncio.get_running_loop().run_in_executor(None, self._score, model, matrix, given)

    def _score(self, model: ServedModel, matrix: np.ndarray, given: np.ndarray) -> None:
        self._waiting -= 1
        try:
            differences = np.abs(model.predict(matrix) - given)
        except Exception:  # noqa: BLE001 - whatever ails the shadow, the endpoint goes on
            self._metrics.shadow_failed()
            return
        self._metrics.shadowed(differences.tolist())
