"""Slices: the parts of the holdout in which a model must not fail, however good it is on the whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.errors import ModelError
from churn_assets.model.metrics import bootstrap
from churn_assets.model.metrics.bootstrap import CONFIDENCE, Ranking, Sampling, user_numbers
from churn_assets.model.metrics.evaluation import Vector

if TYPE_CHECKING:
    import pandas as pd

# With less than this a slice's AUC says more about chance than about the model.
LEAST_ROWS = 200
LEAST_USERS_OF_EACH_LABEL = 20

ACCOUNT_AGES = {"0-29": (0, 29), "30-89": (30, 89), "90-179": (90, 179), "180+": (180, np.inf)}

# Two sums of the same numbers in different orders may differ by this much.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class Slice:
    """The challenger's ROC AUC on one part of the holdout, with its 95 % interval (low, high)."""

    name: str
    rows: int
    churn_rate: float
    roc_auc: float
    low: float
    high: float
    champion_roc_auc: float | None


def size_problem(user_id: np.ndarray, label: np.ndarray) -> str:
    """Return why rows are too few to judge a model, empty where they suffice; both of shape (rows,)."""
    stayed, churned = (len(np.unique(user_id[label == value])) for value in (0, 1))
    if len(label) >= LEAST_ROWS and min(stayed, churned) >= LEAST_USERS_OF_EACH_LABEL:
        return ""
    return (
        f"{len(label):,} rows of {churned:,} churned and {stayed:,} staying users; "
        f"it takes {LEAST_ROWS} rows and {LEAST_USERS_OF_EACH_LABEL} users of each"
    )


def judge(
    holdout: "pd.DataFrame", challenger: Vector, champion: Vector | None, floor: float, sampling: Sampling
) -> tuple[tuple[Slice, ...], tuple[str, ...]]:
    """Judge the challenger on each slice that is large enough: account ages, and countries where known.

    Args:
        holdout: user_id, label, account_age_days and, perhaps, country.
        challenger: probabilities of churn, shape (rows,), in the holdout's order.
        champion: the same, or Npart.
        floor: the AUC that the upper end of each slice's interval must reach.
        sampling: of the bootstrap.

    Returns:
        The slices, and a sentence for each shortcoming of the challenger.

    Raises:
        ModelError: an age is missing or negative, or an AUC is not a number.
    """
    user, label = user_numbers(holdout["user_id"]), holdout["label"].to_numpy("float64")
    members = _members_by_slice(holdout)
    members = {name: rows for name, rows in members.items() if not size_problem(user[rows], label[rows])}
    models = [challenger] if champion is None else [challenger, champion]
    rankings = [[Ranking(user[rows], label[rows], m[rows]) for m in models] for rows in members.values()]
    # Of shape (replicates, slices, models).
    drawn = np.array([_aucs(rankings, weight) for weight in sampling.draws(user.max() + 1)])
    aucs = _aucs(rankings, np.ones(user.max() + 1))
    slices, shortcomings = [], []
    for number, (name, rows) in enumerate(members.items()):
        ours = drawn[:, number, 0]
        low, high = bootstrap.interval(ours)
        if not np.isfinite([*aucs[number], low, high]).all():
            raise ModelError(f"the ROC AUC of the slice {name} is not a number.")
        auc, champion_auc = aucs[number] if champion is not None else (aucs[number][0], None)
        part = Slice(name, int(rows.sum()), float(label[rows].mean()), auc, low, high, champion_auc)
        slices.append(part)
        shortcomings += _below_floor(part, floor)
        if champion is not None:
            shortcomings += _worse(part, ours - drawn[:, number, 1], len(members))
    return tuple(slices), tuple(shortcomings)


def _members_by_slice(holdout: "pd.DataFrame") -> dict[str, np.ndarray]:
    """Return for each slice a boolean of each row, shape (rows,): whether it is in the slice."""
    ages = holdout["account_age_days"].to_numpy("float64")
    unusable = int((~(ages >= 0)).sum())
    if unusable:
        raise ModelError(f"account_age_days is missing or below 0 in {unusable:,} of {len(ages):,} rows.")
    members = {
        f"account age {name} days": (youngest <= ages) & (ages <= oldest)
        for name, (youngest, oldest) in ACCOUNT_AGES.items()
    }
    if "country" in holdout:
        country = holdout["country"]
        members |= {f"country={code}": (country == code).to_numpy() for code in country.value_counts().index}
    return members


def _aucs(rankings: list[list[Ranking]], weight: Vector) -> list[list[float]]:
    """Return the AUC of each slice and model under one weight a user, shape (users,)."""
    return [[ranking.roc_auc(weight) for ranking in models] for models in rankings]


def _below_floor(part: Slice, floor: float) -> Iterator[str]:
    if part.high < floor:
        yield (
            f"Slice {part.name} ({part.rows:,} rows): ROC AUC {part.roc_auc:.4f} (95 % {part.low:.4f} to "
            f"{part.high:.4f}) is below the floor of {floor:g}."
        )


def _worse(part: Slice, difference: Vector, slices: int) -> Iterator[str]:
    """Yield a sentence where a slice is worse than the champion's beyond the noise of so many comparisons.

    Of twenty slices in which nothing changed, one would be below a plain 95 % interval in four trainings of
    ten. With Bonferroni's correction it is one training in forty. Percentiles that far out take thousands of
    draws; a normal distribution around the difference takes only its standard deviation.
    """
    change = part.roc_auc - (part.champion_roc_auc or 0.0)
    reach = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / slices) * float(difference.std(ddof=1))
    # Negated, so that NaN refuses.
    if not change + reach >= -NEGLIGIBLE:
        yield (
            f"Slice {part.name} ({part.rows:,} rows): ROC AUC {part.roc_auc:.4f} against "
            f"{part.champion_roc_auc:.4f} of the champion; the difference of {change:+.4f} "
            f"({change - reach:+.4f} to {change + reach:+.4f}, for {slices} slices) is worse beyond noise."
        )
