"""Which parameters of histogram gradient boosting are tried: few, seeded, and of a size that trains fast."""

from typing import Any

ESTIMATOR = "hist_gradient_boosting"
TRIALS = 6

# Around scikit-learn's defaults (0.1, 100, 31, 20, 0), on the side of smaller models: churn is noisy.
SPACE: dict[str, list[Any]] = {
    "learning_rate": [0.03, 0.05, 0.1],
    "max_iter": [50, 100, 200],
    "max_leaf_nodes": [4, 8, 16, 31],
    "min_samples_leaf": [20, 50, 100, 200],
    "l2_regularization": [0.0, 1.0, 10.0],
}


def trials(seed: int, number: int = TRIALS) -> list[dict[str, Any]]:
    """Parameters to try, drawn at random from ``SPACE``: the same for the same seed, no two alike."""
    from sklearn.model_selection import ParameterSampler

    return list(ParameterSampler(SPACE, number, random_state=seed))
