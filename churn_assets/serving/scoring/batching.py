"""Scores all requests that were read in the same turn of the event loop with one call of the model.

Only for a model without a kernel: for one row scikit-learn spends nine tenths of a call on checks of its
input, while a kernel takes less time than the queue does. No request waits for others to arrive: a request
that is alone in its turn is scored at once.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn_assets.serving.scoring.scorer import ServedModel

# Larger requests are scored in a thread, which costs 0.1 ms; a row takes some microseconds.
ROWS_FOR_A_THREAD = 256

# A call holds Python's lock, and with it the event loop: so many rows for some milliseconds.
ROWS_AT_ONCE = 2048

Matrix = NDArray[np.float64]
Scores = NDArray[np.float64]


def in_slices(score: Callable[[Matrix], Scores], matrix: Matrix) -> Scores:
    """Return what ``score`` does for the whole matrix, from calls with some of its rows each."""
    if len(matrix) <= ROWS_AT_ONCE:
        return score(matrix)
    starts = range(0, len(matrix), ROWS_AT_ONCE)
    return np.concatenate([score(matrix[start : start + ROWS_AT_ONCE]) for start in starts])


class _Request(NamedTuple):
    model: ServedModel
    matrix: Matrix
    scores: "asyncio.Future[Scores]"


class Batcher:
    """The queue of requests that are scored together."""

    def __init__(self) -> None:
        # By the identity of the model, because around a promotion there are two versions.
        self._queues: dict[int, list[_Request]] = {}

    async def predict(self, model: ServedModel, matrix: Matrix) -> Scores:
        """Return the probability of churn of each row.

        Args:
            model: the version that was published when the request was read.
            matrix: one row for each of the request, one column for each feature.
        """
        if len(matrix) >= ROWS_FOR_A_THREAD:
            return await asyncio.to_thread(in_slices, model.predict, matrix)
        if model.kernel is not None:
            return model.predict(matrix)
        loop = asyncio.get_running_loop()
        scores: asyncio.Future[Scores] = loop.create_future()
        queue = self._queues.setdefault(id(model), [])
        queue.append(_Request(model, matrix, scores))
        if len(queue) == 1:
            loop.call_soon(self._score, id(model))
        return await scores

    def _score(self, key: int) -> None:
        requests = self._queues.pop(key)
        model = requests[0].model
        try:
            if len(requests) == 1:
                scores = model.predict(requests[0].matrix)
            else:
                scores = model.predict(np.concatenate([request.matrix for request in requests]))
        except Exception as error:  # noqa: BLE001 - each request raises it itself
            for request in requests:
                if not request.scores.done():
                    request.scores.set_exception(error)
            return
        start = 0
        for request in requests:
            # It is done if the client closed its connection.
            if not request.scores.done():
                request.scores.set_result(scores[start : start + len(request.matrix)])
            start += len(request.matrix)
