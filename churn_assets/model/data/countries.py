"""The country of each holdout row, which is no feature, for the gate's slices."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame


def with_country(rows: "pd.DataFrame", users: "DataFrame") -> "pd.DataFrame":
    """Add the user's country to each row.

    Args:
        rows: with user_id (int64).
        users: ``clean.users``.

    Returns:
        The rows in their order, with country (str, or None where it is not known).
    """
    user_ids = users.sparkSession.createDataFrame(rows[["user_id"]].drop_duplicates(), "user_id bigint")
    known = users.join(user_ids, "user_id").select("user_id", "country").toArrow().to_pandas()
    country = rows["user_id"].map(known.set_index("user_id")["country"])
    return rows.assign(country=country.astype(object).where(country.notna(), None))
