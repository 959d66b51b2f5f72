"""Whom a contact saves, and whether a list in that order earns more than one in the order of risk.

Two models of churn are fitted on the features at the date of the list, one on the users that the lot gave to
be contacted and one on the control group; the difference of their probabilities is a user's uplift (a
T-learner: Künzel, Sekhon, Bickel and Yu, "Metalearners for estimating heterogeneous treatment effects using
machine learning", 2019). By assignment, as in ``effect``: those who are reached differ from those who are
not, and the lot does not.

Both orders are compared on users who were listed later than those that the models were fitted on. What a
user would have done in the other lot is not known, so a contact's effect on each of them is estimated by what
the models say, and by what they got wrong, weighted by the chance of the user's lot (augmented inverse
probability weighting: Robins, Rotnitzky and Zhao, "Estimation of regression coefficients when some regressors
are not always observed", 1994). As the lot's chances are known, that has no bias, however wrong the models.
"""

from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from churn_assets.model.candidates import estimators
from churn_assets.model.data.dataset import features_in
from churn_assets.model.metrics.bootstrap import Sampling, interval
from churn_assets.retention.effect import MINIMUM_CHURNERS, MINIMUM_USERS, SEED, Array, comparable_cells

# The smallest of the own estimators that takes missing values. Far more regularised than by default: a
# control group is small, and what its model takes for a difference between users is mostly chance.
ESTIMATOR = "log_logistic_regression"
PARAMS = {"C": 0.01}

# For the same reason a user's uplift is half what the models say of the user, and half what one save rate for
# all says. Such a list earned a tenth more than one by the models alone where users differ, and lost half as
# much where they do not: docs/adr/0062.
OWN_SHARE = 0.5

# Users in the order of their lists' dates; each block but the first is judged by models of those before it.
BLOCKS = 3

REPLICATES = 1000


class Comparison(NamedTuple):
    """What a list ranked by uplift earns more than one ranked by risk.

    ``uplift_gain`` is the money for each listed user, as the mean over all budgets from none to everybody
    (the area between both gain curves), with its 95 % interval. Without them, ``uplift_reason`` says why.
    Names are those of ``gold.treatment_outcomes``.
    """

    uplift_gain: float | None = None
    uplift_gain_low: float | None = None
    uplift_gain_high: float | None = None
    uplift_reason: str | None = None


class TLearner:
    """A model of churn for each lot, and the share of would-be churners whom being assigned saves, of all."""

    def __init__(self, contact: Any, control: Any, features: list[str], rate: float) -> None:
        self._contact, self._control, self._features, self._rate = contact, control, features, rate

    @classmethod
    def fitted(cls, rows: pd.DataFrame) -> Self:
        """Fit both.

        Args:
            rows: is_contact (bool, the lot), churned (bool), churn_probability (that of the list), and
                features, a user a row.
        """
        features = _inputs(rows)
        lots = rows.loc[rows["is_contact"]], rows.loc[~rows["is_contact"]]
        contact, control = (
            estimators.make(ESTIMATOR, PARAMS).fit(lot[features], lot["churned"].astype("int64"))
            for lot in lots
        )
        saved = lots[1]["churned"].mean() - lots[0]["churned"].mean()
        return cls(contact, control, features, saved / rows["churn_probability"].mean())

    def churn(self, rows: pd.DataFrame) -> tuple[Array, Array]:
        """Return each user's probability of churn if assigned to be contacted, and if to control."""
        given = rows[self._features]
        return self._contact.predict_proba(given)[:, 1], self._control.predict_proba(given)[:, 1]

    def uplift(self, rows: pd.DataFrame, reached: float) -> Array:
        """Return by how much a contact lowers each user's probability of churn, shape (rows,).

        Args:
            rows: churn_probability and the features that it was fitted on.
            reached: share of users whose contact the lot decides, above 0: being assigned does less than a
                contact, by that.

        Returns:
            Negative where contacts drive users away, and never more than there is to save.
        """
        return self.saved(*self.churn(rows), rows["churn_probability"].to_numpy("float64"), reached)

    def saved(self, contact: Array, control: Array, risk: Array, reached: float) -> Array:
        """Return the same of what ``churn`` returned, and the users' risk."""
        saved = OWN_SHARE * (control - contact) + (1 - OWN_SHARE) * self._rate * risk
        return np.minimum(saved / reached, risk)


def compared(rows: pd.DataFrame, reached: float, seed: int = SEED) -> Comparison:
    """Compare a list ranked by uplift with one ranked by risk, both times by value.

    Args:
        rows: what ``TLearner.fitted`` takes, with user_id, feature_date (date, of the list), value (money).
        reached: share of users whose contact the lot decides.
        seed: of the bootstrap, which draws users; both lists have the same draws.
    """
    if rows.empty:
        return Comparison(uplift_reason="no listed user has both a label and features")
    rows = rows.sort_values(["feature_date", "user_id"], kind="stable", ignore_index=True)
    rows = rows.assign(contact_share=_contact_share(rows))
    block = _blocks(rows)
    more, lacks = [], []
    judged = np.zeros(len(rows), dtype=bool)
    for number in range(1, BLOCKS):
        earlier, later = rows.loc[block < number], rows.loc[block == number]
        if later.empty:
            continue
        if lack := too_few(earlier):
            lacks.append(f"{lack}, before {later['feature_date'].iloc[0]}")
            continue
        more.append(_gained_more(TLearner.fitted(earlier), later, reached))
        judged |= block == number
    if not more:
        only = f"all {len(rows):,} users were first listed around {rows['feature_date'].iloc[0]}: none later"
        return Comparison(uplift_reason=lacks[-1] if lacks else only)
    if lack := too_few(rows.loc[judged]):
        return Comparison(uplift_reason=f"{lack}, from {rows.loc[judged, 'feature_date'].iloc[0]} on")
    of_users = np.concatenate(more)
    draws = Sampling(REPLICATES, seed).draws(len(of_users))
    drawn = np.array([weight @ of_users for weight in draws]) / len(of_users)
    return Comparison(float(of_users.mean()), *interval(drawn))


def too_few(rows: pd.DataFrame) -> str | None:
    """Say what there is too little of for a model of each lot; None where there is enough."""
    for is_contact, words in ((False, "in the control group"), (True, "to be contacted")):
        churned = rows.loc[rows["is_contact"] == is_contact, "churned"]
        if len(churned) < MINIMUM_USERS:
            return f"only {len(churned):,} users {words}; {MINIMUM_USERS:,} are needed"
        for number, what in ((int(churned.sum()), "churned"), (int((~churned).sum()), "stayed")):
            if number < MINIMUM_CHURNERS:
                return f"only {number:,} users {words} {what}; {MINIMUM_CHURNERS:,} are needed"
    return None


def _inputs(rows: pd.DataFrame) -> list[str]:
    # The Production model knows more of the risk than a small control group can teach.
    return [*features_in(rows), "churn_probability"]


def _contact_share(rows: pd.DataFrame) -> Array:
    """Return each user's chance of the lot to be contacted: the share in the month, or in several alike."""
    of_month = pd.DataFrame(
        {
            "month": rows["feature_date"].astype("string").str[:7],
            "risk_band": "all",
            "is_contact": rows["is_contact"],
            "users": 1,
        }
    )
    return rows["is_contact"].groupby(comparable_cells(of_month)).transform("mean").to_numpy("float64")


def _blocks(rows: pd.DataFrame) -> np.ndarray:
    """Number rows in the order of dates from 0 to below ``BLOCKS``, shape (rows,); a date is in one block."""
    dates = pd.to_datetime(rows["feature_date"]).to_numpy()
    before = np.searchsorted(dates, dates, side="left")
    return before * BLOCKS // len(rows)


def _gained_more(learner: TLearner, later: pd.DataFrame, reached: float) -> Array:
    """Return what each user adds to the advantage of the ranking by uplift, in money; shape (rows,).

    A list with the first users of an order gains the sum of their effects; over all lengths, a user counts by
    the share of lengths at which the list has the user. What contacts cost is equal at equal lengths.
    """
    contact, control = learner.churn(later)
    churned = later["churned"].to_numpy("float64")
    share = later["contact_share"].to_numpy("float64")
    corrected = np.where(later["is_contact"], -(churned - contact) / share, (churned - control) / (1 - share))
    value, risk = (later[name].to_numpy("float64") for name in ("value", "churn_probability"))
    by_uplift = learner.saved(contact, control, risk, reached)
    return value * (control - contact + corrected) * (_places(by_uplift * value) - _places(risk * value))


def _places(score: Array) -> Array:
    """Return the share of all lengths of a list at which it has each row, the highest score first."""
    places = np.empty(len(score))
    places[np.argsort(-score, kind="stable")] = 1 - (np.arange(len(score)) + 0.5) / len(score)
    return places
