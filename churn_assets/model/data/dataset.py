"""The rows that a model is trained and judged on: their dates, their users, and their number."""

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

# One user in five calibrates instead of training, on the last fifth of the training dates.
CALIBRATION_SHARE = 5

# Makes the calibration users independent of a sample of users, which hashes user_id alone.
CALIBRATION_SALT = 20_260_101

# Users fall into buckets by a hash of their id; a sample is the users of the first buckets.
USER_BUCKETS = 10_000

# Dates are thinned to no fewer than these, so that a sample keeps weekly and monthly seasons.
LEAST_SAMPLED_DATES = 10

# Dates whose 30-day windows the start of the data cuts short are left out where this many others remain.
LEAST_TRAINING_DATES = 10


class Split(NamedTuple):
    """The feature_dates to train on, the last of these, to calibrate on, and the later ones to judge on."""

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
    """Join the labels to the features.

    Args:
        features: ``gold.user_features``.
        labels: ``gold.churn_labels``; only mature dates have rows there.
        columns: the features to take: today's for a new version, its own for one that is reproduced.

    Returns:
        user_id (bigint), feature_date (date), the features, label (int). One row per user and date that both
        tables hold.
    """
    return features.join(labels, ["user_id", "feature_date"]).select(
        "user_id", "feature_date", *columns, "label"
    )


def features_in(rows: "pd.DataFrame | DataFrame") -> list[str]:
    """Return the features among the columns, in their order: a model is fitted on them."""
    return [name for name in rows.columns if name in FEATURE_COLUMNS]


def has_history(rows: "pd.DataFrame | DataFrame") -> bool:
    """Tell whether rows have more than the features of the last 30 days; 0.1.0's versions' rows have not.

    Not whether they have all of today's: a version from before another feature came has the history of then.
    """
    return bool(history_in(features_in(rows)))


def history_in(features: Iterable[str]) -> list[str]:
    """Return those of the features that each row with a history has."""
    return [name for name in features if name in HISTORY_OF_ALL]


def without_history(rows: Frames) -> Frames:
    """Return the same rows with only the features of the last 30 days."""
    dropped = [name for name in FEATURE_COLUMNS if name not in WINDOW_FEATURES]
    return Frames(*(frame.drop(columns=dropped, errors="ignore") for frame in rows))


def rows_by_date(labelled: DataFrame) -> dict[dt.date, int]:
    """Count the labelled rows of each feature_date, in the dates' order."""
    counts = labelled.groupBy("feature_date").agg(F.count(F.lit(1)).alias("rows")).collect()
    return dict(sorted((row["feature_date"], row["rows"]) for row in counts))


def require_minimum(rows: int) -> None:
    """Refuse to train on too few labelled rows.

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
    """Collect the rows of a split.

    Calibration takes users that training does not see, on the last of its dates: for the users that it was
    trained on, a model's probabilities are too extreme.

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
    """Clip account ages at the oldest that the middle training date can show.

    An age counts from a user's first event in the data, so it cannot exceed the age of the data. 60 days mean
    a user who was there from the start in the data's third month, and a newcomer of two months ago in its
    sixth. Trained on all ages, a model took newcomers of the holdout for old users: on simulated users its
    calibration error was 0.031, and is 0.018 with ages that at least half of the dates can tell apart.
    """
    dates = train["feature_date"].unique()
    if not len(dates):
        return train
    known = train.loc[train["feature_date"] == dates[len(dates) // 2], "account_age_days"].max()
    return train.assign(account_age_days=train["account_age_days"].clip(upper=known))


def describe(rows: Frames) -> dict[str, int | float]:
    """Count the rows, users and dates of each frame, and the share of its rows that churned.

    Returns:
        ``train_rows``, ``train_users``, ``train_dates``, ``train_churn_rate``, and so on for ``calibration``
        and ``holdout``. A frame without rows has no churn rate.
    """
    counts: dict[str, int | float] = {}
    for name, frame in rows._asdict().items():
        counts[f"{name}_rows"] = len(frame)
        counts[f"{name}_users"] = int(frame["user_id"].nunique())
        counts[f"{name}_dates"] = int(frame["feature_date"].nunique())
        if len(frame):
            counts[f"{name}_churn_rate"] = float(frame["label"].mean())
    return counts


def constant_features(rows: "pd.DataFrame") -> list[str]:
    """List the features with one value in all rows, or with none: no model can learn from them."""
    return [name for name in features_in(rows) if rows[name].nunique(dropna=False) == 1]


def collect(labelled: DataFrame, dates: DateRange, cap: int) -> "pd.DataFrame":
    """Collect at most ``cap`` rows: all, or a sample of dates and, if need be, of users.

    Of many dates every n-th is taken, counted from the last: a user's neighbouring dates say nearly the same,
    so fewer dates cost less than fewer users. If there are still too many rows, whole users are drawn by a
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
    total = rows.count()
    if total > cap:
        days = (dates.end - dates.start).days + 1
        stride = min(math.ceil(total / cap), max(1, days // LEAST_SAMPLED_DATES))
        bucket = F.pmod(F.xxhash64("user_id"), F.lit(USER_BUCKETS))
        rows = (
            rows.where(F.datediff(F.lit(dates.end), "feature_date") % stride == 0)
            .withColumn("bucket", bucket)
            .where(F.col("bucket") < math.ceil(USER_BUCKETS * cap * stride / total))
            # Users have different numbers of rows, so the share is a little off; the limit cuts the last
            # bucket. Sorting without buckets sorts all rows: 7 s instead of 0.5 s for 10 million.
            .orderBy("bucket", "user_id", "feature_date")
            .limit(cap)
        )
    features = [F.col(name).cast("double") for name in features_in(rows)]
    table = rows.select("user_id", "feature_date", *features, F.col("label").cast("bigint")).toArrow()
    # In a fixed order, which a tree's ties and a solver's sums depend on.
    return table.sort_by([("feature_date", "ascending"), ("user_id", "ascending")]).to_pandas()
