"""Challenger, champion and floor on the same holdout. Whatever goes wrong here refuses the promotion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.errors import one_line
from churn_assets.model.candidates.candidates import Candidate
from churn_assets.model.candidates.estimators import FORMULA
from churn_assets.model.data.dataset import Frames, features_in
from churn_assets.model.gate import gate, leakage
from churn_assets.model.gate.decision import Decision
from churn_assets.model.logged import packaging
from churn_assets.model.metrics.evaluation import CostMatrix
from churn_assets.model.registry import registry
from churn_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

Probabilities = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Judgement:
    """The decision, and the probabilities it rests on, in the holdout's order; empty where there are none."""

    decision: Decision
    challenger: Probabilities
    champion: Probabilities | None
    floor: Probabilities
    champion_version: str | None


def costs(settings: Settings) -> CostMatrix:
    """What a contact costs, and what it gains, by the settings."""
    return CostMatrix(settings.contact_cost, settings.saved_value, settings.save_rate)


def first_model(frames: Frames, found: Sequence[Candidate], costs: CostMatrix) -> Candidate:
    """Who is to be the first model: the winner, or BG/NBD where the winner is not better beyond noise.

    Args:
        frames: what ``dataset.frames`` returns.
        found: what ``candidates.compete`` returns.
        costs: what a contact costs and gains.
    """
    best, formula = found[0], fitted(found, FORMULA)
    if formula is None or best.estimator_name == FORMULA:
        return best
    ours, theirs = (_asked(one.fitted, frames.holdout, one.name) for one in (best, formula))
    if ours[1] or theirs[1] or gate.beats(frames.holdout, ours[0], theirs[0], costs):
        return best
    return formula


def fitted(found: Sequence[Candidate], estimator_name: str) -> Candidate | None:
    """The first candidate of that estimator that could be fitted."""
    return next(
        (one for one in found if one.estimator_name == estimator_name and one.fitted is not None), None
    )


def judge(
    settings: Settings, frames: Frames, estimator: Any, floor: Any | None, formula: Any | None = None
) -> Judgement:
    """Compare a fitted estimator with the Production version, or with recency alone where there is none.

    Args:
        settings: of the deployment.
        frames: what ``dataset.frames`` returns; its holdout may also have the column country.
        estimator: the challenger.
        floor: the estimator that knows days_since_last_event alone; None where it could not be fitted.
        formula: BG/NBD, to be shown beside the others; None where it could not be fitted.
    """
    alarms = list(_alarms(frames))
    challenger, failed = _asked(estimator, frames.holdout, "The challenger")
    alarms += failed
    recency, failed = _asked(floor, frames.holdout, "Recency alone")
    alarms += failed
    champion, version, failed = _champion(settings, frames.holdout)
    alarms += failed
    shown = None if formula is None else _asked(formula, frames.holdout, "BG/NBD")[0]
    decision = gate.decide(
        frames.holdout,
        challenger,
        champion,
        recency,
        costs=costs(settings),
        slice_floor=settings.gate_slice_auc,
        formula=shown,
        alarms=alarms,
    )
    return Judgement(decision, challenger, champion, recency, version)


def _alarms(frames: Frames) -> tuple[str, ...]:
    import pandas as pd

    try:
        # Of both: what leaks may do so in late dates only.
        return leakage.alarms(pd.concat([frames.train, frames.holdout]), features_in(frames.train))
    except Exception as error:  # noqa: BLE001 - what cannot be looked at is not promoted
        return (f"Features cannot be tested for leakage: {one_line(error, with_class=True)}.",)


def _asked(estimator: Any, rows: "pd.DataFrame", who: str) -> tuple[Probabilities, list[str]]:
    try:
        return np.asarray(estimator.predict_proba(rows[features_in(rows)])[:, 1], dtype="float64"), []
    except Exception as error:  # noqa: BLE001 - what cannot be asked is not promoted
        return np.empty(0), [f"{who} cannot predict the holdout: {one_line(error, with_class=True)}."]


def _champion(settings: Settings, rows: "pd.DataFrame") -> tuple[Probabilities | None, str | None, list[str]]:
    version = None
    try:
        production = registry.production_version(settings)
        if production is None:
            return None, None, []
        version = str(production.version)
        import mlflow.pyfunc

        uri = registry.model_uri(settings, version)
        # By its own features: it may have been trained before others came.
        predicted = mlflow.pyfunc.load_model(uri).predict(rows[packaging.inputs(uri)])
        return np.asarray(predicted, dtype="float64"), version, []
    except Exception as error:  # noqa: BLE001 - a champion that cannot be asked is not replaced unseen
        name = f"The champion, version {version}," if version else "The champion"
        reason = (
            f"{name} cannot be compared with: {one_line(error, with_class=True)}. "
            "Put another version there (churn rollback), or remove the alias Production to start anew."
        )
        return np.full(len(rows), np.nan), version, [reason]
