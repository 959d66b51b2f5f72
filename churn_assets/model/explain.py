"""What each feature adds to a prediction: exact SHAP values, in log-odds of churn.

A copy lies in every logged model, whose ``churn_model.py`` loads it when explanations are asked for, wherever
that is: so it must not know ``churn_assets``, and shap is imported only where trees are explained.
"""

import warnings
from typing import Any, Protocol

import numpy as np


class Explainer(Protocol):
    """Contributions that, with the base value, sum up to the estimator's log-odds of label 1."""

    base_value: float

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Of each row (first axis) and feature (second axis), float64, in the order of the features given."""
        ...


def supports(estimator: Any) -> bool:
    """Whether ``explainer`` takes a fitted estimator."""
    return _is_trees(uncalibrated(estimator)) or _is_linear(uncalibrated(estimator))


def explainer(estimator: Any) -> Explainer:
    """What explains a fitted estimator: gradient boosting of either kind, or scaled logistic regression.

    Of a calibrated or bounded one the estimator below is explained: what is behind it rises with its
    log-odds, so what raises these raises the probability.
    """
    below = uncalibrated(estimator)
    if _is_linear(below):
        return LinearTerms(below)
    if _is_trees(below):
        return TreeShap(below)
    raise TypeError(
        f"{type(below).__name__} cannot be explained; gradient boosting, histogram gradient boosting and "
        "logistic regression behind a StandardScaler can."
    )


def uncalibrated(estimator: Any) -> Any:
    """The estimator itself, without a calibration map and bounds behind it."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import VotingClassifier
    from sklearn.frozen import FrozenEstimator

    while isinstance(estimator, VotingClassifier | CalibratedClassifierCV | FrozenEstimator):
        # Of those that vote, the first is the model; the other one knows nothing but the churn rate.
        inside = "estimators_" if isinstance(estimator, VotingClassifier) else "estimator"
        found: Any = getattr(estimator, inside)
        estimator = found[0] if inside == "estimators_" else found
    return estimator


class LinearTerms:
    """The terms of a logistic regression, each measured from the mean of the training rows."""

    def __init__(self, pipeline: Any) -> None:
        regression = pipeline[-1]
        self.base_value = float(regression.intercept_[0])
        self._weight = regression.coef_[0]
        # The last of them centres each feature on the training rows' mean.
        self._scalers = [scaler for _, scaler in pipeline.steps[:-1]]

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``."""
        import pandas as pd

        scaled = features
        for scaler in self._scalers:
            # With the names that it was fitted with: it warns of none, and an engine explains in several
            # threads, where a filter of warnings that one of them sets, another takes away.
            names = getattr(scaler, "feature_names_in_", None)
            scaled = np.asarray(
                scaler.transform(scaled if names is None else pd.DataFrame(scaled, columns=names))
            )
        return scaled * self._weight


class TreeShap:
    """TreeSHAP, tree by tree: rows that a tree cannot tell apart are explained once.

    One tree knows some hundred kinds of rows, however many rows there are. SHAP values of an ensemble are the
    sum of its trees', so this is exact, and ten times as fast as asking for each row.
    """

    def __init__(self, ensemble: Any) -> None:
        tree_explainer = _tree_explainer()
        whole = tree_explainer(ensemble)
        self.base_value = float(np.ravel(whole.expected_value)[0])
        self._precision = whole.model.input_dtype
        self._trees = [(tree_explainer([tree]).shap_values, _borders(tree)) for tree in whole.model.trees]

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``."""
        rows = features.astype(self._precision).astype(np.float64)
        total = np.zeros(rows.shape)
        for shap_values, borders in self._trees:
            kind = np.zeros(len(rows), dtype=np.int64)
            for column, values in borders.items():
                kind = kind * (len(values) + 1) + np.searchsorted(values, rows[:, column])
            _, first, kinds = np.unique(kind, return_index=True, return_inverse=True)
            total += shap_values(rows[first], check_additivity=False)[kinds]
        return total


def _borders(tree: Any) -> dict[int, np.ndarray]:
    """Where a tree splits each column that it looks at: values up to a border go left.

    Behind infinity only NaN is found, which goes its own way.
    """
    splits = tree.children_left >= 0
    return {
        int(column): np.append(np.unique(tree.thresholds[splits & (tree.features == column)]), np.inf)
        for column in np.unique(tree.features[splits])
    }


def _tree_explainer() -> Any:
    with warnings.catch_warnings():
        # On import shap makes color maps in a way that matplotlib will give up.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        from shap import TreeExplainer
    return TreeExplainer


def _is_linear(estimator: Any) -> bool:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    if not isinstance(estimator, Pipeline):
        return False
    return isinstance(estimator[-1], LogisticRegression) and isinstance(estimator[-2], StandardScaler)


def _is_trees(estimator: Any) -> bool:
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

    return isinstance(estimator, GradientBoostingClassifier | HistGradientBoostingClassifier)
