"""How far each date's features and scores are from those of the model that scored it."""

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets import tables

COMPARED = (*tables.FEATURE_COLUMNS, tables.SCORE)

# An account's age grows a day a day, and the oldest account of a young lake is as old as the lake: recorded,
# but a model whose training is a month back would be said to drift for ever.
GROWS = frozenset(column.name for column in tables.USER_FEATURES.columns if column.grows)

NOT_JUDGED = tuple(name for name in tables.FEATURE_COLUMNS if name in GROWS)

JUDGED = tuple(name for name in tables.FEATURE_COLUMNS if name not in NOT_JUDGED)

# A PSI of 0 takes shares above 0: a bin without a user counts as half a user.
LEAST_USERS = 0.5

# What chi-square stays below 999 times in 1,000, by degrees of freedom, 0 to 10: those of up to ten bins of
# values and one of what is missing.
MAXIMUM_BINS = 10
CHI_SQUARE_999 = (0.0, 10.828, 13.816, 16.266, 18.467, 20.515, 22.458, 24.322, 26.124, 27.877, 29.588)

# The bin of rows without a value, after all others.
MISSING = MAXIMUM_BINS
BINS = range(MAXIMUM_BINS + 1)

SHARES = [f"share_{i}" for i in BINS]
CHI_SQUARES = ("chi_square", "chi_square_missing")


class Distribution(NamedTuple):
    """How one feature was distributed when a model was made.

    Bin 0 holds the values up to and including ``edges[0]``, bin i those above ``edges[i - 1]`` and up to
    ``edges[i]``, the last one all above the last edge. ``missing`` is the share without a value, a bin of its
    own. All these add up to 1, and none of ``shares`` is 0. ``users`` is how many different users they are
    of.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    users: int
    missing: float = 0.0


Batches = Iterator[pa.RecordBatch]

# By the names of COMPARED.
Reference = Mapping[str, Distribution]


def feature_drift(
    features: DataFrame, predictions: DataFrame, references: Mapping[int, Reference]
) -> DataFrame:
    """Compare each date with the reference of the model version that scored it.

    The population stability index is the sum over the bins of (q - p) ln(q / p), with p the reference's share
    and q that of the date's users. Where both are drawn from one distribution it behaves like chi-square
    times (1 / users of the date + 1 / users of the reference): its 0.999 quantile is ``psi_by_chance``. What
    has no value on either side is a bin as any other.

    Args:
        features: ``gold.user_features`` of the dates.
        predictions: ``gold.churn_predictions`` of the dates.
        references: by model version. Dates that another version scored have no row.

    Returns:
        The columns of ``tables.FEATURE_DRIFT``: one row for each date of ``predictions`` and name in
        the reference of its version. ``psi`` and ``psi_by_chance`` are rounded to nine digits.
    """
    keys, same = ["user_id", "feature_date"], ["model_version", "feature"]
    known = _as_frame(predictions.sparkSession, references)
    rows = predictions.select(*keys, "model_version", tables.SCORE).join(
        features.select(*keys, *tables.FEATURE_COLUMNS), keys
    )
    counts = [f"count_{i}" for i in BINS]
    counted = (
        rows.select(
            "feature_date", "model_version", *(F.col(name).cast("double").alias(name) for name in COMPARED)
        )
        .mapInArrow(
            _binned(_edges(references)),
            ", ".join(
                ("feature_date date, model_version int, feature string", *(f"{n} bigint" for n in counts))
            ),
        )
        .groupBy("feature_date", *same)
        .agg(*(F.sum(name).alias(name) for name in counts))
        .withColumn("users", reduce(Column.__add__, map(F.col, counts)))
    )
    has_missing = (F.col(f"count_{MISSING}") > 0) | (F.col(f"share_{MISSING}") > 0)
    chi_square = F.when(has_missing, F.col("chi_square_missing")).otherwise(F.col("chi_square"))
    by_chance = chi_square * (1 / F.col("users") + 1 / F.col("reference_users"))
    return (
        counted.join(known, same)
        .withColumn("psi", F.round(_psi(), 9))
        .withColumn("psi_by_chance", F.round(by_chance, 9))
        .select(*tables.FEATURE_DRIFT.column_names)
    )


def _edges(references: Mapping[int, Reference]) -> dict[int, dict[str, tuple[float, ...]]]:
    return {
        version: {name: distribution.edges for name, distribution in reference.items()}
        for version, reference in references.items()
    }


def _binned(edges: Mapping[int, Mapping[str, tuple[float, ...]]]) -> Callable[[Batches], Batches]:
    """Return what counts the rows in each bin, for ``mapInArrow``: for each batch, date, version and name.

    In the engine, a value is a row of its own that is joined with its edges: for sixteen features that takes
    ten times as long as NumPy's binary search in their columns.
    """
    missing, bins = MISSING, len(BINS)

    # Nested, so that they are sent to workers by value: those lack this package.
    def counts(values: np.ndarray, days: np.ndarray, edges_of_it: tuple[float, ...], n: int) -> np.ndarray:
        # How many edges lie below the value.
        places = np.searchsorted(edges_of_it, values, side="left")
        places[np.isnan(values)] = missing
        return np.bincount(days * bins + places, minlength=n * bins).reshape(n, bins)

    def count(batches: Batches) -> Batches:
        for batch in batches:
            versions = batch.column("model_version").to_numpy(zero_copy_only=False)
            for version in set(versions.tolist()) & edges.keys():
                rows = batch.filter(pa.array(versions == version))
                encoded = rows.column("feature_date").dictionary_encode()
                days, found = encoded.indices.to_numpy(), encoded.dictionary
                for name, edges_of_it in edges[version].items():
                    # NULL becomes NaN, which is missing as well.
                    values = rows.column(name).to_numpy(zero_copy_only=False)
                    of_days = counts(values, days, edges_of_it, len(found))
                    yield pa.RecordBatch.from_pydict(
                        {
                            "feature_date": found,
                            "model_version": pa.array([version] * len(found), pa.int32()),
                            "feature": [name] * len(found),
                            **{f"count_{i}": of_days[:, i] for i in range(bins)},
                        }
                    )

    return count


def _as_frame(spark: SparkSession, references: Mapping[int, Reference]) -> DataFrame:
    """A row for each version and name that it knows; a bin that lacks has no share."""
    rows = []
    for version, reference in references.items():
        # A version that was trained before a feature came has no reference of it, and so no row.
        for name, (edges, shares, users, missing) in reference.items():
            chi_squares = CHI_SQUARE_999[len(edges) : len(edges) + 2]
            no_shares = [None] * (MAXIMUM_BINS - len(shares))
            rows.append((version, name, users, *chi_squares, *shares, *no_shares, missing))
    doubles = ", ".join(f"{name} double" for name in (*CHI_SQUARES, *SHARES))
    return spark.createDataFrame(
        rows, f"model_version int, feature string, reference_users bigint, {doubles}"
    )


def _psi() -> Column:
    terms = []
    for i, share in zip(BINS, SHARES, strict=True):
        p = F.col(share)
        q = F.greatest(F.col(f"count_{i}").cast("double"), F.lit(LEAST_USERS)) / F.col("users")
        if i == MISSING:
            # Alone of all bins it may have been empty; where it still is, there is nothing to compare.
            p = F.greatest(p, F.lit(LEAST_USERS) / F.col("reference_users"))
            is_empty = (F.col(share) == 0) & (F.col(f"count_{i}") == 0)
            q = F.when(~is_empty, q)
        terms.append(F.coalesce((q - p) * F.log(q / p), F.lit(0.0)))
    return reduce(Column.__add__, terms)
