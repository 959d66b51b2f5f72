"""The estimators that compete for Production or that a training can be configured to use, by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from churn_assets.errors import ModelError
from churn_assets.tables import FEATURE_COLUMNS

DEFAULT_ESTIMATOR = "gradient_boosting"

# Logistic regression on a single feature, the days since the last event that counts: what a model must beat
# to be worth its keep.
FLOOR = "recency"
SINCE_LAST_EVENT = "days_since_last_event"
SINCE_LAST_PURCHASE = "days_since_last_purchase"

# BG/NBD, a formula of 2005 with four parameters: the first model must beat it as well, or it is used itself.
FORMULA = "bg_nbd"

# The mean of other estimators: its parameter ``estimators`` has the name and the parameters of each.
AVERAGE = "average"

# Written out, so that a version's parameters say all that made it.
DEFAULTS: dict[str, dict[str, Any]] = {
    # Days that label 1 looks ahead; a training sets its own.
    FORMULA: {"horizon_days": 30},
    "logistic_regression": {},
    "log_logistic_regression": {},
    # The article's.
    "gradient_boosting": {"n_estimators": 100, "max_depth": 4, "learning_rate": 0.1, "random_state": 42},
    # Smaller than scikit-learn's defaults, for the reason in search.py. Early stopping would set a tenth of
    # the rows aside.
    "hist_gradient_boosting": {
        "learning_rate": 0.05,
        "max_iter": 100,
        "max_leaf_nodes": 16,
        "min_samples_leaf": 50,
        "early_stopping": False,
        "random_state": 42,
    },
    FLOOR: {"feature": SINCE_LAST_EVENT},
    AVERAGE: {},
}


def make(name: str = DEFAULT_ESTIMATOR, params: Mapping[str, Any] | None = None) -> Any:
    """Make an unfitted scikit-learn classifier with ``predict_proba``.

    Args:
        name: one of ``ESTIMATORS``.
        params: parameters of that estimator that override ``DEFAULTS``.

    Raises:
        ModelError: no such estimator, or it has no such parameter.
    """
    if name not in ESTIMATORS:
        raise ModelError(f"No estimator is called {name!r}. Choose one of {', '.join(sorted(ESTIMATORS))}.")
    try:
        return ESTIMATORS[name](**{**DEFAULTS[name], **(params or {})})
    except TypeError as error:
        raise ModelError(
            f"Estimator {name} cannot be made: {error}. See scikit-learn for its parameters."
        ) from error


def _gradient_boosting(**params: Any) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(**params)


def _hist_gradient_boosting(**params: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(**params)


def _logistic_regression(**params: Any) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    # Values beyond those of the training rows are clipped to the nearest of them, as trees do: a line would
    # extrapolate. Counts and ages differ by orders of magnitude; unscaled, the solver stops too early.
    return make_pipeline(MinMaxScaler(clip=True), StandardScaler(), LogisticRegression(**params))


def _log_logistic_regression(**params: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

    from churn_assets.model.candidates.logarithms import signed_log1p

    # In logarithms, from one event to two is as far as from ten to twenty. A missing value counts as the
    # mean, and an indicator feature says that it was missing.
    return make_pipeline(
        FunctionTransformer(signed_log1p),
        SimpleImputer(add_indicator=True, keep_empty_features=True),
        MinMaxScaler(clip=True),
        StandardScaler(),
        LogisticRegression(**params),
    )


def _bg_nbd(**params: Any) -> Any:
    from churn_assets.model.candidates.bg_nbd import BgNbd

    return BgNbd(**params)


def _average(estimators: Sequence[Mapping[str, Any]] = ()) -> Any:
    from churn_assets.model.candidates.ensembles import Average

    return Average([make(spec["estimator"], spec.get("params")) for spec in estimators])


def _recency(feature: str = SINCE_LAST_EVENT, **params: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # By position, so that it takes a plain matrix, as any other estimator does. Users who never bought have
    # no days_since_last_purchase.
    scaled = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
    return make_pipeline(
        make_column_transformer((scaled, [FEATURE_COLUMNS.index(feature)]), remainder="drop"),
        LogisticRegression(**params),
    )


# The simpler before the less simple: a leaf of the article's trees may hold a single row.
ESTIMATORS: dict[str, Callable[..., Any]] = {
    FLOOR: _recency,
    FORMULA: _bg_nbd,
    "logistic_regression": _logistic_regression,
    "log_logistic_regression": _log_logistic_regression,
    "hist_gradient_boosting": _hist_gradient_boosting,
    AVERAGE: _average,
    "gradient_boosting": _gradient_boosting,
}

COMPETING = tuple(name for name in ESTIMATORS if name != FLOOR)

# These take no missing values, so they are fitted on the features that every row has.
OF_THE_WINDOW = frozenset({"logistic_regression", "gradient_boosting"})
