"""Who competes to be the next model, who wins, and whether the winner's probabilities need calibration."""

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from churn_assets.errors import ModelError, one_line
from churn_assets.model.candidates import calibration, estimators, search
from churn_assets.model.candidates.bounds import Bounds, reach
from churn_assets.model.data.dataset import Frames, features_in, has_history, without_history
from churn_assets.tables import HISTORY_OF_ALL, WINDOW_FEATURES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

AUTO = "auto"

# What is there to be compared with where one estimator is named, and does not compete with it.
OUTSIDE = (estimators.FLOOR, estimators.FORMULA)

# A trial of the search is called this and its number.
SEARCHED = "search_"

# Of the search for rows without a history.
FALLBACK_TRIALS = 3

# A difference in the Brier score that is not worth a less simple model, nor a calibration map. Between two
# boosted models its standard error by user is 0.001 for 2,000 simulated users and 0.0004 for 8,000, so this
# settles mere ties: over 8 simulations the winner's holdout score was 0.0003 above the best candidate's, with
# any margin up to 0.001. With a whole standard error it was 0.0013, because logistic regression won once.
WORTH_IT = 1e-4


class Entrant(NamedTuple):
    """What is to be fitted."""

    name: str
    estimator_name: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """What was fitted, and how well it does on the calibration rows (brier, log_loss, roc_auc).

    ``params`` are all that ``estimators.make`` needs to make it again. ``seconds`` are those of fitting.
    Where it could not be fitted, ``error`` says why in one line, and ``fitted`` is None.
    """

    name: str
    estimator_name: str
    params: dict[str, Any]
    fitted: Any = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""


class Calibrated(NamedTuple):
    """The estimator to use, what was done to it, and the Brier score on calibration users without and with.

    ``brier_after`` is measured on users that the map was not fitted on. ``bounds`` are the lowest and the
    highest probability that the estimator can give.
    """

    estimator: Any
    method: calibration.Method
    brier_before: float
    brier_after: float
    bounds: Bounds | None = None


def entrants(  # noqa: PLR0913 - named, and a caller gives few of them
    estimator: str = AUTO,
    params: Mapping[str, Any] | None = None,
    seed: int = 42,
    *,
    history: bool = False,
    horizon_days: int = 30,
    staying_types: Collection[str] = (),
    trials: int = search.TRIALS,
    articles: bool = True,
) -> list[Entrant]:
    """Who competes: the floor first, then the simpler before the less simple.

    Args:
        estimator: ``auto`` for all and a search, or one of ``estimators.ESTIMATORS`` for that one alone.
        params: parameters of that one estimator.
        seed: of the search.
        history: whether the rows have more than the features of the last 30 days.
        horizon_days: days that label 1 looks ahead.
        staying_types: types of the events that count for the label; without any, all do.
        trials: of the search.
        articles: whether the article's estimator is among them, which takes as long as all others.

    Raises:
        ModelError: there is no such estimator, or it has no such parameter.
    """
    of_purchases = history and set(staying_types) == {"purchase"}
    since = estimators.SINCE_LAST_PURCHASE if of_purchases else estimators.SINCE_LAST_EVENT
    floor = Entrant(estimators.FLOOR, estimators.FLOOR, _all_params(estimators.FLOOR, {"feature": since}))
    formula = Entrant(
        estimators.FORMULA,
        estimators.FORMULA,
        _all_params(estimators.FORMULA, {"horizon_days": horizon_days}),
    )
    always = [floor, formula] if history else [floor]
    if estimator == AUTO:
        if params:
            raise ModelError(
                f"Parameters {dict(params)} are for one estimator, but all compete. "
                f"Name one of {', '.join(estimators.COMPETING)} as estimator, or leave params out."
            )
        line, boosting, default = (
            Entrant(n, n, _all_params(n))
            for n in (
                "log_logistic_regression" if history else "logistic_regression",
                "hist_gradient_boosting",
                estimators.DEFAULT_ESTIMATOR,
            )
        )
        searched = [
            Entrant(f"{SEARCHED}{number}", search.ESTIMATOR, _all_params(search.ESTIMATOR, trial))
            for number, trial in enumerate(search.trials(seed, trials), start=1)
        ]
        together = [
            _average("average", line, boosting),
            _average("average_with_bg_nbd", formula, line, boosting),
        ]
        last = [default] if articles else []
        return [*always, line, boosting, *searched, *(together if history else []), *last]
    chosen = {"horizon_days": horizon_days} if estimator == estimators.FORMULA else {}
    estimators.make(estimator, {**chosen, **(params or {})})
    if estimator == estimators.FLOOR:
        raise ModelError(
            f"Estimator {estimator} is what a model must beat, and never becomes one. "
            f"Choose {AUTO} or one of {', '.join(estimators.COMPETING)}."
        )
    alone = Entrant(estimator, estimator, _all_params(estimator, {**chosen, **(params or {})}))
    return [*(one for one in always if one.estimator_name != estimator), alone]


def compete(  # noqa: PLR0913 - named, and a caller gives few of them
    frames: Frames,
    *,
    estimator: str = AUTO,
    params: Mapping[str, Any] | None = None,
    seconds: float = 30,
    seed: int = 42,
    horizon_days: int = 30,
    staying_types: Collection[str] = (),
    trials: int = search.TRIALS,
    articles: bool = True,
    done: Callable[[Candidate, int, int], None] | None = None,
) -> list[Candidate]:
    """Fit all that compete on the training rows, and compare their Brier scores on the calibration rows.

    The winner is the simplest whose score is within ``WORTH_IT`` of the lowest. The same frames and seed
    give the same candidates, as long as the time suffices.

    Args:
        frames: what ``dataset.frames`` returns; ``holdout`` is not looked at.
        estimator: as for ``entrants``.
        params: as for ``entrants``.
        seconds: when so many are over, no further trial of the search is begun.
        seed: of the search.
        horizon_days: days that label 1 looks ahead.
        staying_types: as for ``entrants``.
        trials: of the search.
        articles: as for ``entrants``.
        done: called after each with the candidate, its number from 1 on, and how many there are.

    Returns:
        The winner, the others from the lowest Brier score to the highest, and those that could not be fitted.

    Raises:
        ModelError: the rows or the parameters cannot be learned from, or nothing but the floor could be.
    """
    plan = entrants(
        estimator,
        params,
        seed,
        history=has_history(frames.train),
        horizon_days=horizon_days,
        staying_types=staying_types,
        trials=trials,
        articles=articles,
    )
    _require_both_classes(frames.train, "training")
    _require_both_classes(frames.calibration, "calibration")
    started = time.monotonic()
    candidates: list[Candidate] = []
    known: dict[str, Any] = {}
    for number, entrant in enumerate(plan, start=1):
        # The budget bounds a machine far slower than those this was made for: elsewhere all trials run, and
        # so the same rows give the same model.
        if entrant.name.startswith(SEARCHED) and time.monotonic() - started > seconds:
            continue
        candidate = _fitted(entrant, frames, known)
        known[_key(entrant.estimator_name, entrant.params)] = candidate.fitted
        candidates.append(candidate)
        if done:
            done(candidate, number, len(plan))
    others = {estimators.FLOOR} if estimator in (AUTO, estimators.FORMULA) else set(OUTSIDE)
    return _ranked(candidates, others)


def calibrated(best: Candidate, rows: "pd.DataFrame", seed: int = 42) -> Calibrated:
    """Map the winner's probabilities to what they are in truth, where that lowers the Brier score.

    The better map (sigmoid or isotonic) is taken if it lowers the score beyond noise on users it was not
    fitted on, and then fitted on all. With a map or without, no probability is 0 or 1: it stays within what
    the users of these rows support.

    Args:
        best: the first that ``compete`` returns.
        rows: the frame ``calibration``: users that the candidate was not trained on.
        seed: says on which half of the users a map is fitted, and on which it is measured.
    """
    honest = calibration.honest_probabilities(best.fitted, rows, seed)
    scores: dict[calibration.Method, float] = {}
    for name, probability in honest.items():
        scores[name] = calibration.brier(rows, probability)
    method = min(scores, key=lambda name: scores[name])
    if not calibration.is_worth_it(rows, honest["none"], honest[method], WORTH_IT):
        method = "none"
    estimator = calibration.bounded(best.fitted, rows, method)
    return Calibrated(estimator, method, scores["none"], scores[method], reach(estimator))


def fallback(frames: Frames, seconds: float = 30, seed: int = 42) -> tuple[Candidate, Calibrated]:
    """The best model of rows without a history, and what it becomes once it is calibrated.

    It knows the features of the last 30 days alone. The same estimators compete, but for the article's, with
    fewer trials.

    Args:
        frames: as for ``compete``.
        seconds: as for ``compete``.
        seed: as for ``compete``.

    Raises:
        ModelError: as ``compete`` does.
    """
    known = without_history(frames)
    best = compete(known, seconds=seconds, seed=seed, trials=FALLBACK_TRIALS, articles=False)[0]
    return best, calibrated(best, known.calibration, seed)


def together(estimator: Any, without: Any) -> Any:
    """One estimator of both: rows that have no history go to the second."""
    from churn_assets.model.candidates.ensembles import WithFallback

    return WithFallback(estimator, without, HISTORY_OF_ALL)


def rebuild(spec: Mapping[str, Any], frames: Frames, bounded: bool = False) -> Any:
    """Fit exactly what once won, without a search.

    Args:
        spec: ``estimator`` (a name), ``params``, ``calibration`` (none, sigmoid or isotonic) and, where rows
            without a history were answered by a model of their own, ``fallback``: the same of that.
        frames: the same rows as then.
        bounded: whether its probabilities were; those of versions older than ``bounds.py`` were not.

    Raises:
        ModelError: the spec names nothing that can be fitted.
    """
    whole = _rebuilt(spec, frames, bounded)
    if "fallback" not in spec:
        return whole
    return together(whole, _rebuilt(spec["fallback"], without_history(frames), bounded))


def _rebuilt(spec: Mapping[str, Any], frames: Frames, bounded: bool) -> Any:
    name, method = spec["estimator"], spec["calibration"]
    if method not in ("none", *calibration.MAPS):
        raise ModelError(
            f"No calibration is called {method!r}. Choose one of none, {', '.join(calibration.MAPS)}."
        )
    candidate = _fitted(Entrant(name, name, dict(spec["params"])), frames)
    if candidate.fitted is None:
        raise ModelError(f"{name} cannot be trained: {candidate.error}")
    made = calibration.bounded if bounded else calibration.mapped
    return made(candidate.fitted, frames.calibration, method)


def _average(name: str, *parts: Entrant) -> Entrant:
    made_of = [{"estimator": one.estimator_name, "params": one.params} for one in parts]
    return Entrant(name, estimators.AVERAGE, {"estimators": made_of})


def _made(name: str, params: Mapping[str, Any], rows: "pd.DataFrame") -> Any:
    """An estimator that takes the rows' missing values, whatever it is by itself."""
    estimator = estimators.make(name, params)
    if not has_history(rows):
        return estimator
    from churn_assets.model.candidates.ensembles import Average, OnColumns

    if name == estimators.AVERAGE:
        return Average([_made(one["estimator"], one["params"], rows) for one in params["estimators"]])
    if name in estimators.OF_THE_WINDOW:
        return OnColumns(estimator, WINDOW_FEATURES)
    # It bins each feature by its values, and amounts, say, may be on no event.
    empty = set(rows.columns[rows.isna().all()]) & set(features_in(rows))
    if empty and name == search.ESTIMATOR:
        return OnColumns(estimator, [one for one in features_in(rows) if one not in empty])
    return estimator


def _all_params(name: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {**estimators.DEFAULTS[name], **(params or {})}


def _key(name: str, params: Mapping[str, Any]) -> str:
    return json.dumps([name, params], sort_keys=True)


def _average_of_known(entrant: Entrant, known: Mapping[str, Any]) -> Any:
    """The average of those that were fitted before it, None where one is not there."""
    if entrant.estimator_name != estimators.AVERAGE:
        return None
    from churn_assets.model.candidates.ensembles import Average

    parts = [known.get(_key(one["estimator"], one["params"])) for one in entrant.params["estimators"]]
    return Average.of_fitted(parts) if all(part is not None for part in parts) else None


def _fitted(entrant: Entrant, frames: Frames, known: Mapping[str, Any] | None = None) -> Candidate:
    """Fit one; an average is made of what has been fitted before it, where all of its parts have."""
    from threadpoolctl import threadpool_limits

    started = time.perf_counter()
    try:
        estimator = _average_of_known(entrant, known or {})
        # In one thread. Histogram boosting sums gradients in as many as there are; 1 and 2 gave equal bits
        # for 25,000 rows, but nothing promises it for others. Nor do they help: those rows take 0.2 s in one
        # thread, and 5 s in two where another process is busy.
        with threadpool_limits(1):
            if estimator is None:
                estimator = _made(entrant.estimator_name, entrant.params, frames.train)
                estimator.fit(frames.train[features_in(frames.train)], frames.train["label"])
            metrics = _metrics(
                frames.calibration["label"].to_numpy(), calibration.probability(estimator, frames.calibration)
            )
    except Exception as error:  # noqa: BLE001 - one that cannot be fitted must not end the others' competition
        seconds = time.perf_counter() - started
        return Candidate(*entrant, seconds=seconds, error=one_line(error))
    return Candidate(*entrant, estimator, metrics, time.perf_counter() - started)


def _ranked(candidates: list[Candidate], outside: Collection[str] = (estimators.FLOOR,)) -> list[Candidate]:
    able = [c for c in candidates if c.fitted is not None]
    failed = [c for c in candidates if c.fitted is None]
    competing = [c for c in able if c.estimator_name not in outside]
    if not competing:
        reasons = "; ".join(f"{c.name}: {c.error}" for c in failed if c.estimator_name not in outside)
        raise ModelError(f"No candidate can be trained: {reasons}")
    lowest = min(c.metrics["brier"] for c in competing)
    # In the order of entry, which is that of simplicity.
    winner = next(c for c in competing if c.metrics["brier"] <= lowest + WORTH_IT)
    others = sorted((c for c in able if c is not winner), key=lambda c: c.metrics["brier"])
    return [winner, *others, *failed]


def _metrics(label: "np.ndarray", probability: "np.ndarray") -> dict[str, float]:
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    return {
        "brier": float(brier_score_loss(label, probability)),
        "log_loss": float(log_loss(label, probability)),
        "roc_auc": float(roc_auc_score(label, probability)),
    }


def _require_both_classes(rows: "pd.DataFrame", what: str) -> None:
    labels = sorted(rows["label"].unique())
    if len(labels) < 2:
        found = f"only label {labels[0]}" if labels else "no rows"
        raise ModelError(
            f"Among the {what} rows there are {found}; a model takes churned and staying users, "
            "two classes. Look at gold.churn_labels."
        )
