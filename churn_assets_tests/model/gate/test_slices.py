import numpy as np
import pandas as pd
import pytest

from churn_assets.errors import ModelError
from churn_assets.model.gate.slices import judge
from churn_assets.model.metrics.bootstrap import Sampling

SAMPLING = Sampling(replicates=200, seed=0)

ROWS = 1_200
GENERATOR = np.random.default_rng(2)
RATE = (np.arange(ROWS) % 300 + 0.5) / 300
LABEL = (GENERATOR.random(ROWS) < RATE).astype("int64")
BLURRED = np.clip(RATE + GENERATOR.normal(0, 0.1, ROWS), 0, 1)


def holdout(**columns: object) -> pd.DataFrame:
    """Users of one row each, by default all of one age."""
    return pd.DataFrame({"user_id": np.arange(ROWS), "label": LABEL, "account_age_days": 200.0, **columns})


def names(frame: pd.DataFrame) -> list[str]:
    found, _ = judge(frame, RATE, None, 0.55, SAMPLING)
    return [one.name for one in found]


def test_ages_of_the_account_are_four_slices():
    ages = np.repeat([0.0, 29.0, 30.0, 89.0, 90.0, 179.0, 180.0, 4_000.0], 150)

    found, shortcomings = judge(holdout(account_age_days=ages), RATE, None, 0.55, SAMPLING)

    assert [(one.name, one.rows) for one in found] == [
        ("account age 0-29 days", 300),
        ("account age 30-89 days", 300),
        ("account age 90-179 days", 300),
        ("account age 180+ days", 300),
    ]
    assert shortcomings == ()


def test_countries_are_slices_where_they_are_known():
    country = np.repeat(np.array(["GB", None, "DE"], dtype=object), [700, 200, 300])

    assert names(holdout(country=country)) == ["account age 180+ days", "country=GB", "country=DE"]


def test_a_slice_says_how_well_both_models_rank_it():
    (one,), _ = judge(holdout(), RATE, BLURRED, 0.55, SAMPLING)

    assert one.churn_rate == LABEL.mean()
    assert one.champion_roc_auc is not None
    assert one.low < one.champion_roc_auc < one.roc_auc < one.high


@pytest.mark.parametrize("rows", [199, 200])
def test_a_slice_is_judged_from_200_rows_on(rows: int):
    country = np.where(np.arange(ROWS) < rows, "GB", "elsewhere")

    assert ("country=GB" in names(holdout(country=country))) == (rows == 200)


@pytest.mark.parametrize("churned", [19, 20])
def test_a_slice_is_judged_from_20_users_of_each_label_on(churned: int):
    in_germany = np.arange(ROWS) < 200
    label = np.where(in_germany, np.arange(ROWS) < churned, LABEL)

    found = names(holdout(label=label, country=np.where(in_germany, "DE", "elsewhere")))

    assert ("country=DE" in found) == (churned == 20)


def test_many_rows_of_few_users_are_not_many_users():
    users = np.where(np.arange(ROWS) < 300, np.arange(ROWS) % 15, np.arange(ROWS))
    country = np.where(np.arange(ROWS) < 300, "GB", "elsewhere")

    assert "country=GB" not in names(holdout(user_id=users, country=country))


def test_a_slice_that_cannot_reach_the_floor_falls_short():
    ages = np.where(np.arange(ROWS) < 600, 10.0, 200.0)
    guessed = np.where(np.arange(ROWS) < 600, 1 - RATE, RATE)

    found, (shortcoming,) = judge(holdout(account_age_days=ages), guessed, None, 0.55, SAMPLING)

    assert found[0].high < 0.55 < found[1].low
    assert shortcoming == (
        f"Slice account age 0-29 days (600 rows): ROC AUC {found[0].roc_auc:.4f} "
        f"(95 % {found[0].low:.4f} to {found[0].high:.4f}) is below the floor of 0.55."
    )


def test_a_slice_that_may_reach_the_floor_does_not_fall_short():
    (one,), _ = judge(holdout(), BLURRED, None, 0.55, SAMPLING)

    _, below_its_auc = judge(holdout(), BLURRED, None, one.roc_auc + 0.001, SAMPLING)
    _, above_its_interval = judge(holdout(), BLURRED, None, one.high + 0.001, SAMPLING)

    assert (below_its_auc, len(above_its_interval)) == ((), 1)


def test_a_slice_worse_than_the_champions_falls_short():
    country = np.where(np.arange(ROWS) % 2 == 0, "GB", "DE")
    blurred_in_gb = np.where(country == "GB", BLURRED, RATE)
    blurred_in_de = np.where(country == "DE", BLURRED, RATE)

    found, (shortcoming,) = judge(holdout(country=country), blurred_in_gb, blurred_in_de, 0.55, SAMPLING)

    assert [one.name for one in found] == ["account age 180+ days", "country=GB", "country=DE"]
    assert shortcoming.startswith(f"Slice country=GB (600 rows): ROC AUC {found[1].roc_auc:.4f} against ")
    assert shortcoming.endswith(", for 3 slices) is worse beyond noise.")


def test_twenty_slices_that_differ_by_chance_do_not_fall_short():
    generator = np.random.default_rng(1)
    rows = 20 * 250
    rate = np.tile((np.arange(250) + 0.5) / 250, 20)
    frame = pd.DataFrame(
        {
            "user_id": np.arange(rows),
            "label": (generator.random(rows) < rate).astype("int64"),
            "account_age_days": 50.0,
            "country": np.repeat([f"C{number}" for number in range(20)], 250),
        }
    )
    one, other = (np.clip(rate + generator.normal(0, 0.1, rows), 0, 1) for _ in range(2))

    found, shortcomings = judge(frame, one, other, 0.55, SAMPLING)

    assert (len(found), shortcomings) == (21, ())


@pytest.mark.parametrize("age", [np.nan, -1.0])
def test_an_age_that_cannot_be_is_not_passed_over(age: float):
    ages = np.where(np.arange(ROWS) == 7, age, 10.0)

    with pytest.raises(ModelError, match=r"^account_age_days is missing or below 0 in 1 of 1,200 rows"):
        judge(holdout(account_age_days=ages), RATE, None, 0.55, SAMPLING)
