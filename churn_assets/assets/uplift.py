"""Between engine and process: the users that uplift is learned from, and what it is of scored users."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.retention.ranking import Ranking
from churn_assets.tables import CHURN_LABELS, RETENTION_LIST, USER_FEATURES
from churn_assets.transforms import treatments as transforms

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.retention.uplift import TLearner

Uplifts = Callable[[DataFrame, DataFrame], DataFrame]

# 40 MB here. More make an interval narrower that is narrow enough.
MOST_USERS = 200_000

# Users whose uplift is computed at once.
BATCH_USERS = 100_000


def rows_to_learn_from(
    of_all: Mapping[str, Any], listed: DataFrame, labels: DataFrame, features: DataFrame
) -> "pd.DataFrame":
    """Collect what ``transforms.treatments.assigned_users`` returns, of ``MOST_USERS`` at most.

    Args:
        of_all: the row of all users of ``gold.treatment_outcomes``, which names the dates.
        listed: ``gold.retention_list``.
        labels: ``gold.churn_labels``.
        features: ``gold.user_features``, of which only these dates are read.
    """
    dates = F.col("feature_date").between(
        F.lit(of_all["first_feature_date"]), F.lit(of_all["last_feature_date"])
    )
    rows = transforms.assigned_users(listed, labels, features.where(dates))
    # The same users whenever and wherever it is asked: by a hash that does not depend on the lot.
    return rows.orderBy(F.xxhash64("user_id"), "user_id").limit(MOST_USERS).toArrow().to_pandas()


def in_force(lake: Lakehouse, ranking: Ranking, of_all: Mapping[str, Any] | None) -> Uplifts | None:
    """Return what says the uplift of a date's scored users; None where lists are ranked by risk.

    It takes ``gold.churn_predictions`` and ``gold.user_features`` of the date, and returns user_id (bigint)
    and uplift (double).

    Args:
        lake: has the users whose horizon is over, from all of whom it is learned here and now.
        ranking: the order in force.
        of_all: the row of all users of ``gold.treatment_outcomes``.
    """
    if not ranking.is_by_uplift or of_all is None:
        return None
    # Not above: pandas, SciPy and scikit-learn take a second to import, and most processes learn nothing.
    from churn_assets.retention.uplift import TLearner

    tables = (lake.read(table) for table in (RETENTION_LIST, CHURN_LABELS, USER_FEATURES))
    learned = TLearner.fitted(rows_to_learn_from(of_all, *tables))
    return lambda predictions, features: _uplifts(learned, ranking.reached, predictions, features)


def _uplifts(learned: "TLearner", reached: float, predictions: DataFrame, features: DataFrame) -> DataFrame:
    known = features.select("user_id", *transforms.as_inputs())
    rows = predictions.select("user_id", "churn_probability").join(known, "user_id").toArrow()
    batches = [
        learned.uplift(pa.Table.from_batches([batch]).to_pandas(), reached)
        for batch in rows.to_batches(max_chunksize=BATCH_USERS)
    ]
    uplift = pa.chunked_array([pa.array(batch) for batch in batches], pa.float64())
    table = pa.table({"user_id": rows["user_id"], "uplift": uplift})
    return predictions.sparkSession.createDataFrame(table, "user_id bigint, uplift double")
