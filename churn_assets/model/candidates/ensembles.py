"""Estimators made of others: on some of the features, an average, and one for rows without a history.

A copy travels in every logged model, so this module must not import ``churn_assets``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

Vector = np.ndarray[Any, np.dtype[np.float64]]


class _OfOthers(ClassifierMixin, BaseEstimator):
    """A classifier made of others, which allows missing values and knows its features by name."""

    def __sklearn_tags__(self) -> Any:
        """Allow missing values: an estimator inside takes them, or is not shown their features."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _set_features(self, names: Any, labels: Any) -> None:
        """Set what scikit-learn expects of a fitted classifier: its features and its classes."""
        self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self.classes_ = np.unique(labels)


class OnColumns(_OfOthers):
    """An estimator on some of the features, such as those that are never missing.

    Args:
        estimator: unfitted.
        columns: names of the features that it reads.
    """

    def __init__(self, estimator: Any, columns: Sequence[str]) -> None:
        self.estimator = estimator
        self.columns = columns

    def fit(self, X: Any, y: Any) -> "OnColumns":  # noqa: N803 - scikit-learn's names
        """Fit to a DataFrame of features, found by name, and to labels of shape (rows,)."""
        self._set_features(X.columns, y)
        self.columns_ = [list(X.columns).index(name) for name in self.columns]
        unfitted: Any = clone(self.estimator)
        self.estimator_ = unfitted.fit(self._selected(X), y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probabilities of both labels, shape (rows, 2)."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(self._selected(X))

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the more probable label of each row, shape (rows,)."""
        check_is_fitted(self)
        return self.estimator_.predict(self._selected(X))

    def decision_function(self, X: Any) -> Vector:  # noqa: N803
        """Return the log-odds of label 1 of each row, shape (rows,)."""
        check_is_fitted(self)
        return self.estimator_.decision_function(self._selected(X))

    def _selected(self, rows: Any) -> np.ndarray:
        return np.asarray(rows, dtype="float64")[:, self.columns_]


class Average(_OfOthers):
    """The mean of several estimators' log-odds.

    The mean of log-odds and not of probabilities, so that a feature's contribution to it is the mean of its
    contributions to each.

    Args:
        estimators: unfitted, each with ``decision_function``.
    """

    def __init__(self, estimators: Sequence[Any]) -> None:
        self.estimators = estimators

    def fit(self, X: Any, y: Any) -> "Average":  # noqa: N803
        """Fit each to a DataFrame of features, found by name, and to labels of shape (rows,)."""
        self._set_features(X.columns, y)
        unfitted: list[Any] = [clone(estimator) for estimator in self.estimators]
        self.parts_ = [estimator.fit(X, y) for estimator in unfitted]
        return self

    @classmethod
    def of_fitted(cls, estimators: Sequence[Any]) -> "Average":
        """Average estimators that are fitted to the same rows, with the result of fitting it to them."""
        average = cls(estimators)
        average._set_features(estimators[0].feature_names_in_, estimators[0].classes_)
        average.parts_ = list(estimators)
        return average

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probabilities of both labels, shape (rows, 2)."""
        from scipy.special import expit

        churn = expit(self.decision_function(X))
        return np.column_stack([1 - churn, churn])

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the more probable label of each row, shape (rows,)."""
        return self.classes_[(self.decision_function(X) > 0).astype("int64")]

    def decision_function(self, X: Any) -> Vector:  # noqa: N803
        """Return the mean log-odds of label 1 of each row, shape (rows,)."""
        check_is_fitted(self)
        return np.mean([part.decision_function(X) for part in self.parts_], axis=0)


class WithFallback(ClassifierMixin, BaseEstimator):
    """An estimator that reads users' history, and a fallback for rows that have none: missing is not zero.

    Both are fitted; this only chooses between them, row by row.

    Args:
        estimator: fitted on all features.
        fallback: fitted on the features that every row has.
        history: names of the features that each row with a history has.
    """

    def __init__(self, estimator: Any, fallback: Any, history: Sequence[str]) -> None:
        self.estimator = estimator
        self.fallback = fallback
        self.history = history
        self.feature_names_in_ = np.asarray(estimator.feature_names_in_, dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self.fallback_features_ = [str(name) for name in fallback.feature_names_in_]
        self.classes_ = estimator.classes_
        names = [str(name) for name in self.feature_names_in_]
        self._history = [names.index(name) for name in history]
        self.fallback_columns_ = [names.index(name) for name in self.fallback_features_]

    def lacks_history(self, X: Any) -> np.ndarray:  # noqa: N803
        """Tell of each row whether the fallback predicts it: booleans, shape (rows,)."""
        return np.asarray(np.isnan(np.asarray(X, dtype="float64")[:, self._history]).any(axis=1))

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probabilities of both labels, shape (rows, 2), each row's by the estimator it is for."""
        matrix = np.asarray(X, dtype="float64")
        lacking = self.lacks_history(matrix)
        # Nearly every request has rows of one kind only, and then there is nothing to put together.
        if not lacking.any():
            return self.estimator.predict_proba(_in_form_of(X, matrix, self.feature_names_in_))
        window = matrix[lacking][:, self.fallback_columns_]
        without = self.fallback.predict_proba(_in_form_of(X, window, self.fallback_features_))
        if lacking.all():
            return without
        whole = self.estimator.predict_proba(_in_form_of(X, matrix[~lacking], self.feature_names_in_))
        probabilities = np.empty((len(matrix), whole.shape[1]))
        probabilities[~lacking], probabilities[lacking] = whole, without
        return probabilities

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the more probable label of each row, shape (rows,)."""
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype("int64")]


def _in_form_of(rows: Any, matrix: np.ndarray, names: Any) -> Any:
    """Return a DataFrame where ``rows`` is one, else the matrix: a server has no time for a DataFrame."""
    if not hasattr(rows, "columns"):
        return matrix
    import pandas as pd

    return pd.DataFrame(matrix, columns=np.asarray(names, dtype=object))
