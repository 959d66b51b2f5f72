"""The gate: a challenger becomes Production only where it is shown to be better.

It decides from probabilities alone and knows neither MLflow nor how a model was made, so that the same arrays
always give the same decision. docs/adr/0015 gives the reasons for the rules.
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
from churn_assets.model.metrics.bootstrap import Ranking, Sampling, user_numbers
from churn_assets.model.metrics.evaluation import CostMatrix, Vector

if TYPE_CHECKING:
    import pandas as pd

# The metrics that must be better beyond noise, and those that must not be worse beyond noise.
MUST_WIN = {"champion": ("brier",), "recency": ("brier", "roc_auc")}
MUST_NOT_LOSE = {
    "champion": ("roc_auc", "pr_auc", "calibration_error", "lift_10", "profit"),
    "recency": (),
}

COLUMNS = ("user_id", "label", "account_age_days")


def decide(  # noqa: PLR0913 - four models, and the rules
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

    Never raises an Exception: an error refuses the promotion, and is its reason.

    Args:
        holdout: user_id, label, account_age_days and, perhaps, country (str or None) of each row.
        challenger: probabilities of churn, shape (rows,), in the holdout's order.
        champion: the same of the Production model; None where there is none.
        floor: the same of recency alone.
        costs: what a contact costs and gains.
        slice_floor: the ROC AUC that each slice must be able to reach.
        formula: the same of BG/NBD, to be shown beside the others; it decides nothing.
        alarms: sentences that refuse by themselves, such as those of ``leakage.alarms``.
        replicates: draws of the bootstrap.
        seed: of the bootstrap.
    """
    against = "recency" if champion is None else "champion"
    models = {"challenger": challenger, "floor": floor} | ({} if champion is None else {"champion": champion})
    results: dict[str, Any] = {}
    formula_metrics: dict[str, float] = {}
    refusals: list[str] = []
    merits: list[str] = []
    notes: tuple[str, ...] = ()
    try:
        refusals += alarms
        _require_judgeable(holdout, slice_floor)
        probabilities = {}
        for name, probability in models.items():
            probabilities[name] = np.asarray(probability, "float64")
            results[name], problems = _metrics(name, holdout, probabilities[name], costs)
            refusals += problems
        if formula is not None:
            # Whether the first model must beat it was decided before: judging.first_model.
            formula_metrics, _ = _metrics("formula", holdout, np.asarray(formula, "float64"), costs)
        if all(results.values()):
            ours, theirs = probabilities["challenger"], probabilities.get("champion")
            sampling = Sampling(replicates, seed)
            results["differences"] = _differences(
                holdout, ours, probabilities["floor"] if theirs is None else theirs, costs, sampling
            )
            refusals += _losses(results["differences"], against)
            results["slices"], shortcomings = slices.judge(holdout, ours, theirs, slice_floor, sampling)
            refusals += shortcomings
            merits += _merits(results["differences"], results["slices"], against)
            over_floor = results["differences"] if theirs is None else ()
            # The bootstrap is dear, and hardly ever is recency better.
            if theirs is not None and results["challenger"]["log_loss"] > results["floor"]["log_loss"]:
                over_floor = _differences(holdout, ours, probabilities["floor"], costs, sampling)
            notes = tuple(_notes(results["differences"], over_floor, against))
    except Exception as error:  # noqa: BLE001 - the gate fails closed
        refusals.append(f"The comparison failed: {_reason(error)}")
    is_promoted = bool(merits) and not refusals
    return Decision(
        is_promoted, tuple(refusals or merits), against, **results, formula=formula_metrics, notes=notes
    )


def beats(
    holdout: "pd.DataFrame", challenger: "Vector", other: "Vector", costs: CostMatrix, seed: int = 0
) -> bool:
    """Tell whether a model is better than another beyond noise, in Brier score and ROC AUC.

    Args:
        holdout: user_id and label of each row.
        challenger: probabilities of churn, shape (rows,), in the holdout's order.
        other: the same of the other model.
        costs: what a contact costs and gains.
        seed: of the bootstrap.
    """
    differences = _differences(holdout, challenger, other, costs, Sampling(200, seed))
    is_better = {difference.metric: difference.is_better for difference in differences}
    return is_better["brier"] and is_better["roc_auc"]


def _require_judgeable(holdout: "pd.DataFrame", slice_floor: float) -> None:
    missing = [name for name in COLUMNS if name not in holdout]
    if missing:
        raise ModelError(f"the holdout has no column {', '.join(missing)}.")
    if holdout.empty:
        raise ModelError("the holdout has no row. Look at gold.churn_labels for the last mature dates.")
    label = holdout["label"].to_numpy("float64")
    if np.asarray(holdout["user_id"].isna()).any() or not np.isin(label, [0, 1]).all():
        raise ModelError("the holdout has rows without user_id, or whose label is neither 0 nor 1.")
    if problem := slices.size_problem(user_numbers(holdout["user_id"]), label):
        raise ModelError(f"the holdout has {problem}. Wait for more mature dates or users.")
    if not math.isfinite(slice_floor):
        raise ModelError(f"CHURN_GATE_SLICE_AUC={slice_floor} is not a number.")


def _metrics(
    name: str, holdout: "pd.DataFrame", probability: Vector, costs: CostMatrix
) -> tuple[dict[str, float], list[str]]:
    """Return the metrics and no problem, or no metrics and the problem."""
    subject = "The recency floor" if name == "floor" else f"The {name}"
    try:
        metrics = evaluation.evaluate(holdout["label"], probability, costs)
    except Exception as error:  # noqa: BLE001 - the gate fails closed
        return {}, [f"{subject} cannot be judged: {_reason(error)}"]
    missing = [metric for metric, value in metrics.items() if not math.isfinite(value)]
    if missing:
        listed = ", ".join(f"{metric} is {metrics[metric]}" for metric in missing)
        return {}, [f"{subject} cannot be judged: {listed}, where a number is expected."]
    return metrics, []


def _differences(
    holdout: "pd.DataFrame", challenger: Vector, other: Vector, costs: CostMatrix, sampling: Sampling
) -> tuple[Difference, ...]:
    user, label = user_numbers(holdout["user_id"]), holdout["label"].to_numpy("float64")
    users = int(user.max()) + 1
    rankings = [Ranking(user, label, probability, costs) for probability in (challenger, other)]
    ours, theirs = (ranking.metrics(np.ones(users)) for ranking in rankings)
    our_draws, their_draws = bootstrap.paired_draws(rankings, users, sampling)
    differences = tuple(
        Difference(
            metric,
            ours[metric],
            theirs[metric],
            *bootstrap.interval(our_draws[metric] - their_draws[metric]),
        )
        for metric in TITLES
    )
    unknown = [d.metric for d in differences if not np.isfinite([d.low, d.high]).all()]
    if unknown:
        raise ModelError(f"the difference in {', '.join(unknown)} is not a number.")
    return differences


def _losses(differences: tuple[Difference, ...], against: str) -> Iterator[str]:
    for difference in differences:
        lacks_win = difference.metric in MUST_WIN[against] and not difference.is_better
        if lacks_win or (difference.metric in MUST_NOT_LOSE[against] and difference.is_worse):
            yield difference.sentence(against)


def _merits(differences: tuple[Difference, ...], judged: tuple[Slice, ...], against: str) -> Iterator[str]:
    yield from (d.sentence(against) for d in differences if d.metric in MUST_WIN[against])
    if others := [TITLES[metric] for metric in MUST_NOT_LOSE[against]]:
        yield f"Nothing else is worse beyond noise: {', '.join(others)}."
    yield f"None of {len(judged)} slices falls short." if judged else "No slice is large enough to be judged."


def _notes(
    differences: tuple[Difference, ...], over_floor: tuple[Difference, ...], against: str
) -> Iterator[str]:
    """Say what is worse and yet decides nothing, and a log loss above recency's, be it by noise."""
    with_a_say = {*MUST_WIN[against], *MUST_NOT_LOSE[against]}
    said = [(d, against) for d in differences if d.is_worse and d.metric not in with_a_say]
    said += [(d, "recency") for d in over_floor if d.metric == "log_loss" and d.challenger > d.champion]
    for difference, opponent in dict.fromkeys(said):
        yield f"{difference.sentence(opponent)} This refuses nothing."


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ModelError) else one_line(error, with_class=True)
