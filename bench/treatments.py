"""Whether measured save rates hold what they promise, on users whose true effects are known.

    python -m bench.treatments            # 300 runs of each case, about a minute
    python -m bench.treatments --runs 50

Users have a probability of churn that depends on their risk band, a contact saves another share of each band,
and who is reached depends on the risk, so that comparing the reached with the others would mislead. The first
part counts how often the 95 % interval covers the truth; the second compares the profit of a list by expected
gain with that of one by risk alone.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import beta

from churn_assets.retention.effect import Array, effect

BUDGETS = (0.01, 0.05, 0.2)
LEAST_COVERAGE = 0.93

# Each band's share of the listed users, its churn probabilities (a beta distribution), and the share of its
# would-be churners that a contact saves.
BANDS = {
    "high": (0.3, (9.0, 3.0), 0.12),
    "medium": (0.4, (6.0, 6.0), 0.25),
    "low": (0.3, (3.0, 9.0), 0.35),
}


@dataclass(frozen=True)
class Case:
    """A population and how contacts went.

    Attributes:
        users: listed users whose horizon is over.
        control_share: share of control in each of two months.
        reached: share of users to be contacted who are, at a probability of churn of 0.5.
        slope: how much less the risky are reached, a unit of probability.
        crossed: share of control that is contacted nevertheless.
        works: whether a contact changes anything.
        harder_month: how much of the staying probability is left in the second month.
    """

    name: str
    users: int = 6000
    control_share: tuple[float, float] = (0.1, 0.1)
    reached: float = 0.7
    slope: float = 0.5
    crossed: float = 0.0
    works: bool = True
    harder_month: float = 1.0


CASES = (
    Case("10 % control, 70 % reached"),
    Case("small: 1,500 users", users=1500),
    Case("everybody reached", reached=1.0, slope=0.0),
    Case("5 % of control contacted", crossed=0.05),
    Case("30 % reached", reached=0.3, slope=0.2),
    Case("no effect", works=False),
    Case(
        "control of 30 %, then 5 %, and a month in which more churn",
        control_share=(0.3, 0.05),
        harder_month=0.5,
    ),
)


def simulated(case: Case, generator: np.random.Generator) -> pd.DataFrame:
    """Draw one population; return its users, a row each, with the columns that ``effect`` counts."""
    bands = generator.choice(len(BANDS), case.users, p=[share for share, _, _ in BANDS.values()])
    shape = np.array([ab for _, ab, _ in BANDS.values()])[bands]
    risk = generator.beta(shape[:, 0], shape[:, 1])
    month = generator.integers(0, 2, case.users)
    is_contact = generator.random(case.users) >= np.array(case.control_share)[month]
    is_reachable = generator.random(case.users) < _reach(case, risk)
    treated = np.where(is_contact, is_reachable, is_reachable & (generator.random(case.users) < case.crossed))
    saved = np.array([rate for _, _, rate in BANDS.values()])[bands] * (treated & case.works)
    churn = (1 - (1 - risk) * np.where(month == 1, case.harder_month, 1.0)) * (1 - saved)
    by_phone = generator.random(case.users) < 0.4
    return pd.DataFrame(
        {
            "risk_band": np.array(list(BANDS))[bands],
            "month": np.where(month == 1, "2026-02", "2026-01"),
            "is_contact": is_contact,
            "channel": pd.Series(np.where(by_phone, "phone", "email")).where(treated),
            "churned": generator.random(case.users) < churn,
        }
    )


def counted(users: pd.DataFrame) -> pd.DataFrame:
    """Count equal users, as ``transforms.treatments`` does in the engine."""
    columns = ["risk_band", "month", "is_contact", "channel", "churned"]
    numbered = users.assign(users=1).groupby(columns, dropna=False)["users"].sum()
    return pd.DataFrame(numbered).reset_index()


def true_save_rate(case: Case, bands: tuple[str, ...] = tuple(BANDS)) -> float:
    """Return the share of would-be churners among those who can be reached whom a contact saves."""
    saved = would_churn = 0.0
    grid = (np.arange(20_000) + 0.5) / 20_000
    for band in bands:
        share, (a, b), rate = BANDS[band]
        risk = beta.ppf(grid, a, b)
        for left in (1.0, case.harder_month):
            churners = share * float(np.mean((1 - (1 - risk) * left) * _reach(case, risk)))
            would_churn += churners
            saved += churners * rate * case.works
    return saved / would_churn


def _reach(case: Case, risk: Array) -> Array:
    return np.clip(case.reached - case.slope * (risk - 0.5), 0, 1)


def coverage(case: Case, runs: int, seed: int = 0) -> dict[str, float]:
    """Return the share of runs whose interval covers the truth, and what a naive comparison would say."""
    truth, covered, above = true_save_rate(case), 0, 0
    values, widths, by_phone, naive = [], [], [], []
    for run in range(runs):
        users = simulated(case, np.random.default_rng([seed, run]))
        counts = counted(users)
        found = effect(counts).of_contact
        if found is None:
            continue
        values.append(found.value)
        widths.append(found.high - found.low)
        covered += found.low <= truth <= found.high
        above += found.low > 0
        phone = effect(counts, channel="phone").of_contact
        if phone is not None:
            by_phone.append(phone.low <= truth <= phone.high)
        treated = users["channel"].notna()
        naive.append(1 - users["churned"][treated].mean() / users["churned"][~treated].mean())
    return {
        "truth": truth,
        "estimates": len(values),
        "mean": float(np.mean(values)),
        "width": float(np.mean(widths)),
        "covered": covered / len(values),
        "phone estimates": len(by_phone),
        "covered by phone": float(np.mean(by_phone)),
        "above 0": above / len(values),
        "reached against not": float(np.mean(naive)),
    }


def profits(correlation: float, runs: int, users: int = 10_000, seed: int = 0) -> Iterator[dict[str, float]]:
    """Yield, for each budget, the mean profit of both rankings and the share of runs in which gain is ahead.

    Amounts are lognormal (median 50, spread 1); ``correlation`` is that of their logarithm with the log-odds
    of churn. Ranked by a model that sees these log-odds with an error; paid by the truth.
    """
    cost, assumed = 1.0, true_save_rate(CASES[0])
    rates = np.array([rate for _, _, rate in BANDS.values()])
    gained: dict[float, list[tuple[float, float]]] = {budget: [] for budget in BUDGETS}
    for run in range(runs):
        generator = np.random.default_rng([seed, run])
        logit, noise = generator.normal(-1, 1.2, users), generator.normal(0, 1, users)
        standard = (logit + 1) / 1.2
        value = 50 * np.exp(correlation * standard + np.sqrt(1 - correlation**2) * noise)
        risk, seen = _sigmoid(logit), _sigmoid(logit + generator.normal(0, 0.6, users))
        band = np.digitize(-risk, [-0.6, -0.3])
        churned = generator.random(users) < risk
        saved = churned & (generator.random(users) < rates[band])
        profit = saved * value - cost
        gain = seen * assumed * value - cost
        by_gain, by_risk = np.argsort(-gain), np.argsort(-seen)
        for budget in BUDGETS:
            size = int(budget * users)
            listed = by_gain[:size][gain[by_gain[:size]] > 0]
            gained[budget].append((float(profit[listed].sum()), float(profit[by_risk[:size]].sum())))
    for budget, pairs in gained.items():
        both = np.array(pairs)
        yield {
            "budget": budget,
            "by gain": float(both[:, 0].mean()),
            "by risk": float(both[:, 1].mean()),
            "at least as much": float((both[:, 0] >= both[:, 1]).mean()),
        }


def _sigmoid(logit: Array) -> Array:
    return 1 / (1 + np.exp(-logit))


def main() -> None:
    """Print both parts, and fail where an interval covers the truth too rarely or a list earns less."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--case", help="only cases with this in their name")
    given = parser.parse_args()
    runs, failures = given.runs, []
    for case in (case for case in CASES if (given.case or "") in case.name):
        found = coverage(case, runs)
        print(
            case.name + ": " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True
        )
        if found["covered"] < LEAST_COVERAGE:
            failures.append(case.name)
    for correlation in (0.0, 0.5, -0.5):
        for found in profits(correlation, runs):
            print(f"amounts correlated {correlation:+.1f} with risk: {found}", flush=True)
            if found["by gain"] < found["by risk"]:
                failures.append(f"budget {found['budget']}, correlation {correlation}")
    if failures:
        raise SystemExit(f"Not as promised: {'; '.join(failures)}")


if __name__ == "__main__":
    main()
