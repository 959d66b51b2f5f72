"""Challenger, champion and floor judged on the same holdout. Whatever fails here refuses the promotion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from churn_assets.errors import one_line
from churn_assets.model.candidates.estimators import FORMULA
from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.data.dataset import Frames, features_in
from churn_assets.model.gate import gate, leakage
from churn_assets.model.gate.decision import Decision
from churn_assets.model.logged import packaging
from churn_assets.model.metrics.evaluation import CostMatrix, Vector
from churn_assets.model.registry import registry
from churn_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Judgement:
    """The decision, and the probabilities that it rests on: each of shape (holdout rows,), in their order.

    The probabilities of an estimator that could not predict the holdout have shape (0,).
    """

    decision: Decision
    challenger: Vector
    champion: Vector | None
    floor: Vector
    champion_version: str | None


class Champion(NamedTuple):
    """The Production version and its probabilities, shape (holdout rows,); None where there is no version.

    Where it could not be loaded or could not predict, the probabilities are NaN and ``failures`` say why.
    """

    version: str | None
    probability: Vector | None
    failures: tuple[str, ...] = ()


def costs(settings: Settings, save_rate: float | None = None) -> CostMatrix:
    """Return what a contact costs and gains, by the settings or with a save rate that was measured."""
    return CostMatrix.of(settings, save_rate)


def first_model(frames: Frames, candidates: Sequence[Candidate], costs: CostMatrix) -> Candidate:
    """Choose the first model: the winner, or BG/NBD where the winner is not better beyond noise.

    Args:
        frames: what ``dataset.frames`` returns.
        candidates: what ``competition.compete`` returns.
        costs: what a contact costs and gains.
    """
    winner, formula = candidates[0], fitted_candidate(candidates, FORMULA)
    if formula is None or winner.estimator_name == FORMULA:
        return winner
    ours, our_failures = _predict(winner.fitted, frames.holdout, winner.name)
    theirs, their_failures = _predict(formula.fitted, frames.holdout, formula.name)
    if our_failures or their_failures or gate.beats(frames.holdout, ours, theirs, costs):
        return winner
    return formula


def fitted_candidate(candidates: Sequence[Candidate], estimator_name: str) -> Candidate | None:
    """Return the first candidate of an estimator that could be fitted; None where there is none."""
    return next(
        (one for one in candidates if one.estimator_name == estimator_name and one.fitted is not None), None
    )


def judge(  # noqa: PLR0913 - four models, and what judges them
    frames: Frames,
    challenger: Any,
    floor: Any | None,
    formula: Any | None = None,
    *,
    champion: Champion,
    costs: CostMatrix,
    slice_floor: float,
) -> Judgement:
    """Compare a challenger with the champion, or with recency alone where there is no champion.

    Args:
        frames: what ``dataset.frames`` returns; its holdout may also have the column country.
        challenger: a fitted estimator, whose ``predict_proba`` takes rows of features.
        floor: the estimator that reads days_since_last_event alone; None where it could not be fitted.
        formula: BG/NBD, to be shown beside the others; None where it could not be fitted.
        champion: what ``champion`` returns for the same holdout.
        costs: what a contact costs and gains.
        slice_floor: the ROC AUC that each slice must be able to reach.
    """
    ours, our_failures = _predict(challenger, frames.holdout, "The challenger")
    recency, floor_failures = _predict(floor, frames.holdout, "Recency alone")
    decision = gate.decide(
        frames.holdout,
        ours,
        champion.probability,
        recency,
        costs=costs,
        slice_floor=slice_floor,
        formula=None if formula is None else _predict(formula, frames.holdout, "BG/NBD")[0],
        alarms=[*_leakage(frames), *our_failures, *floor_failures, *champion.failures],
    )
    return Judgement(decision, ours, champion.probability, recency, champion.version)


def champion(settings: Settings, holdout: "pd.DataFrame") -> Champion:
    """Let the Production version predict the holdout.

    Args:
        settings: of the deployment, for its registry.
        holdout: rows with the features that the version was trained with, whichever others there are.
    """
    version = None
    try:
        production = registry.production_version(settings)
        if production is None:
            return Champion(None, None)
        version = str(production.version)
        import mlflow.pyfunc

        registry.require_own(settings, version)
        uri = registry.model_uri(settings, version)
        # The warnings are of packages that differ from those of its training, which takes as long to look
        # for as to load it, and the scoring that follows says the same.
        model = mlflow.pyfunc.load_model(uri, suppress_warnings=True)
        predicted = model.predict(holdout[packaging.inputs(uri)])
        return Champion(version, np.asarray(predicted, dtype="float64"))
    except Exception as error:  # noqa: BLE001 - a champion that cannot predict is not replaced unseen
        name = f"The champion, version {version}," if version else "The champion"
        failure = (
            f"{name} cannot be compared with: {one_line(error, with_class=True)}. "
            "Put another version there (churn rollback), or remove the alias Production to start anew."
        )
        return Champion(version, np.full(len(holdout), np.nan), (failure,))


def _leakage(frames: Frames) -> tuple[str, ...]:
    import pandas as pd

    try:
        # In both frames: a feature may know the label of late dates only.
        return leakage.alarms(pd.concat([frames.train, frames.holdout]), features_in(frames.train))
    except Exception as error:  # noqa: BLE001 - what cannot be tested is not promoted
        return (f"Features cannot be tested for leakage: {one_line(error, with_class=True)}.",)


def _predict(estimator: Any, rows: "pd.DataFrame", name: str) -> tuple[Vector, list[str]]:
    """Return the probabilities of churn, shape (rows,); or shape (0,) and a sentence that says why."""
    try:
        return np.asarray(estimator.predict_proba(rows[features_in(rows)])[:, 1], dtype="float64"), []
    except Exception as error:  # noqa: BLE001 - what cannot predict is not promoted
        return np.empty(0), [f"{name} cannot predict the holdout: {one_line(error, with_class=True)}."]
