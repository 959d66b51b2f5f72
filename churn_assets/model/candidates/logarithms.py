"""The logarithm that is applied to features before logistic regression.

A copy travels in every logged model, so this module must not import ``churn_assets``.
"""

from typing import Any

import numpy as np


def signed_log1p(values: Any) -> np.ndarray:
    """Return log(1 + x) of each number, and -log(1 - x) below 0, as amounts may be; NaN stays NaN.

    Args:
        values: numbers, in any shape.

    Returns:
        float64 in the same shape.
    """
    numbers = np.asarray(values, dtype="float64")
    return np.sign(numbers) * np.log1p(np.abs(numbers))
