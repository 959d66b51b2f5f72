"""The estimators that a training can be configured to use, by name."""

from collections.abc import Callable, Mapping
from typing import Any

from churn_assets.errors import ModelError

DEFAULT_ESTIMATOR = "gradient_boosting"


def make(name: str = DEFAULT_ESTIMATOR, params: Mapping[str, Any] | None = None) -> Any:
    """An unfitted scikit-learn classifier with ``predict_proba``.

    Args:
        name: one of ``ESTIMATORS``.
        params: parameters of that estimator that win over the defaults here.

    Raises:
        ModelError: no such estimator, or it has no such parameter.
    """
    if name not in ESTIMATORS:
        raise ModelError(f"No estimator is called {name!r}. Choose one of {', '.join(sorted(ESTIMATORS))}.")
    try:
        return ESTIMATORS[name](**(params or {}))
    except TypeError as error:
        raise ModelError(
            f"Estimator {name} cannot be made: {error}. See scikit-learn for its parameters."
        ) from error


def _gradient_boosting(**params: Any) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    defaults = {"n_estimators": 100, "max_depth": 4, "learning_rate": 0.1, "random_state": 42}
    return GradientBoostingClassifier(**{**defaults, **params})


def _hist_gradient_boosting(**params: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(**{"random_state": 42, **params})


def _logistic_regression(**params: Any) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Counts and ages differ by orders of magnitude; unscaled, the solver stops before it is done.
    return make_pipeline(StandardScaler(), LogisticRegression(**params))


ESTIMATORS: dict[str, Callable[..., Any]] = {
    "gradient_boosting": _gradient_boosting,
    "hist_gradient_boosting": _hist_gradient_boosting,
    "logistic_regression": _logistic_regression,
}
