import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets.dates import DateRange
from churn_assets.errors import ModelError
from churn_assets.model.data import dataset
from churn_assets.tables import FEATURE_COLUMNS
from churn_assets_tests.model.conftest import FIRST_DATE, LABELLED_SCHEMA, labelled_frame


def day(number: int) -> dt.date:
    return FIRST_DATE + dt.timedelta(days=number - 1)


def days(first: int, last: int) -> DateRange:
    return DateRange(day(first), day(last))


def test_a_row_is_labelled_where_features_and_label_meet(spark: SparkSession):
    features = spark.createDataFrame(
        [(1, day(1), 9, 5), (1, day(2), 8, 4), (2, day(1), 7, 3)],
        "user_id bigint, feature_date date, event_count_30d bigint, active_days_30d bigint",
    )
    labels = spark.createDataFrame(
        [(1, day(1), 0), (2, day(1), 1), (2, day(2), 1)], "user_id bigint, feature_date date, label int"
    )

    rows = dataset.labelled_rows(features, labels, ["event_count_30d", "active_days_30d"])

    assert rows.columns == ["user_id", "feature_date", "event_count_30d", "active_days_30d", "label"]
    assert sorted(tuple(row) for row in rows.collect()) == [(1, day(1), 9, 5, 0), (2, day(1), 7, 3, 1)]


def test_rows_are_counted_by_date_in_the_dates_order(spark: SparkSession):
    rows = spark.createDataFrame([(day(3),), (day(1),), (day(3),)], "feature_date date")

    assert list(dataset.rows_by_date(rows).items()) == [(day(1), 1), (day(3), 2)]


def test_the_last_fifth_of_the_dates_that_the_gap_leaves_is_held_out():
    # 49 dates less a gap of 30 are 19; three of them are held out, and three of the 16 others calibrate.
    assert dataset.out_of_time_split(days(1, 49).days(), horizon_days=30) == (
        days(1, 16),
        days(14, 16),
        days(47, 49),
    )


def test_two_dates_and_a_gap_are_enough_for_a_split():
    assert dataset.out_of_time_split(days(1, 7).days(), horizon_days=5) == (
        days(1, 1),
        days(1, 1),
        days(7, 7),
    )


def test_at_most_thirty_dates_are_held_out():
    split = dataset.out_of_time_split(days(1, 400).days(), horizon_days=30)

    assert split.holdout == days(371, 400)


def test_dates_whose_windows_the_start_of_the_data_cuts_short_are_left_out_where_ten_others_remain():
    # 55 dates less a gap of 7 are 48; nine are held out, so the first 39 could be trained on.
    assert dataset.out_of_time_split(days(1, 55).days(), horizon_days=7).train == days(30, 39)
    assert dataset.out_of_time_split(days(1, 54).days(), horizon_days=7).train == days(1, 38)


@given(
    first=st.dates(dt.date(2000, 1, 1), dt.date(2100, 1, 1)),
    usable=st.integers(2, 1500),
    horizon=st.integers(1, 365),
)
def test_no_training_label_looks_into_the_holdout_and_calibration_lies_in_training(
    first: dt.date, usable: int, horizon: int
):
    last = first + dt.timedelta(days=usable + horizon - 1)
    train, calibration, holdout = dataset.out_of_time_split(DateRange(first, last).days(), horizon)

    last_day_a_label_looks_at = train.end + dt.timedelta(days=horizon)
    assert last_day_a_label_looks_at == holdout.start - dt.timedelta(days=1)
    assert first <= train.start <= calibration.start <= calibration.end == train.end
    assert holdout.start <= holdout.end == last


def test_an_outage_leaves_no_part_of_the_split_without_dates():
    # Dates 41 to 80 and 95 to 100 have no label.
    labelled = [day(i) for i in range(1, 121) if not (41 <= i <= 80 or 95 <= i <= 100)]

    split = dataset.out_of_time_split(labelled, 7)

    # 67 dates lie seven days or more before the last: 13 are held out. Training ends eight days before them.
    assert split.holdout == days(108, 120)
    assert split.train == days(30, 94)
    # 25 dates are left, so the last five calibrate.
    assert split.calibration == days(90, 94)


def test_too_few_dates_say_how_many_it_takes():
    with pytest.raises(ModelError, match=r"31 mature feature_dates, .* 30 days takes 32\."):
        dataset.out_of_time_split(days(1, 31).days(), horizon_days=30)


def test_all_rows_of_the_dates_come_where_the_cap_allows(labelled: DataFrame):
    frame = dataset.collect(labelled, days(2, 3), cap=1400)

    assert list(frame.columns) == ["user_id", "feature_date", *FEATURE_COLUMNS, "label"]
    assert list(zip(frame["feature_date"], frame["user_id"], strict=True)) == [
        (day(date), user) for date in (2, 3) for user in range(700)
    ]
    assert {str(frame[name].dtype) for name in FEATURE_COLUMNS} == {"float64"}


def test_values_arrive_as_they_were(labelled: DataFrame):
    frame = dataset.collect(labelled, days(1, 15), cap=20_000)

    expected = labelled_frame(users=700, dates=15).sort_values(["feature_date", "user_id"], ignore_index=True)
    pd.testing.assert_frame_equal(frame, expected.astype(dict.fromkeys(FEATURE_COLUMNS, "float64")))


def test_of_many_dates_every_so_manieth_is_taken_with_all_its_users(spark: SparkSession):
    many = spark.createDataFrame(labelled_frame(users=20, dates=60), LABELLED_SCHEMA)

    # 1,200 rows and a cap of 400: every third date, counted from the last.
    frame = dataset.collect(many, days(1, 60), cap=400)

    assert sorted(set(frame["feature_date"])) == [day(date) for date in range(3, 61, 3)]
    assert len(frame) == 400


def test_at_least_ten_dates_are_left_however_many_rows_there_are(spark: SparkSession):
    many = spark.createDataFrame(labelled_frame(users=50, dates=60), LABELLED_SCHEMA)

    frame = dataset.collect(many, days(1, 60), cap=100)

    assert sorted(set(frame["feature_date"])) == [day(date) for date in range(6, 61, 6)]
    assert 50 <= len(frame) <= 100


def test_a_sample_of_few_dates_is_of_whole_users_but_for_the_last(labelled: DataFrame):
    frame = dataset.collect(labelled, days(1, 15), cap=1000)

    dates_of_each_user = frame.groupby("user_id").size()
    assert (dates_of_each_user != 15).sum() <= 1
    assert 850 <= len(frame) <= 1000


@pytest.fixture
def one_busy_user(spark: SparkSession) -> DataFrame:
    """User 51, who is in an early bucket and so in every sample, has 200 rows; 99 others have one each."""
    busy = labelled_frame(users=1, dates=200).assign(user_id=51)
    others = labelled_frame(users=100, dates=1).query("user_id != 51")
    return spark.createDataFrame(pd.concat([busy, others]), LABELLED_SCHEMA)


def test_a_sample_never_exceeds_its_cap_even_where_its_users_have_most_of_the_rows(one_busy_user: DataFrame):
    # Every twentieth of 200 dates is left, so the busy user has ten rows of a sample of five.
    assert len(dataset.collect(one_busy_user, days(1, 200), cap=5)) == 5


def test_a_sample_does_not_depend_on_the_order_of_the_rows(one_busy_user: DataFrame):
    shuffled = one_busy_user.orderBy(F.xxhash64("feature_date", "user_id"))

    pd.testing.assert_frame_equal(
        dataset.collect(shuffled, days(1, 200), cap=5),
        dataset.collect(one_busy_user, days(1, 200), cap=5),
    )


def test_every_engine_samples_the_same_users(labelled: DataFrame):
    sampled = dataset.collect(labelled, days(1, 1), cap=10)

    # Of users 0 to 699, those whose xxhash64 is below 143 modulo 10,000.
    assert list(sampled["user_id"]) == [51, 62, 98, 171, 357, 390, 432, 573, 634, 692]


@pytest.fixture(scope="module")
def frames_of_700_users(labelled: DataFrame) -> dataset.Frames:
    """Of 15 dates: training on 1 to 8, calibration on 7 and 8, holdout on 14 and 15."""
    return dataset.frames(labelled, dataset.Split(days(1, 8), days(7, 8), days(14, 15)), training_rows=3000)


def test_no_user_who_calibrates_is_trained_on(frames_of_700_users: dataset.Frames):
    train, calibration, _ = frames_of_700_users

    assert set(train["user_id"]).isdisjoint(calibration["user_id"])
    assert 100 <= calibration["user_id"].nunique() <= 180


def test_each_frame_has_its_own_dates(frames_of_700_users: dataset.Frames):
    dates = [sorted(set(frame["feature_date"])) for frame in frames_of_700_users]

    assert dates == [list(days(1, 8).days()), list(days(7, 8).days()), list(days(14, 15).days())]


def test_only_training_is_cut_to_the_rows_asked_for(frames_of_700_users: dataset.Frames):
    assert 2700 <= len(frames_of_700_users.train) <= 3000
    assert len(frames_of_700_users.holdout) == 2 * 700


def test_without_a_cap_every_user_trains_or_calibrates(labelled: DataFrame):
    train, calibration, _ = dataset.frames(labelled, dataset.Split(days(8, 8), days(8, 8), days(15, 15)), 700)

    assert sorted([*train["user_id"], *calibration["user_id"]]) == list(range(700))


def test_every_engine_lets_the_same_users_calibrate(labelled: DataFrame):
    split = dataset.Split(days(8, 8), days(8, 8), days(15, 15))

    calibration = dataset.frames(labelled.where(F.col("user_id") < 40), split, 700).calibration

    # Those whose xxhash64 behind the salt is a multiple of 5.
    assert list(calibration["user_id"]) == [3, 4, 12, 19, 37]


def test_training_knows_no_account_age_that_its_middle_date_could_not_show(spark: SparkSession):
    # The data begins on the first date, so the oldest account is 0 days old then, and 8 on the ninth.
    frame = labelled_frame(users=40, dates=12)
    frame["account_age_days"] = [(date - FIRST_DATE).days for date in frame["feature_date"]]
    split = dataset.Split(train=days(1, 9), calibration=days(9, 9), holdout=days(11, 12))

    found = dataset.frames(spark.createDataFrame(frame, LABELLED_SCHEMA), split, training_rows=1_000)

    by_date = found.train.groupby("feature_date")["account_age_days"].max()
    assert by_date.tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 4]
    # What is judged is judged as it is.
    assert sorted(found.holdout["account_age_days"].unique()) == [10, 11]


def test_a_feature_that_never_varies_is_named_and_one_that_is_sometimes_missing_does_vary():
    rows = labelled_frame(users=4, dates=2).astype(dict.fromkeys(FEATURE_COLUMNS, "float64"))
    constant = rows.assign(purchase_count_30d=0.0, rolling_7d_events=float("nan"))

    assert dataset.constant_features(rows) == []
    assert dataset.constant_features(constant) == ["purchase_count_30d", "rolling_7d_events"]
    constant.loc[0, "rolling_7d_events"] = 1.0
    assert dataset.constant_features(constant) == ["purchase_count_30d"]


def test_frames_are_described_by_rows_users_dates_and_churn_rate():
    frame = pd.DataFrame(
        {"user_id": [1, 1, 2, 3], "feature_date": [day(1), day(2)] * 2, "label": [1, 0, 0, 0]}
    )

    described = dataset.describe(dataset.Frames(frame, frame.head(2), frame.head(0)))

    assert described == {
        "train_rows": 4,
        "train_users": 3,
        "train_dates": 2,
        "train_churn_rate": 0.25,
        "calibration_rows": 2,
        "calibration_users": 1,
        "calibration_dates": 2,
        "calibration_churn_rate": 0.5,
        "holdout_rows": 0,
        "holdout_users": 0,
        "holdout_dates": 0,
    }


def test_a_version_that_is_made_again_takes_its_own_features(spark: SparkSession):
    features = spark.createDataFrame(
        [(1, day(1), 9, 5, 40)],
        "user_id bigint, feature_date date, event_count_30d bigint, active_days_30d bigint, "
        "account_age_days bigint",
    )
    labels = spark.createDataFrame([(1, day(1), 1)], "user_id bigint, feature_date date, label int")

    rows = dataset.labelled_rows(features, labels, ["account_age_days", "event_count_30d"])
    collected = dataset.collect(rows, days(1, 1), 10)

    assert rows.columns == ["user_id", "feature_date", "account_age_days", "event_count_30d", "label"]
    assert collected[dataset.features_in(collected)].to_numpy().tolist() == [[40.0, 9.0]]
