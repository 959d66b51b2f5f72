"""The estimators that enter a competition, each with all of its parameters; nothing is fitted here."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from churn_assets.errors import ModelError
from churn_assets.model.candidates import estimators, search

AUTO = "auto"

# A trial of the search is called this and its number.
SEARCHED = "search_"


class Entrant(NamedTuple):
    """An estimator to fit: its name in the competition, the estimator's name, and all of its parameters."""

    name: str
    estimator_name: str
    params: dict[str, Any]


def entrants(  # noqa: PLR0913 - named, and a caller passes few of them
    estimator: str = AUTO,
    params: Mapping[str, Any] | None = None,
    seed: int = 42,
    *,
    history: bool = False,
    horizon_days: int = 30,
    staying_types: Collection[str] = (),
    trials: int = search.TRIALS,
    with_article_model: bool = True,
) -> list[Entrant]:
    """List the entrants: the floor first, then the simpler before the less simple.

    Args:
        estimator: ``auto`` for all and a search, or one of ``estimators.ESTIMATORS`` for that one alone.
        params: parameters of that one estimator.
        seed: of the search.
        history: whether the rows have more than the features of the last 30 days.
        horizon_days: days that label 1 looks ahead.
        staying_types: types of the events that count for the label; empty where all do.
        trials: of the search.
        with_article_model: whether the article's estimator enters, which takes as long as all others.

    Raises:
        ModelError: there is no such estimator, or it has no such parameter.
    """
    baselines = _baselines(history, horizon_days, staying_types)
    if estimator != AUTO:
        named = _named(estimator, params or {}, horizon_days)
        return [*(entrant for entrant in baselines if entrant.estimator_name != estimator), named]
    if params:
        raise ModelError(
            f"Parameters {dict(params)} are for one estimator, but all compete. "
            f"Name one of {', '.join(estimators.COMPETING)} as estimator, or leave params out."
        )
    linear = _entrant("log_logistic_regression" if history else "logistic_regression")
    boosting = _entrant("hist_gradient_boosting")
    searched = [
        Entrant(f"{SEARCHED}{number}", search.ESTIMATOR, _all_params(search.ESTIMATOR, trial))
        for number, trial in enumerate(search.trials(seed, trials), start=1)
    ]
    averages = []
    if history:
        formula = baselines[1]
        averages = [
            _average("average", linear, boosting),
            _average("average_with_bg_nbd", formula, linear, boosting),
        ]
    article = [_entrant(estimators.DEFAULT_ESTIMATOR)] if with_article_model else []
    return [*baselines, linear, boosting, *searched, *averages, *article]


def _all_params(estimator_name: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the parameters over the defaults of the estimator: all that is needed to make it again."""
    return {**estimators.DEFAULTS[estimator_name], **(params or {})}


def _baselines(history: bool, horizon_days: int, staying_types: Collection[str]) -> list[Entrant]:
    """The floor and, for rows with a history, BG/NBD: what every training is compared with."""
    only_purchases_count = history and set(staying_types) == {"purchase"}
    recency = estimators.SINCE_LAST_PURCHASE if only_purchases_count else estimators.SINCE_LAST_EVENT
    floor = _entrant(estimators.FLOOR, {"feature": recency})
    return [floor, _entrant(estimators.FORMULA, {"horizon_days": horizon_days})] if history else [floor]


def _named(estimator: str, params: Mapping[str, Any], horizon_days: int) -> Entrant:
    horizon = {"horizon_days": horizon_days} if estimator == estimators.FORMULA else {}
    # Made once, so that a wrong name or parameter is refused before anything is fitted.
    estimators.make(estimator, {**horizon, **params})
    if estimator == estimators.FLOOR:
        raise ModelError(
            f"Estimator {estimator} is what a model must beat, and never becomes one. "
            f"Choose {AUTO} or one of {', '.join(estimators.COMPETING)}."
        )
    return _entrant(estimator, {**horizon, **params})


def _entrant(estimator_name: str, params: Mapping[str, Any] | None = None) -> Entrant:
    return Entrant(estimator_name, estimator_name, _all_params(estimator_name, params))


def _average(name: str, *parts: Entrant) -> Entrant:
    specs = [{"estimator": part.estimator_name, "params": part.params} for part in parts]
    return Entrant(name, estimators.AVERAGE, {"estimators": specs})
