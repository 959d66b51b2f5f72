"""The parts of the holdout in which a model must not fail, however good it is as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.errors import ModelError
from churn_assets.model.metrics import bootstrap
from churn_assets.model.metrics.bootstrap import CONFIDENCE, Ranking, Sampling, numbered
from churn_assets.model.metrics.evaluation import Vector

if TYPE_CHECKING:
    import pandas as pd

# With less than this a slice's AUC says more about chance than about the model.
LEAST_ROWS = 200
LEAST_USERS_OF_EACH_LABEL = 20

ACCOUNT_AGES = {"0-29": (0, 29), "30-89": (30, 89), "90-179": (90, 179), "180+": (180, np.inf)}

# What two ways to sum the same numbers may differ by.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class Slice:
    """How well the challenger ranks one part of the holdout; low and high are its AUC's 95 % interval."""

    name: str
    rows: int
    churn_rate: float
    roc_auc: float
    low: float
    high: float
    champion_roc_auc: float | None


def too_small(user_id: np.ndarray, label: np.ndarray) -> str:
    """Why so few rows cannot judge a model; empty where they can."""
    stayed, churned = (len(np.unique(user_id[label == one])) for one in (0, 1))
    if len(label) >= LEAST_ROWS and min(stayed, churned) >= LEAST_USERS_OF_EACH_LABEL:
        return ""
    return (
        f"{len(label):,} rows of {churned:,} churned and {stayed:,} staying users; "
        f"it takes {LEAST_ROWS} rows and {LEAST_USERS_OF_EACH_LABEL} users of each"
    )


def judge(
    holdout: "pd.DataFrame", challenger: Vector, champion: Vector | None, floor: float, sampling: Sampling
) -> tuple[tuple[Slice, ...], tuple[str, ...]]:
    """Look at each slice that is large enough: ages of the account, and countries where they are known.

    Args:
        holdout: user_id, label, account_age_days and, perhaps, country.
        challenger: probabilities in the holdout's order.
        champion: the same, or None.
        floor: the AUC that each slice must reach, or may reach by its interval.
        sampling: of the bootstrap.

    Returns:
        The slices, and a sentence for each in which the challenger is not good enough.

    Raises:
        ModelError: an age is missing or negative, or an AUC is not a number.
    """
    user, label = numbered(holdout["user_id"]), holdout["label"].to_numpy("float64")
    parts = {name: at for name, at in _parts(holdout).items() if not too_small(user[at], label[at])}
    models = [challenger] if champion is None else [challenger, champion]
    rankings = [[Ranking(user[at], label[at], model[at]) for model in models] for at in parts.values()]
    drawn = np.array([_aucs(rankings, weight) for weight in sampling.draws(user.max() + 1)])
    aucs = _aucs(rankings, np.ones(user.max() + 1))
    found, shortcomings = [], []
    for number, (name, at) in enumerate(parts.items()):
        ours = drawn[:, number, 0]
        low, high = bootstrap.interval(ours)
        if not np.isfinite([*aucs[number], low, high]).all():
            raise ModelError(f"the ROC AUC of the slice {name} is not a number.")
        auc, champion_auc = aucs[number] if champion is not None else (aucs[number][0], None)
        one = Slice(name, int(at.sum()), float(label[at].mean()), auc, low, high, champion_auc)
        found.append(one)
        shortcomings += _below_floor(one, floor)
        if champion is not None:
            shortcomings += _worse(one, ours - drawn[:, number, 1], len(parts))
    return tuple(found), tuple(shortcomings)


def _parts(holdout: "pd.DataFrame") -> dict[str, np.ndarray]:
    """Which rows each slice has."""
    ages = holdout["account_age_days"].to_numpy("float64")
    unusable = int((~(ages >= 0)).sum())
    if unusable:
        raise ModelError(f"account_age_days is missing or below 0 in {unusable:,} of {len(ages):,} rows.")
    parts = {
        f"account age {name} days": (youngest <= ages) & (ages <= oldest)
        for name, (youngest, oldest) in ACCOUNT_AGES.items()
    }
    if "country" in holdout:
        country = holdout["country"]
        parts |= {f"country={one}": (country == one).to_numpy() for one in country.value_counts().index}
    return parts


def _aucs(rankings: list[list[Ranking]], weight: Vector) -> list[list[float]]:
    return [[ranking.roc_auc(weight) for ranking in models] for models in rankings]


def _below_floor(one: Slice, floor: float) -> Iterator[str]:
    if one.high < floor:
        yield (
            f"Slice {one.name} ({one.rows:,} rows): ROC AUC {one.roc_auc:.4f} (95 % {one.low:.4f} to "
            f"{one.high:.4f}) is below the floor of {floor:g}."
        )


def _worse(one: Slice, difference: Vector, slices: int) -> Iterator[str]:
    """Worse than the champion beyond the noise of so many looks.

    Of twenty slices in which nothing changed, one would be below a plain 95 % interval in four trainings of
    ten. With Bonferroni's correction it is one training in forty. So far out percentiles take thousands of
    draws; a normal distribution around the difference takes its spread alone.
    """
    found = one.roc_auc - (one.champion_roc_auc or 0.0)
    reach = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / slices) * float(difference.std(ddof=1))
    # Written so that what is not a number refuses.
    if not found + reach >= -NEGLIGIBLE:
        yield (
            f"Slice {one.name} ({one.rows:,} rows): ROC AUC {one.roc_auc:.4f} against "
            f"{one.champion_roc_auc:.4f} of the champion; the difference of {found:+.4f} "
            f"({found - reach:+.4f} to {found + reach:+.4f}, for {slices} slices) is worse beyond noise."
        )
