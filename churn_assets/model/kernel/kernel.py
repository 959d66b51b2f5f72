"""A version's probabilities from flat arrays, some 100 times as fast as scikit-learn for one row.

Where numba is missing, or an estimator is of another kind, there is no kernel and scikit-learn answers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

# Of the arrays; a file of another format is not read.
FORMAT = 1

# The largest difference from scikit-learn's probabilities that a kernel may have.
TOLERANCE = 1e-12

PROBES = 200


class Kernel:
    """The arrays of one estimator, and the loops over them.

    Args:
        arrays: what ``program.Program.arrays`` returns.

    Raises:
        ImportError: numba is missing.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        from churn_assets.model.kernel import loops

        self.arrays = dict(arrays)
        self._score = loops.score
        fallback, *others = self.arrays.values()
        self._arguments = (int(fallback), *others)

    def predict(self, rows: NDArray[np.float64]) -> Scores | None:
        """Return the probability of churn of each row: float64, shape (rows,); None if one is not known.

        Then scikit-learn has to be asked, which refuses these rows, or no rows at all, or says NaN.

        Args:
            rows: doubles of shape (rows, features), in the order of the estimator's features.
        """
        scores = np.empty(len(rows))
        if len(rows) and self._score(*self._arguments, np.ascontiguousarray(rows), scores):
            return scores
        return None

    def save(self, file: Path) -> None:
        """Write the arrays; they hold no code, as a pickle does."""
        named: dict[str, Any] = {"format": np.array(FORMAT), **self.arrays}
        np.savez(file, **named)


def kernel_of(estimator: Any) -> Kernel | None:
    """Return the kernel of a fitted estimator; None if there is none that agrees with the estimator.

    The first call in a process imports numba, and the first one of an installation compiles the loops.
    """
    try:
        from churn_assets.model.kernel.program import NotTranslatableError, Program
    except ImportError:
        return None
    try:
        kernel = Kernel(Program(estimator).arrays())
    except (NotTranslatableError, AttributeError, TypeError, ValueError):
        # The latter where another scikit-learn calls its attributes otherwise.
        return None
    return kernel if _agrees(kernel, estimator) else None


def load(file: Path) -> Kernel | None:
    """Return the kernel that ``Kernel.save`` wrote; None if there is none of this format, or no numba."""
    try:
        with np.load(file) as content:
            arrays = dict(content)
        return Kernel(arrays) if arrays.pop("format") == FORMAT else None
    except (FileNotFoundError, ImportError):
        return None


def _agrees(kernel: Kernel, estimator: Any) -> bool:
    """Compare a kernel with its estimator on rows of many magnitudes, some with missing values."""
    import pandas as pd
    from threadpoolctl import threadpool_limits

    names = pd.Index(estimator.feature_names_in_)
    random = np.random.default_rng(1)
    rows = np.floor(10 ** random.uniform(-1, 4, (PROBES, len(names))))
    missing = np.where(random.random(rows.shape) < 0.2, np.nan, rows)
    # Rows without a history lack all that is optional.
    needed = getattr(estimator, "fallback_features_", names)
    without = np.where(np.isin(names, needed), rows, np.nan)
    differences = []
    for probes in (rows, missing, without):
        scores = kernel.predict(probes)
        if scores is None and probes is not missing:
            return False
        if scores is not None:
            with threadpool_limits(1):
                expected = estimator.predict_proba(pd.DataFrame(probes, columns=names))[:, 1]
            differences.append(np.abs(scores - expected).max())
    return bool(max(differences) <= TOLERANCE)
