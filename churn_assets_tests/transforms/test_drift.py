import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from scipy import special

from churn_assets import settings as settings_module
from churn_assets import tables
from churn_assets.assets.drift import FEATURE_CHECK, judge
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.model.registry.drift_reference import drift, make_reference, reference_of
from churn_assets.sample.behaviour import PURCHASE, RateChange, events_of_day
from churn_assets.sample.population import draw_population, random_stream
from churn_assets.tables import FEATURE_COLUMNS, FEATURE_DRIFT
from churn_assets.transforms.activity import user_monthly_activity
from churn_assets.transforms.drift import CHI_SQUARE_999, COMPARED, Distribution, feature_drift
from churn_assets.transforms.features import user_features
from churn_assets_tests.rows import NOON, D, day, frame, rows_of

ANYTHING = Distribution(edges=(), shares=(1.0,), users=4)
NOTHING = Distribution(edges=(), shares=(), users=4, missing=1.0)
# Half of four users had an event on the day itself.
HALF_TODAY = {
    **dict.fromkeys(COMPARED, ANYTHING),
    **dict.fromkeys(("days_since_last_purchase", "amount_total"), NOTHING),
    "days_since_last_event": Distribution((0.5,), (0.5, 0.5), 4),
}


def drift_of(spark, days_since, references, *, version=1, scored=None):
    """Drift of D: users 1, 2, … with these days_since_last_event; the first so many, or all, are scored."""
    features = frame(
        spark,
        tables.USER_FEATURES,
        [(user, D, 9, 5, away, 0, 40, 2) for user, away in enumerate(days_since, 1)],
    )
    users = range(1, (scored or len(days_since)) + 1)
    predictions = frame(
        spark, tables.CHURN_PREDICTIONS, [(user, D, 0.25, False, NOON, version) for user in users]
    )
    table = feature_drift(features, predictions, references)
    assert table.dtypes == [(column.name, column.type) for column in FEATURE_DRIFT.columns]
    return {row["feature"]: row for row in table.collect()}


def test_psi_is_the_sum_over_bins_of_the_difference_times_the_logarithm_of_the_ratio(spark):
    rows = drift_of(spark, [0, 0, 0, 5], {1: HALF_TODAY})

    assert set(rows) == set(COMPARED)
    row = rows["days_since_last_event"]
    assert row["psi"] == pytest.approx(0.25 * math.log(0.75 / 0.5) - 0.25 * math.log(0.25 / 0.5), abs=1e-9)
    assert row["psi_by_chance"] == pytest.approx(10.828 * (1 / 4 + 1 / 4))
    assert (row["feature_date"], row["users"], row["model_version"]) == (D, 4, 1)


def test_equal_shares_and_a_feature_of_one_bin_have_no_drift(spark):
    rows = drift_of(spark, [0, 9, 0, 9], {1: HALF_TODAY})

    assert {row["psi"] for row in rows.values()} == {0.0}
    assert rows["event_count_30d"]["psi_by_chance"] == 0.0


def test_a_bin_without_a_user_counts_as_half_a_user(spark):
    rows = drift_of(spark, [0, 0, 0, 0], {1: HALF_TODAY})

    expected = 0.5 * math.log(1 / 0.5) + (0.125 - 0.5) * math.log(0.125 / 0.5)
    assert rows["days_since_last_event"]["psi"] == pytest.approx(expected, abs=1e-9)


def test_a_value_on_an_edge_belongs_to_the_bin_below(spark):
    on_the_edge = {**HALF_TODAY, "days_since_last_event": Distribution((3.0,), (0.5, 0.5), 4)}

    assert drift_of(spark, [3, 3, 4, 4], {1: on_the_edge})["days_since_last_event"]["psi"] == 0.0


def test_only_users_who_were_scored_count(spark):
    rows = drift_of(spark, [0, 0, 0, 5, 5, 5], {1: HALF_TODAY}, scored=4)

    assert rows["days_since_last_event"]["users"] == 4
    assert rows["days_since_last_event"]["psi"] == pytest.approx(0.274653072, abs=1e-9)


def test_each_date_is_compared_with_the_version_that_scored_it_and_others_have_no_row(spark):
    all_today = {**HALF_TODAY, "days_since_last_event": Distribution((0.5,), (0.75, 0.25), 4)}
    users = [(1, 0), (2, 0), (3, 0), (4, 5)]
    versions = {D: 1, day(1): 2, day(2): 3}
    features = [(user, date, 9, 5, away, 0, 40, 2) for date in versions for user, away in users]
    predictions = [
        (user, date, 0.25, False, NOON, version) for date, version in versions.items() for user, _ in users
    ]
    table = feature_drift(
        frame(spark, tables.USER_FEATURES, features),
        frame(spark, tables.CHURN_PREDICTIONS, predictions),
        {1: HALF_TODAY, 2: all_today},
    )

    of_recency = table.where("feature = 'days_since_last_event'")
    found = rows_of(of_recency.selectExpr("feature_date", "model_version", "round(psi, 6)"))
    assert found == [(D, 1, 0.274653), (day(1), 2, 0.0)]


def test_without_any_reference_there_are_no_rows(spark):
    assert drift_of(spark, [0, 1], {}) == {}


# A quarter of the users had no value.
SOME_WITHOUT = {
    **dict.fromkeys(COMPARED, ANYTHING),
    "days_since_last_event": Distribution((0.5,), (0.5, 0.25), 4, missing=0.25),
}


def test_what_has_no_value_is_a_bin_of_its_own(spark):
    as_before = drift_of(spark, [0, 0, 5, None], {1: SOME_WITHOUT})["days_since_last_event"]
    all_gone = drift_of(spark, [None] * 4, {1: SOME_WITHOUT})["days_since_last_event"]

    assert as_before["psi"] == 0.0
    assert as_before["psi_by_chance"] == pytest.approx(13.816 * (1 / 4 + 1 / 4))
    terms = [(q - p) * math.log(q / p) for q, p in ((0.125, 0.5), (0.125, 0.25), (1, 0.25))]
    assert all_gone["psi"] == pytest.approx(sum(terms), abs=1e-9)
    assert all_gone["users"] == 4


def test_a_column_that_becomes_null_is_noticed_though_it_never_was_before(spark):
    row = drift_of(spark, [0, None, 5, None], {1: HALF_TODAY})["days_since_last_event"]

    terms = [(q - p) * math.log(q / p) for q, p in ((0.25, 0.5), (0.25, 0.5), (0.5, 0.125))]
    assert row["psi"] == pytest.approx(sum(terms), abs=1e-9)
    assert row["psi_by_chance"] == pytest.approx(13.816 * (1 / 4 + 1 / 4))


def test_what_chance_does_is_chi_squares_quantile():
    assert CHI_SQUARE_999[1:] == pytest.approx(special.chdtri(np.arange(1, 11), 0.001), abs=5e-4)
    assert CHI_SQUARE_999[0] == 0


START = dt.date(2026, 1, 1)
USERS = 2_000
CHANGE = START + 100 * ONE_DAY


@pytest.fixture(scope="module")
def simulated_drift(spark) -> pd.DataFrame:
    """Drift of simulated users on the six dates before their visits halve and on the three from then on.

    By ``transforms`` from what they did each day; the reference is of dates well before.
    """
    population = draw_population(USERS, 240, seed=1)
    rates, days = RateChange(CHANGE, 0.5), []
    for number in range(103):
        date = START + number * ONE_DAY
        events = events_of_day(population, number, date, random_stream(1, number + 1), rates)
        found = pd.DataFrame({"user_id": events.user + 1, "is_purchase": events.event_type == PURCHASE})
        counted = found.groupby("user_id", as_index=False).agg(
            events=("is_purchase", "size"), purchases=("is_purchase", "sum")
        )
        counted.insert(1, "event_date", date)
        days.append(counted)
    activity = pd.concat(days)
    users = activity.groupby("user_id", as_index=False)["event_date"].agg(["min", "max"]).assign(country=None)
    activity_table = spark.createDataFrame(
        activity, "user_id bigint, event_date date, events bigint, purchases bigint"
    ).withColumn("amount", F.lit(None).cast("decimal(28,2)"))
    months = user_monthly_activity(activity_table, DateRange(START, CHANGE))
    users_table = spark.createDataFrame(
        users, "user_id bigint, first_seen_date date, last_seen_date date, country string"
    )

    def features(dates: DateRange) -> pd.DataFrame:
        return user_features(activity_table, months, users_table, dates).toArrow().to_pandas()

    train = features(DateRange(START + 30 * ONE_DAY, START + 60 * ONE_DAY))
    reference = reference_of(make_reference(train, score(train), train["user_id"]))
    after = DateRange(CHANGE - 6 * ONE_DAY, CHANGE + 2 * ONE_DAY)
    later = features(after)
    predictions = [
        (user, date, probability, False, NOON, 1)
        for user, date, probability in zip(
            later["user_id"].tolist(), later["feature_date"].tolist(), score(later).tolist(), strict=True
        )
    ]
    by_engine = feature_drift(
        user_features(activity_table, months, users_table, after),
        frame(spark, tables.CHURN_PREDICTIONS, predictions),
        {1: reference},
    ).toPandas()
    here = [
        {"feature_date": date, "feature": name, "psi_here": psi, "by_chance_here": by_chance}
        for date, of_date in later.groupby("feature_date")
        for name, psi, by_chance in drift(reference, of_date, score(of_date))
    ]
    return by_engine.merge(pd.DataFrame(here), how="outer", on=["feature_date", "feature"])


def score(rows: pd.DataFrame) -> np.ndarray:
    """Some probability that falls with activity and rises with silence."""
    return 1 / (1 + np.exp(1 - rows["days_since_last_event"] / 5 + rows["event_count_30d"] / 20)).to_numpy()


def test_the_engine_and_numpy_agree_to_nine_digits(simulated_drift):
    assert len(simulated_drift) == 9 * len(COMPARED)
    assert simulated_drift["psi"].tolist() == pytest.approx(simulated_drift["psi_here"].tolist(), abs=2e-9)
    assert simulated_drift["psi_by_chance"].tolist() == pytest.approx(
        simulated_drift["by_chance_here"].tolist(), abs=2e-9
    )


def test_the_check_fails_within_three_dates_of_halved_visits_and_not_before(simulated_drift):
    settings = settings_module.load(_env_file=None, drift_warn=0.05, drift_fail=0.065)
    passed = {}
    for date, rows in simulated_drift.groupby("feature_date"):
        passed[date] = judge(FEATURE_CHECK, rows.to_dict("records"), settings).passed

    assert [passed[CHANGE - back * ONE_DAY] for back in range(6, 0, -1)] == [True] * 6
    assert not all(passed[CHANGE + ahead * ONE_DAY] for ahead in range(3))


def test_account_age_grows_with_the_calendar_and_is_recorded_but_not_judged(simulated_drift):
    ages = simulated_drift[simulated_drift["feature"] == "account_age_days"]
    before = ages[ages["feature_date"] == CHANGE - ONE_DAY].to_dict("records")

    assert before[0]["psi"] > 0.2
    others = [
        {**before[0], "feature": name, "psi": 0.0} for name in FEATURE_COLUMNS if name != "account_age_days"
    ]
    assert judge(FEATURE_CHECK, [*before, *others], settings_module.load(_env_file=None)).passed


def test_a_version_from_before_a_feature_came_says_nothing_of_it(spark):
    older = {name: HALF_TODAY[name] for name in ("days_since_last_event", tables.SCORE)}

    assert set(drift_of(spark, [0, 0, 0, 5], {1: older})) == set(older)
