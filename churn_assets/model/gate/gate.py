"""Whether a challenger becomes Production: what cannot be shown to be better stays out.

It decides from probabilities alone and knows neither MLflow nor how a model came about, so that the same
arrays always give the same decision. docs/adr/0015 says why these rules.
"""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.errors import ModelError, one_line
from churn_assets.model.gate import slices
from churn_assets.model.gate.decision import TITLES, Decision, Difference
from churn_assets.model.gate.slices import Slice
from churn_assets.model.metrics import bootstrap, evaluation
from churn_assets.model.metrics.bootstrap import Ranking, Sampling, numbered
from churn_assets.model.metrics.evaluation import CostMatrix, Vector

if TYPE_CHECKING:
    import pandas as pd

# What must be better beyond noise, and what must not be worse beyond it.
MUST_WIN = {"champion": ("brier",), "recency": ("brier", "roc_auc")}
MUST_NOT_LOSE = {
    "champion": ("roc_auc", "pr_auc", "calibration_error", "lift_10", "profit"),
    "recency": (),
}

COLUMNS = ("user_id", "label", "account_age_days")


def decide(  # noqa: PLR0913 - three models, and what judges them
    holdout: "pd.DataFrame",
    challenger: "Vector",
    champion: "Vector | None",
    floor: "Vector",
    *,
    costs: CostMatrix,
    slice_floor: float,
    formula: "Vector | None" = None,
    alarms: Iterable[str] = (),
    replicates: int = 200,
    seed: int = 0,
) -> Decision:
    """Compare a challenger with the champion, or with recency alone where there is no champion.

    Never raises an Exception: what fails refuses the promotion, and the reason says what it was.

    Args:
        holdout: user_id, label, account_age_days and, perhaps, country (str or None) of each row.
        challenger: probabilities of churn in the holdout's order.
        champion: those of the Production model; None where there is none.
        floor: those of recency alone.
        costs: what a contact costs and gains.
        slice_floor: the ROC AUC that each slice must be able to reach.
        formula: probabilities of BG/NBD, to be shown beside the others.
        alarms: sentences that refuse by themselves, such as those of ``leakage.alarms``.
        replicates: draws of the bootstrap.
        seed: of the bootstrap.
    """
    against = "recency" if champion is None else "champion"
    models = {"challenger": challenger, "floor": floor} | ({} if champion is None else {"champion": champion})
    found: dict[str, Any] = {}
    shown: dict[str, float] = {}
    refusals: list[str] = []
    merits: list[str] = []
    try:
        refusals += alarms
        _require_judgeable(holdout, slice_floor)
        usable = {}
        for name, given in models.items():
            usable[name] = np.asarray(given, "float64")
            found[name], problems = _metrics(name, holdout, usable[name], costs)
            refusals += problems
        if formula is not None:
            # Nothing is decided by it here: who may be a first model has been before.
            shown, _ = _metrics("formula", holdout, np.asarray(formula, "float64"), costs)
        if all(found.values()):
            ours, theirs = usable["challenger"], usable.get("champion")
            sampling = Sampling(replicates, seed)
            found["differences"] = _differences(
                holdout, ours, usable["floor"] if theirs is None else theirs, costs, sampling
            )
            refusals += _losses(found["differences"], against)
            found["slices"], shortcomings = slices.judge(holdout, ours, theirs, slice_floor, sampling)
            refusals += shortcomings
            merits += _merits(found["differences"], found["slices"], against)
    except Exception as error:  # noqa: BLE001 - the gate fails closed
        refusals.append(f"The comparison failed: {_reason(error)}")
    return Decision(bool(merits) and not refusals, tuple(refusals or merits), against, **found, formula=shown)


def beats(
    holdout: "pd.DataFrame", challenger: "Vector", other: "Vector", costs: CostMatrix, seed: int = 0
) -> bool:
    """Whether a model is better than another beyond noise, in Brier score and ROC AUC.

    Args:
        holdout: user_id and label of each row.
        challenger: probabilities of churn in the holdout's order.
        other: those of the other.
        costs: what a contact costs and gains.
        seed: of the bootstrap.
    """
    found = {one.metric: one for one in _differences(holdout, challenger, other, costs, Sampling(200, seed))}
    return found["brier"].is_better and found["roc_auc"].is_better


def _require_judgeable(holdout: "pd.DataFrame", slice_floor: float) -> None:
    missing = [name for name in COLUMNS if name not in holdout]
    if missing:
        raise ModelError(f"the holdout has no column {', '.join(missing)}.")
    if holdout.empty:
        raise ModelError("the holdout has no row. Look at gold.churn_labels for the last mature dates.")
    label = holdout["label"].to_numpy("float64")
    if np.asarray(holdout["user_id"].isna()).any() or not np.isin(label, [0, 1]).all():
        raise ModelError("the holdout has rows without user_id, or whose label is neither 0 nor 1.")
    if problem := slices.too_small(numbered(holdout["user_id"]), label):
        raise ModelError(f"the holdout has {problem}. Wait for more mature dates or users.")
    if not math.isfinite(slice_floor):
        raise ModelError(f"CHURN_GATE_SLICE_AUC={slice_floor} is not a number.")


def _metrics(
    name: str, holdout: "pd.DataFrame", probability: Vector, costs: CostMatrix
) -> tuple[dict[str, float], list[str]]:
    """The metrics that are finite numbers, or none, and why others are missing."""
    whose = "The recency floor" if name == "floor" else f"The {name}"
    try:
        metrics = evaluation.evaluate(holdout["label"], probability, costs)
    except Exception as error:  # noqa: BLE001 - the gate fails closed
        return {}, [f"{whose} cannot be judged: {_reason(error)}"]
    missing = [metric for metric, value in metrics.items() if not math.isfinite(value)]
    if missing:
        listed = ", ".join(f"{metric} is {metrics[metric]}" for metric in missing)
        return {}, [f"{whose} cannot be judged: {listed}, where a number is expected."]
    return metrics, []


def _differences(
    holdout: "pd.DataFrame", challenger: Vector, other: Vector, costs: CostMatrix, sampling: Sampling
) -> tuple[Difference, ...]:
    user, label = numbered(holdout["user_id"]), holdout["label"].to_numpy("float64")
    users = int(user.max()) + 1
    rankings = [Ranking(user, label, one, costs) for one in (challenger, other)]
    ours, theirs = (ranking.metrics(np.ones(users)) for ranking in rankings)
    our_draws, their_draws = bootstrap.paired(rankings, users, sampling)
    found = tuple(
        Difference(
            metric,
            ours[metric],
            theirs[metric],
            *bootstrap.interval(our_draws[metric] - their_draws[metric]),
        )
        for metric in TITLES
    )
    unknown = [one.metric for one in found if not np.isfinite([one.low, one.high]).all()]
    if unknown:
        raise ModelError(f"the difference in {', '.join(unknown)} is not a number.")
    return found


def _losses(differences: tuple[Difference, ...], against: str) -> Iterator[str]:
    for one in differences:
        must_win = one.metric in MUST_WIN[against]
        if (must_win and not one.is_better) or (one.metric in MUST_NOT_LOSE[against] and one.is_worse):
            yield one.sentence(against)


def _merits(differences: tuple[Difference, ...], judged: tuple[Slice, ...], against: str) -> Iterator[str]:
    yield from (one.sentence(against) for one in differences if one.metric in MUST_WIN[against])
    if others := [TITLES[metric] for metric in MUST_NOT_LOSE[against]]:
        yield f"Nothing else is worse beyond noise: {', '.join(others)}."
    yield f"None of {len(judged)} slices falls short." if judged else "No slice is large enough to be judged."


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ModelError) else one_line(error, with_class=True)
