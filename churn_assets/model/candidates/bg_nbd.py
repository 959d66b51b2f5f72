"""BG/NBD: the probability that a user is still there, from frequency, recency and age of their activity.

Four numbers describe all users (Fader, Hardie and Lee, 2005): while they are there, users are active at rates
that follow a gamma distribution, and after each active day they leave for ever with probabilities that follow
a beta distribution. This is the modified form (Batislam, Denizel and Filiztekin, 2007), in which somebody may
leave after the first active day as well.

A copy travels in every logged model, so this module must not import ``churn_assets``.
"""

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

Vector = np.ndarray[Any, np.dtype[np.float64]]

# The features that are read. A user with one active day has no gap.
COLUMNS = ("active_days_total", "days_since_last_event", "mean_gap_days")

# The logarithms of r, alpha, a and b stay within these, so that nothing overflows where one of them does not
# matter: users who never leave have no a.
LARGEST_LOGARITHM = 10.0

# Draws each logarithm to 0, just enough that the best parameters are unique where the rows leave them open.
SHRINKAGE = 1e-5


class BgNbd(ClassifierMixin, BaseEstimator):
    """A classifier for P(no event in the horizon), with four parameters fitted to the labels.

    The textbook fits them to the events of all users up to a date. Here rows exist only of users with an
    event in the last 30 days, a selection that such a fit would have to model. The label of each row is known
    instead, and the same formula is fitted to it: by the log loss, on the logarithms of the parameters.

    Args:
        horizon_days: days without an event that label 1 means.
    """

    def __init__(self, horizon_days: int = 30) -> None:
        self.horizon_days = horizon_days

    def __sklearn_tags__(self) -> Any:
        """Allow missing values among the features: one active day has no gap."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: Any, y: Any) -> "BgNbd":  # noqa: N803 - scikit-learn's names
        """Fit to a DataFrame of features, found by name, and to labels of shape (rows,).

        Raises:
            ValueError: one of ``COLUMNS`` is not among the features.
        """
        from scipy.optimize import minimize

        names: list[str] = [str(name) for name in getattr(X, "columns", ())]
        if missing := [name for name in COLUMNS if name not in names]:
            raise ValueError(f"BG/NBD takes {', '.join(COLUMNS)}; the rows have no {', '.join(missing)}.")
        X, y = validate_data(self, X, y, ensure_all_finite="allow-nan", dtype="float64")  # noqa: N806
        self.classes_ = np.unique(y)
        self.columns_ = [names.index(name) for name in COLUMNS]
        history = X[:, self.columns_]
        # The user whom contributions are measured from; its gap also stands in for a missing one.
        present = (column[~np.isnan(column)] for column in history.T)
        self.reference_ = np.array([np.median(column) if len(column) else 1.0 for column in present])
        label = np.asarray(y == self.classes_[-1], dtype="float64")
        optimum = minimize(
            self._loss,
            np.array([0.0, 2.0, -1.0, 1.0]),
            args=(*self._active_days(history), label),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-LARGEST_LOGARITHM, LARGEST_LOGARITHM)] * 4,
        )
        self.logarithms_ = optimum.x
        self.n_iter_ = int(optimum.nit)
        return self

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters: r and alpha (days) of the gamma distribution, a and b of the beta distribution."""
        return dict(zip(("r", "alpha", "a", "b"), map(float, np.exp(self.logarithms_)), strict=True))

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return P(an event in the horizon) and P(none), shape (rows, 2)."""
        from scipy.special import expit

        churn = expit(self.decision_function(X))
        return np.column_stack([1 - churn, churn])

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the more probable label of each row, shape (rows,)."""
        return self.classes_[(self.decision_function(X) > 0).astype("int64")]

    def decision_function(self, X: Any) -> Vector:  # noqa: N803
        """Return the log-odds of churn of each row, shape (rows,)."""
        check_is_fitted(self)
        return self._log_odds(np.asarray(X, dtype="float64")[:, self.columns_])

    @property
    def base_value(self) -> float:
        """The log-odds of a user with the median of each feature, from whom contributions are measured."""
        return float(self._log_odds(self.reference_[None, :])[0])

    def contributions(self, features: np.ndarray) -> Vector:
        """Return what each feature adds to the log-odds: exact Shapley values against ``base_value``.

        Three features have eight subsets, so the formula is evaluated eight times, each with the features of
        the subset as they are and the others at their median.

        Args:
            features: shape (rows, features), in the order that it was fitted with.

        Returns:
            Log-odds in the same shape; 0 for features that the formula does not read.
        """
        history = np.asarray(features, dtype="float64")[:, self.columns_]
        number = len(COLUMNS)
        log_odds: dict[frozenset[int], Vector] = {}
        for size in range(number + 1):
            for subset in combinations(range(number), size):
                rows = np.tile(self.reference_, (len(history), 1))
                rows[:, list(subset)] = history[:, list(subset)]
                log_odds[frozenset(subset)] = self._log_odds(rows)
        total = np.zeros((len(history), np.shape(features)[1]))
        for place, column in enumerate(self.columns_):
            for subset in (subset for subset in log_odds if place not in subset):
                weight = factorial(len(subset)) * factorial(number - len(subset) - 1) / factorial(number)
                total[:, column] += weight * (log_odds[subset | {place}] - log_odds[subset])
        return total

    def _active_days(self, history: np.ndarray) -> tuple[Vector, Vector, Vector]:
        """Return active days after the first, days from the first to the last, and days since the first.

        ``history`` has shape (rows, 3), the columns of ``COLUMNS``.
        """
        days, silent, gap = history.T
        repeats = np.maximum(np.nan_to_num(days, nan=1.0) - 1, 0)
        gap = np.where(np.isnan(gap), self.reference_[2], gap)
        last = repeats * gap
        return repeats, last, last + np.nan_to_num(silent)

    def _log_odds(self, history: np.ndarray) -> Vector:
        repeats, last, age = self._active_days(history)
        there, silent = self._logarithms(self.logarithms_, repeats, last, age)
        # A user stays who is still there and has an event in the horizon; all others churn.
        stays = there + np.log(-np.expm1(silent))
        return np.log(-np.expm1(stays)) - stays

    def _logarithms(self, theta: Vector, repeats: Vector, last: Vector, age: Vector) -> tuple[Vector, Vector]:
        """Return the logarithms of P(still there) and of P(no event in the horizon | still there)."""
        r, alpha, a, b = np.exp(theta)
        log_odds_left = (
            np.log(a) - np.log(b + repeats) + (r + repeats) * (np.log(alpha + age) - np.log(alpha + last))
        )
        silent = (r + repeats) * (np.log(alpha + age) - np.log(alpha + age + self.horizon_days))
        return -np.logaddexp(0, log_odds_left), silent

    def _loss(
        self, theta: Vector, repeats: Vector, last: Vector, age: Vector, label: Vector
    ) -> tuple[float, Vector]:
        """Return the mean log loss and its gradient, shape (4,), by the logarithms of the parameters."""
        r, alpha, _, b = np.exp(theta)
        log_there, log_silent = self._logarithms(theta, repeats, last, age)
        there, silent = np.exp(log_there), np.exp(log_silent)
        churn = np.clip(1 - there * (1 - silent), 1e-12, 1 - 1e-12)
        loss = -np.mean(label * np.log(churn) + (1 - label) * np.log1p(-churn))
        by_left = np.array(
            [
                r * (np.log(alpha + age) - np.log(alpha + last)),
                (r + repeats) * alpha * (1 / (alpha + age) - 1 / (alpha + last)),
                np.ones_like(age),
                -b / (b + repeats),
            ]
        )
        later = alpha + age + self.horizon_days
        by_silent = np.array(
            [
                r * (np.log(alpha + age) - np.log(later)),
                (r + repeats) * alpha * (1 / (alpha + age) - 1 / later),
                np.zeros_like(age),
                np.zeros_like(age),
            ]
        )
        by_churn = there * (1 - there) * (1 - silent) * by_left + there * silent * by_silent
        gradient = ((churn - label) / (churn * (1 - churn)) * by_churn).mean(axis=1)
        return float(loss + SHRINKAGE * theta @ theta), gradient + 2 * SHRINKAGE * theta
