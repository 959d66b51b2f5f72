"""What each feature adds to a prediction: exact SHAP values, in log-odds of churn.

A copy lies in every logged model, whose ``churn_model.py`` loads it when explanations are asked for, wherever
that is: so it must not know ``churn_assets``, and shap is imported only where trees are explained.
"""

import warnings
from collections.abc import Callable
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
    below = uncalibrated(estimator)
    return any(takes(below) for takes, _ in KINDS)


def explainer(estimator: Any) -> Explainer:
    """What explains a fitted estimator: boosted trees, scaled logistic regression, BG/NBD, or a mean of them.

    Of a calibrated or bounded one the estimator below is explained: what is behind it rises with its
    log-odds, so what raises these raises the probability.
    """
    below = uncalibrated(estimator)
    for takes, explained in KINDS:
        if takes(below):
            return explained(below)
    raise TypeError(
        f"{type(below).__name__} cannot be explained; gradient boosting, histogram gradient boosting, "
        "logistic regression behind a StandardScaler, BG/NBD and averages of these can."
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
    """The terms of a logistic regression, each measured from the mean of the training rows.

    That a feature is missing is a term of its own, which counts as the feature's.
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
            # With the names that it was fitted with: it warns of none, and an engine explains in several
            # threads, where a filter of warnings that one of them sets, another takes away.
            names = getattr(step, "feature_names_in_", None)
            scaled = np.asarray(
                step.transform(scaled if names is None else pd.DataFrame(scaled, columns=names))
            )
        terms = scaled * self._weight
        total, of_missing = terms[:, : features.shape[1]], terms[:, features.shape[1] :]
        for place, column in enumerate(self._missing):
            total[:, column] += of_missing[:, place]
        return total


class OfSome:
    """What explains an estimator that is shown some of the features: the others add nothing."""

    def __init__(self, estimator: Any) -> None:
        self._inside = explainer(estimator.estimator_)
        self._columns = estimator.columns_
        self.base_value = self._inside.base_value

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``."""
        total = np.zeros(features.shape)
        total[:, self._columns] = self._inside.contributions(features[:, self._columns])
        return total


class OfAverage:
    """What explains a mean of log-odds: the mean of what explains each."""

    def __init__(self, estimator: Any) -> None:
        self._parts = [explainer(part) for part in estimator.parts_]
        self.base_value = float(np.mean([part.base_value for part in self._parts]))

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``."""
        return np.mean([part.contributions(features) for part in self._parts], axis=0)


class OfFallback:
    """Each row by the estimator that answers it; to a row without a history, history adds nothing."""

    def __init__(self, estimator: Any) -> None:
        self._whole, self._without = explainer(estimator.estimator), explainer(estimator.fallback)
        self._lacks, self._shown = estimator.lacks_history, estimator.fallback_columns_
        self.base_value = self._whole.base_value

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """See ``Explainer``; the base value of rows without a history is another."""
        lacking = self._lacks(features)
        total = np.zeros(features.shape)
        if not lacking.all():
            total[~lacking] = self._whole.contributions(features[~lacking])
        if lacking.any():
            places = np.ix_(np.flatnonzero(lacking), self._shown)
            total[places] = self._without.contributions(features[places])
        return total


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


def _as_it_is(estimator: Any) -> Explainer:
    return estimator


# What tells a kind of estimator, and what explains it. Ours are told by what they have: in a logged model
# their classes are copies, which are not those of this package.
KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Explainer]], ...] = (
    (_is_linear, LinearTerms),
    (_is_trees, TreeShap),
    (lambda estimator: hasattr(estimator, "contributions"), _as_it_is),
    (lambda estimator: hasattr(estimator, "columns_"), OfSome),
    (lambda estimator: hasattr(estimator, "parts_"), OfAverage),
    (lambda estimator: hasattr(estimator, "lacks_history"), OfFallback),
)
