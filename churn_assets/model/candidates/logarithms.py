"""The logarithm that logistic regression sees features through.

A copy travels in every logged model, so this must not know ``churn_assets``.
"""

from typing import Any

import numpy as np


def signed_log1p(values: Any) -> np.ndarray:
    """log(1 + x) of each number, and -log(1 - x) below 0, as amounts may be; NaN stays NaN."""
    found = np.asarray(values, dtype="float64")
    return np.sign(found) * np.log1p(np.abs(found))
