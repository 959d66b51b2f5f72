"""The contribution of each feature to a prediction: exact SHAP values, in log-odds of churn.

A copy travels in every logged model, whose ``churn_model.py`` loads it where explanations are asked for: so
it must not import ``churn_assets``, and it imports shap only where trees are explained.
"""

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Explainer(Protocol):
    """Contributions that, with the base value, sum up to the estimator's log-odds of label 1."""

    base_value: float

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Return float64 contributions in the shape and order of ``features``: (rows, features)."""
        ...


def supports(estimator: Any) -> bool:
    """Tell whether ``explainer`` takes a fitted estimator."""
    inner = uncalibrated(estimator)
    return any(is_kind(inner) for is_kind, _ in KINDS)


def explainer(estimator: Any) -> Explainer:
    """Return the explainer of boosted trees, scaled logistic regression, BG/NBD, or a mean of these.

    In a calibrated or bounded estimator, the estimator inside is explained: the map rises with its log-odds,
    so what raises these raises the probability.
    """
    inner = uncalibrated(estimator)
    for is_kind, make_explainer in KINDS:
        if is_kind(inner):
            return make_explainer(inner)
    raise TypeError(
        f"{type(inner).__name__} cannot be explained; gradient boosting, histogram gradient boosting, "
        "logistic regression behind a StandardScaler, BG/NBD and averages of these can."
    )


def uncalibrated(estimator: Any) -> Any:
    """Return the estimator inside calibration map and bounds."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import VotingClassifier
    from sklearn.frozen import FrozenEstimator

    while isinstance(estimator, VotingClassifier | CalibratedClassifierCV | FrozenEstimator):
        # The first voter is the model; the other one knows only the churn rate.
        attribute = "estimators_" if isinstance(estimator, VotingClassifier) else "estimator"
        inner: Any = getattr(estimator, attribute)
        estimator = inner[0] if attribute == "estimators_" else inner
    return estimator


class LinearExplainer:
    """An explainer of logistic regression: its terms, each measured from the mean of the training rows.

    The term of a feature's missing indicator is added to the feature's.
    """

    def __init__(self, pipeline: Any) -> None:
        regression = pipeline[-1]
        self.base_value = float(regression.intercept_[0])
        self._weight = regression.coef_[0]
        # The last of them centres each feature on the training rows' mean.
        self._steps = [step for _, step in pipeline.steps[:-1]]
        self._missing = next(
            (step.indicator_.features_ for step in self._steps if getattr(step, "add_indicator", False)), ()
        )

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``."""
        import pandas as pd

        scaled = features
        for step in self._steps:
            # With the feature names of the fit: without names it warns, and an engine explains in several
            # threads, where one thread's filter of warnings is undone by another.
            names = getattr(step, "feature_names_in_", None)
            scaled = np.asarray(
                step.transform(scaled if names is None else pd.DataFrame(scaled, columns=names))
            )
        terms = scaled * self._weight
        total, missing_terms = terms[:, : features.shape[1]], terms[:, features.shape[1] :]
        for place, column in enumerate(self._missing):
            total[:, column] += missing_terms[:, place]
        return total


class ColumnsExplainer:
    """An explainer of ``OnColumns``: features that the estimator does not read contribute 0."""

    def __init__(self, estimator: Any) -> None:
        self._inside = explainer(estimator.estimator_)
        self._columns = estimator.columns_
        self.base_value = self._inside.base_value

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``."""
        total = np.zeros(features.shape)
        total[:, self._columns] = self._inside.contributions(features[:, self._columns])
        return total


class AverageExplainer:
    """An explainer of a mean of log-odds: the mean of the parts' contributions."""

    def __init__(self, estimator: Any) -> None:
        self._parts = [explainer(part) for part in estimator.parts_]
        self.base_value = float(np.mean([part.base_value for part in self._parts]))

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``."""
        return np.mean([part.contributions(features) for part in self._parts], axis=0)


class FallbackExplainer:
    """An explainer of ``WithFallback``: each row by its estimator; a missing history contributes 0."""

    def __init__(self, estimator: Any) -> None:
        self._whole, self._without = explainer(estimator.estimator), explainer(estimator.fallback)
        self._lacks, self._shown = estimator.lacks_history, estimator.fallback_columns_
        self.base_value = self._whole.base_value

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``; rows without a history have another base value."""
        lacking = self._lacks(features)
        total = np.zeros(features.shape)
        if not lacking.all():
            total[~lacking] = self._whole.contributions(features[~lacking])
        if lacking.any():
            places = np.ix_(np.flatnonzero(lacking), self._shown)
            total[places] = self._without.contributions(features[places])
        return total


class TreeExplainer:
    """An explainer of boosted trees by TreeSHAP, tree by tree: rows that a tree cannot tell apart only once.

    A tree tells some hundred kinds of rows apart, however many rows there are. The SHAP values of an ensemble
    are the sum of its trees', so this is exact, and ten times as fast as row by row.
    """

    def __init__(self, ensemble: Any) -> None:
        shap_explainer = _shap_tree_explainer()
        whole = shap_explainer(ensemble)
        self.base_value = float(np.ravel(whole.expected_value)[0])
        self._precision = whole.model.input_dtype
        self._trees = [(shap_explainer([tree]).shap_values, _borders(tree)) for tree in whole.model.trees]

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
    """Return the values at which a tree splits each column that it reads; values up to a border go left.

    The last border is infinity: only NaN sorts behind it, and NaN has its own way down a tree.
    """
    splits = tree.children_left >= 0
    return {
        int(column): np.append(np.unique(tree.thresholds[splits & (tree.features == column)]), np.inf)
        for column in np.unique(tree.features[splits])
    }


def _shap_tree_explainer() -> Any:
    with warnings.catch_warnings():
        # On import shap makes color maps in a way that matplotlib has deprecated.
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


def _itself(estimator: Any) -> Explainer:
    return estimator


# For each kind of estimator, a function that recognises it and its explainer. Ours are recognised by their
# attributes: in a logged model their classes are copies, which are not those of this package.
KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Explainer]], ...] = (
    (_is_linear, LinearExplainer),
    (_is_trees, TreeExplainer),
    (lambda estimator: hasattr(estimator, "contributions"), _itself),
    (lambda estimator: hasattr(estimator, "columns_"), ColumnsExplainer),
    (lambda estimator: hasattr(estimator, "parts_"), AverageExplainer),
    (lambda estimator: hasattr(estimator, "lacks_history"), FallbackExplainer),
)
