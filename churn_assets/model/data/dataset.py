"""The rows a model is trained and judged on: which dates, which users, and how many of them."""

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import ModelError
from churn_assets.tables import FEATURE_COLUMNS, FEATURE_WINDOW_DAYS, HISTORY_OF_ALL, WINDOW_FEATURES

if TYPE_CHECKING:
    import pandas as pd

# Fewer labelled rows than this train no model: the design's number.
MINIMUM_ROWS = 10_000

# Judging is cheap (70 ms for 60,000 rows), so the bound is the driver's memory: about 8 MB.
MAXIMUM_HOLDOUT_ROWS = 100_000

# Ten candidates are compared on these, and a calibration map is fitted in each half of them.
MAXIMUM_CALIBRATION_ROWS = 25_000

MAXIMUM_HOLDOUT_DATES = 30

# One user in so many is kept from training and calibrates instead, on one in so many of training's dates.
CALIBRATION_SHARE = 5

# So that who calibrates says nothing about who a sample of users holds: that hashes user_id alone.
CALIBRATION_SALT = 20_260_101

# Users fall into buckets by a hash of their id; a sample is the users of the first so many buckets.
USER_BUCKETS = 10_000

# Dates are thinned to no fewer than these, so that a season of the week or the month stays in the sample.
LEAST_SAMPLED_DATES = 10

# Dates whose 30-day windows the start of the data cuts short are left out where so many others remain.
LEAST_TRAINING_DATES = 10


class Split(NamedTuple):
    """The feature_dates to train on, the last of them, to calibrate on, and the later ones to judge on."""

    train: DateRange
    calibration: DateRange
    holdout: DateRange


class Frames(NamedTuple):
    """Rows to train, calibrate and judge on, each in the columns and the order that ``collect`` returns.

    No user of ``calibration`` is in ``train``.
    """

    train: "pd.DataFrame"
    calibration: "pd.DataFrame"
    holdout: "pd.DataFrame"


def labelled_rows(
    features: DataFrame, labels: DataFrame, columns: Sequence[str] = FEATURE_COLUMNS
) -> DataFrame:
    """Put the label beside each row of features that has one.

    Args:
        features: ``gold.user_features``.
        labels: ``gold.churn_labels``; only mature dates have rows there.
        columns: the features to take: all of today for a new version, its own for one that is made again.

    Returns:
        user_id (bigint), feature_date (date), the features, label (int). One row per user and date that both
        tables hold.
    """
    return features.join(labels, ["user_id", "feature_date"]).select(
        "user_id", "feature_date", *columns, "label"
    )


def features_in(rows: "pd.DataFrame | DataFrame") -> list[str]:
    """The features among the columns of such rows, in their order: what a model is fitted on."""
    return [name for name in rows.columns if name in FEATURE_COLUMNS]


def has_history(rows: "pd.DataFrame | DataFrame") -> bool:
    """Whether such rows have more than the features of the last 30 days: those of older versions have not."""
    return set(HISTORY_OF_ALL).issubset(rows.columns)


def without_history(rows: Frames) -> Frames:
    """The same rows with the features of the last 30 days alone."""
    dropped = [name for name in FEATURE_COLUMNS if name not in WINDOW_FEATURES]
    return Frames(*(frame.drop(columns=dropped, errors="ignore") for frame in rows))


def rows_by_date(labelled: DataFrame) -> dict[dt.date, int]:
    """How many labelled rows each feature_date has, in the dates' order."""
    counted = labelled.groupBy("feature_date").agg(F.count(F.lit(1)).alias("rows")).collect()
    return dict(sorted((row["feature_date"], row["rows"]) for row in counted))


def require_minimum(rows: int) -> None:
    """Say that there are too few labelled rows to train on, where that is so.

    Raises:
        ModelError: there are fewer than ``MINIMUM_ROWS``.
    """
    if rows < MINIMUM_ROWS:
        raise ModelError(
            f"{rows:,} labelled rows are too few; training takes {MINIMUM_ROWS:,}. "
            "Wait for more mature dates or users."
        )


def out_of_time_split(labelled_dates: Iterable[dt.date], horizon_days: int) -> Split:
    """Hold out the last mature dates, and leave a gap before them.

    A label of D looks ``horizon_days`` ahead, so the gap keeps every training label from seeing a day that
    a holdout row is asked about. A fifth of the dates that the gap leaves are held out, at least 1 and at
    most 30. Of those before the gap, the first 29 days are left out where 10 others remain: their windows
    reach back to before the first event, so their counts mean less than later ones do. The last fifth of
    the remaining dates is for calibration, too. Dates with labels are counted, not days: an outage, whose
    dates have none, leaves none of the three without rows.

    Args:
        labelled_dates: the mature feature_dates that have labels, at least one, in any order.
        horizon_days: days that a label looks ahead.

    Raises:
        ModelError: the gap leaves no date to train on.
    """
    dates = sorted(labelled_dates)
    first, last = dates[0], dates[-1]
    usable = sum(day <= last - horizon_days * ONE_DAY for day in dates)
    held_out = dates[-min(max(usable // 5, 1), MAXIMUM_HOLDOUT_DATES) :]
    before_gap = [day for day in dates if day < held_out[0] - horizon_days * ONE_DAY]
    if usable < 2 or not before_gap:
        raise ModelError(
            f"{len(dates)} mature feature_dates, {first} to {last}, are too few to train on the "
            f"early and judge on the late ones; a horizon of {horizon_days} days takes {horizon_days + 2}. "
            "Wait for more days, or lower CHURN_HORIZON_DAYS."
        )
    with_whole_window = [day for day in before_gap if day >= first + (FEATURE_WINDOW_DAYS - 1) * ONE_DAY]
    train = with_whole_window if len(with_whole_window) >= LEAST_TRAINING_DATES else before_gap
    calibration = train[-max(len(train) // CALIBRATION_SHARE, 1) :]
    return Split(*(DateRange(part[0], part[-1]) for part in (train, calibration, held_out)))


def frames(labelled: DataFrame, split: Split, training_rows: int) -> Frames:
    """Bring the rows of a split to this process.

    Calibration takes users that training does not see, on the last of its dates: the same model gives users
    it was trained on probabilities that are too sure.

    Args:
        labelled: what ``labelled_rows`` returns.
        split: what ``out_of_time_split`` returns.
        training_rows: most rows to train on. For 20,000 all candidates together take 2.5 s of an idle core,
            gradient boosting alone 1.3 s.
    """
    calibrates = F.pmod(F.xxhash64(F.lit(CALIBRATION_SALT), "user_id"), F.lit(CALIBRATION_SHARE)) == 0
    return Frames(
        train=_with_known_ages(collect(labelled.where(~calibrates), split.train, training_rows)),
        calibration=collect(labelled.where(calibrates), split.calibration, MAXIMUM_CALIBRATION_ROWS),
        holdout=collect(labelled, split.holdout, MAXIMUM_HOLDOUT_ROWS),
    )


def _with_known_ages(train: "pd.DataFrame") -> "pd.DataFrame":
    """Cut account ages at the oldest that the middle training date could show.

    An age counts from a user's first event in the data, so it cannot exceed the age of the data. 60 days mean
    somebody who was there when the data began in its third month, and somebody who came two months ago in its
    sixth. Trained on all, a model took newcomers of the holdout for old users: on simulated users its
    calibration error was 0.031, and is 0.018 with ages that at least half of the dates can tell apart.
    """
    dates = train["feature_date"].unique()
    if not len(dates):
        return train
    known = train.loc[train["feature_date"] == dates[len(dates) // 2], "account_age_days"].max()
    return train.assign(account_age_days=train["account_age_days"].clip(upper=known))


def describe(rows: Frames) -> dict[str, int | float]:
    """How many rows, users and dates each frame has, and which share of its rows churned.

    Returns:
        ``train_rows``, ``train_users``, ``train_dates``, ``train_churn_rate``, and so on for ``calibration``
        and ``holdout``. A frame without rows has no churn rate.
    """
    found: dict[str, int | float] = {}
    for name, frame in rows._asdict().items():
        found[f"{name}_rows"] = len(frame)
        found[f"{name}_users"] = int(frame["user_id"].nunique())
        found[f"{name}_dates"] = int(frame["feature_date"].nunique())
        if len(frame):
            found[f"{name}_churn_rate"] = float(frame["label"].mean())
    return found


def constant_features(rows: "pd.DataFrame") -> list[str]:
    """The features that have one value in all rows, or none in any: no model can learn from them."""
    return [name for name in features_in(rows) if rows[name].nunique(dropna=False) == 1]


def collect(labelled: DataFrame, dates: DateRange, cap: int) -> "pd.DataFrame":
    """Bring at most ``cap`` rows to this process: all, or a sample of dates and, if need be, of users.

    Of many dates every so-manieth is taken, counted from the last: a user's neighbouring dates say nearly the
    same, so fewer dates cost less than fewer users. What is still too much is cut to whole users, drawn by a
    hash of user_id. The same table gives the same rows on every engine and in whatever order it is read.

    Args:
        labelled: what ``labelled_rows`` returns.
        dates: feature_dates to take.
        cap: most rows to return; the engine never sends more.

    Returns:
        user_id (int64), feature_date (date), the features (float64), label (int64), sorted by
        feature_date and user_id.
    """
    rows = labelled.where(F.col("feature_date").between(F.lit(dates.start), F.lit(dates.end)))
    found = rows.count()
    if found > cap:
        days = (dates.end - dates.start).days + 1
        stride = min(math.ceil(found / cap), max(1, days // LEAST_SAMPLED_DATES))
        bucket = F.pmod(F.xxhash64("user_id"), F.lit(USER_BUCKETS))
        rows = (
            rows.where(F.datediff(F.lit(dates.end), "feature_date") % stride == 0)
            .withColumn("bucket", bucket)
            .where(F.col("bucket") < math.ceil(USER_BUCKETS * cap * stride / found))
            # Users have unequally many rows, so the share is a little off; the last bucket gives way.
            # Sorting alone would do, but sorts all: 7 s instead of 0.5 s for 10 million rows.
            .orderBy("bucket", "user_id", "feature_date")
            .limit(cap)
        )
    features = [F.col(name).cast("double") for name in features_in(rows)]
    table = rows.select("user_id", "feature_date", *features, F.col("label").cast("bigint")).toArrow()
    # In a fixed order, because a tree's ties and a solver's sums depend on it.
    return table.sort_by([("feature_date", "ascending"), ("user_id", "ascending")]).to_pandas()
