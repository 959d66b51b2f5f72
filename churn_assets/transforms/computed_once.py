"""A column that no engine computes twice."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def computed_once(column: Column) -> Column:
    """The same column, not computed again by the filters on it.

    Engines take a filter below the columns that it is about, with a copy of how they are computed: Sail then
    parses each time three times, which costs more than all the rest. Where chance takes part they leave the
    filter where it is, as a copy might come to another value. Here chance never decides anything.
    """
    # No random number is NaN. That none is below 0, Spark knows.
    return F.when(F.isnan(F.rand(0)), F.lit(None)).otherwise(column)
