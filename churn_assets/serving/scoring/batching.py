"""One call of the model for all requests that are there at the same moment.

Of a call for one row nine tenths are scikit-learn's looking at its input. Nobody waits for others to come:
what the loop has read when its turn ends is scored together, and a lone request is scored at once.
"""

import asyncio

import numpy as np

from churn_assets.serving.scoring.scorer import ServedModel

# From this many rows on, scoring leaves the loop to others: a thread costs 0.1 ms, a row some microseconds.
ROWS_FOR_A_THREAD = 256


class Batcher:
    """Scores rows, together with those that other requests have brought."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[tuple[ServedModel, np.ndarray, asyncio.Future[np.ndarray]]]] = {}

    async def predict(self, model: ServedModel, matrix: np.ndarray) -> np.ndarray:
        """The probability of churn of each row, by this model and no other.

        Args:
            model: what was published when the request was read.
            matrix: its rows, float64.
        """
        if len(matrix) >= ROWS_FOR_A_THREAD:
            return await asyncio.to_thread(model.predict, matrix)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[np.ndarray] = loop.create_future()
        # By the object: around a promotion two versions may be waiting.
        waiting = self._waiting.setdefault(id(model), [])
        waiting.append((model, matrix, answer))
        if len(waiting) == 1:
            loop.call_soon(self._score, id(model))
        return await answer

    def _score(self, key: int) -> None:
        waiting = self._waiting.pop(key)
        model = waiting[0][0]
        try:
            if len(waiting) == 1:
                predictions = model.predict(waiting[0][1])
            else:
                predictions = model.predict(np.concatenate([matrix for _, matrix, _ in waiting]))
        except Exception as error:  # noqa: BLE001 - each request says so itself
            for _, _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        start = 0
        for _, matrix, answer in waiting:
            # Who went away in the meantime is not waiting any more.
            if not answer.done():
                answer.set_result(predictions[start : start + len(matrix)])
            start += len(matrix)
