"""The competition to be the next model: which candidate wins, and whether it needs a calibration map."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from churn_assets.errors import ModelError
from churn_assets.model.candidates import calibration, estimators, fitting, search
from churn_assets.model.candidates.bounds import Bounds, bounds_of
from churn_assets.model.candidates.entrants import AUTO, SEARCHED, entrants
from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.data.dataset import Frames, has_history, without_history

if TYPE_CHECKING:
    import pandas as pd

# Fitted to be compared with where one estimator is named, and not competing with it.
BASELINES = (estimators.FLOOR, estimators.FORMULA)

# Of the search for rows without a history.
FALLBACK_TRIALS = 3

# A difference in the Brier score that is not worth a less simple model, nor a calibration map. Between two
# boosted models its standard error by user is 0.001 for 2,000 simulated users and 0.0004 for 8,000, so this
# settles mere ties: over 8 simulations the winner's holdout score was 0.0003 above the best candidate's, with
# any margin up to 0.001. With a whole standard error it was 0.0013, because logistic regression won once.
WORTH_IT = 1e-4


class Calibrated(NamedTuple):
    """The estimator to use, its calibration map, and the Brier score on calibration users without and with.

    ``brier_after`` is measured on users that the map was not fitted on. ``bounds`` are the lowest and the
    highest probability that the estimator can give.
    """

    estimator: Any
    method: calibration.Method
    brier_before: float
    brier_after: float
    bounds: Bounds | None = None


def compete(  # noqa: PLR0913 - named, and a caller passes few of them
    frames: Frames,
    *,
    estimator: str = AUTO,
    params: Mapping[str, Any] | None = None,
    seconds: float = 30,
    seed: int = 42,
    horizon_days: int = 30,
    staying_types: Collection[str] = (),
    trials: int = search.TRIALS,
    with_article_model: bool = True,
    on_fitted: Callable[[Candidate, int, int], None] | None = None,
) -> list[Candidate]:
    """Fit all entrants on the training rows, and compare their Brier scores on the calibration rows.

    The winner is the simplest whose score is within ``WORTH_IT`` of the lowest. The same frames and seed
    give the same candidates, as long as the time suffices.

    Args:
        frames: what ``dataset.frames`` returns; ``holdout`` is not read.
        estimator: as for ``entrants``.
        params: as for ``entrants``.
        seconds: time after which no further trial of the search is begun.
        seed: of the search.
        horizon_days: days that label 1 looks ahead.
        staying_types: as for ``entrants``.
        trials: of the search.
        with_article_model: as for ``entrants``.
        on_fitted: called after each candidate with it, its number from 1 on, and the number of entrants.

    Returns:
        The winner, the others from the lowest Brier score to the highest, and those that could not be fitted.

    Raises:
        ModelError: the rows or the parameters cannot be learned from, or only the floor could be fitted.
    """
    plan = entrants(
        estimator,
        params,
        seed,
        history=has_history(frames.train),
        horizon_days=horizon_days,
        staying_types=staying_types,
        trials=trials,
        with_article_model=with_article_model,
    )
    _require_both_classes(frames.train, "training")
    _require_both_classes(frames.calibration, "calibration")
    started = time.monotonic()
    candidates: list[Candidate] = []
    fitted: dict[str, Any] = {}
    for number, entrant in enumerate(plan, start=1):
        # The budget bounds a machine far slower than those this was made for: elsewhere all trials run, and
        # so the same rows give the same model.
        if entrant.name.startswith(SEARCHED) and time.monotonic() - started > seconds:
            continue
        candidate = fitting.fit(entrant, frames, fitted)
        fitted[fitting.key(entrant.estimator_name, entrant.params)] = candidate.fitted
        candidates.append(candidate)
        if on_fitted:
            on_fitted(candidate, number, len(plan))
    not_competing = {estimators.FLOOR} if estimator in (AUTO, estimators.FORMULA) else set(BASELINES)
    return _ranked(candidates, not_competing)


def calibrate(winner: Candidate, rows: "pd.DataFrame", seed: int = 42) -> Calibrated:
    """Map the winner's probabilities to observed churn rates, where that lowers the Brier score.

    The better map (sigmoid or isotonic) is taken if it lowers the score beyond noise on users it was not
    fitted on, and then fitted on all. With a map or without, no probability is 0 or 1: it stays within what
    the users of these rows support.

    Args:
        winner: the first that ``compete`` returns.
        rows: the frame ``calibration``: users that the candidate was not trained on.
        seed: decides on which half of the users a map is fitted, and on which it is measured.
    """
    probabilities = calibration.out_of_sample_probabilities(winner.fitted, rows, seed)
    scores: dict[calibration.Method, float] = {}
    for name, probability in probabilities.items():
        scores[name] = calibration.brier(rows, probability)
    method = min(scores, key=lambda name: scores[name])
    if not calibration.is_worth_it(rows, probabilities["none"], probabilities[method], WORTH_IT):
        method = "none"
    estimator = calibration.with_bounded_map(winner.fitted, rows, method)
    return Calibrated(estimator, method, scores["none"], scores[method], bounds_of(estimator))


def fit_fallback(frames: Frames, seconds: float = 30, seed: int = 42) -> tuple[Candidate, Calibrated]:
    """Fit the best model for rows without a history, and calibrate it.

    It reads only the features of the last 30 days. The same estimators compete, except the article's, with
    fewer trials.

    Args:
        frames: as for ``compete``.
        seconds: as for ``compete``.
        seed: as for ``compete``.

    Raises:
        ModelError: as ``compete`` does.
    """
    window = without_history(frames)
    winner = compete(window, seconds=seconds, seed=seed, trials=FALLBACK_TRIALS, with_article_model=False)[0]
    return winner, calibrate(winner, window.calibration, seed)


def _ranked(
    candidates: list[Candidate], not_competing: Collection[str] = (estimators.FLOOR,)
) -> list[Candidate]:
    fitted = [c for c in candidates if c.fitted is not None]
    failed = [c for c in candidates if c.fitted is None]
    competing = [c for c in fitted if c.estimator_name not in not_competing]
    if not competing:
        reasons = "; ".join(f"{c.name}: {c.error}" for c in failed if c.estimator_name not in not_competing)
        raise ModelError(f"No candidate can be trained: {reasons}")
    lowest = min(c.metrics["brier"] for c in competing)
    # In the order of entry, which is that of simplicity.
    winner = next(c for c in competing if c.metrics["brier"] <= lowest + WORTH_IT)
    others = sorted((c for c in fitted if c is not winner), key=lambda c: c.metrics["brier"])
    return [winner, *others, *failed]


def _require_both_classes(rows: "pd.DataFrame", frame_name: str) -> None:
    labels = sorted(rows["label"].unique())
    if len(labels) < 2:
        present = f"only label {labels[0]}" if labels else "no rows"
        raise ModelError(
            f"Among the {frame_name} rows there are {present}; a model takes churned and staying users, "
            "two classes. Look at gold.churn_labels."
        )
