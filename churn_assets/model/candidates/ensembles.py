"""Estimators made of estimators: some features alone, an average, and one for rows without a history.

A copy travels in every logged model, so this must not know ``churn_assets``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

Vector = np.ndarray[Any, np.dtype[np.float64]]


class OnColumns(ClassifierMixin, BaseEstimator):
    """An estimator that is shown some of the features alone, such as those that are never missing.

    Args:
        estimator: unfitted.
        columns: names of the features that it is shown.
    """

    def __init__(self, estimator: Any, columns: Sequence[str]) -> None:
        self.estimator = estimator
        self.columns = columns

    def __sklearn_tags__(self) -> Any:
        """Missing values may be among the features that it is not shown."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: Any, y: Any) -> "OnColumns":  # noqa: N803 - scikit-learn's names
        """Fit to rows of features, by name, and their labels."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self.classes_ = np.unique(y)
        self.columns_ = [list(X.columns).index(name) for name in self.columns]
        unfitted: Any = clone(self.estimator)
        self.estimator_ = unfitted.fit(self._shown(X), y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probabilities of both labels."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(self._shown(X))

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The more probable class."""
        check_is_fitted(self)
        return self.estimator_.predict(self._shown(X))

    def decision_function(self, X: Any) -> Vector:  # noqa: N803
        """The log-odds of label 1."""
        check_is_fitted(self)
        return self.estimator_.decision_function(self._shown(X))

    def _shown(self, rows: Any) -> np.ndarray:
        return np.asarray(rows, dtype="float64")[:, self.columns_]


class Average(ClassifierMixin, BaseEstimator):
    """The mean of several estimators' log-odds.

    Of log-odds and not of probabilities, so that what a feature adds to it is the mean of what it adds to
    each.

    Args:
        estimators: unfitted, each with ``decision_function``.
    """

    def __init__(self, estimators: Sequence[Any]) -> None:
        self.estimators = estimators

    def __sklearn_tags__(self) -> Any:
        """Missing values may be among the features."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: Any, y: Any) -> "Average":  # noqa: N803
        """Fit each to rows of features, by name, and their labels."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self.classes_ = np.unique(y)
        unfitted: list[Any] = [clone(one) for one in self.estimators]
        self.parts_ = [one.fit(X, y) for one in unfitted]
        return self

    @classmethod
    def of_fitted(cls, estimators: Sequence[Any]) -> "Average":
        """The average of estimators that are fitted to the same rows: what fitting it to them would give."""
        made = cls(estimators)
        made.feature_names_in_ = estimators[0].feature_names_in_
        made.n_features_in_ = len(made.feature_names_in_)
        made.classes_ = estimators[0].classes_
        made.parts_ = list(estimators)
        return made

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probabilities of both labels."""
        from scipy.special import expit

        churn = expit(self.decision_function(X))
        return np.column_stack([1 - churn, churn])

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The more probable class."""
        return self.classes_[(self.decision_function(X) > 0).astype("int64")]

    def decision_function(self, X: Any) -> Vector:  # noqa: N803
        """The mean log-odds of label 1."""
        check_is_fitted(self)
        return np.mean([part.decision_function(X) for part in self.parts_], axis=0)


class WithFallback(ClassifierMixin, BaseEstimator):
    """An estimator that knows users' history, and one for rows that have none: missing is not zero.

    Both are fitted; this only asks the one or the other, row by row.

    Args:
        estimator: fitted on all features.
        fallback: fitted on the first of them, which a row must have.
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
        """Of each row, whether the fallback answers it."""
        return np.asarray(np.isnan(np.asarray(X, dtype="float64")[:, self._history]).any(axis=1))

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The probabilities of both labels, by the estimator that a row is for."""
        return self._each(X, lambda estimator, rows: estimator.predict_proba(rows))

    def _each(self, rows: Any, ask: Any) -> np.ndarray:
        matrix = np.asarray(rows, dtype="float64")
        lacking = self.lacks_history(matrix)
        # Nearly every request is one or the other, and then there is nothing to put together.
        if not lacking.any():
            return ask(self.estimator, _named(matrix, self.feature_names_in_, rows))
        without = ask(
            self.fallback, _named(matrix[lacking][:, self.fallback_columns_], self.fallback_features_, rows)
        )
        if lacking.all():
            return without
        known = ask(self.estimator, _named(matrix[~lacking], self.feature_names_in_, rows))
        answer = np.empty((len(matrix), known.shape[1]))
        answer[~lacking], answer[lacking] = known, without
        return answer

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The more probable class."""
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype("int64")]


def _named(matrix: np.ndarray, names: Any, given: Any) -> Any:
    """As it was given: a server that asks with arrays has no time for a DataFrame."""
    if not hasattr(given, "columns"):
        return matrix
    import pandas as pd

    return pd.DataFrame(matrix, columns=np.asarray(names, dtype=object))
