"""Ids and times of any kind as what an event has: a whole number, and microseconds since 1970 UTC.

Sail and Apache Spark agree on every expression here; where their casts differ, the cast is fenced off.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

# Doubles below this hold every integer exactly.
EXACT_BELOW = 2**53

WHOLE = r"^[+-]?[0-9]+([.]0*)?$"
# With a point, as Java, R and numpy write it: '12e4' may as well be a hexadecimal id.
SCIENTIFIC = r"^[+-]?[0-9]+[.][0-9]*[eE][+-]?[0-9]+$"

# Years 1 to 9999, all that ISO 8601 can say in four digits.
FIRST_MICROS = -62_135_596_800_000_000
LAST_MICROS = 253_402_300_799_999_999
# Cast to a timestamp, a bare time of day becomes today's.
TIME_OF_DAY = r"^\s*T?[0-9]{1,2}:"
# Seconds: far beyond any year, and where Sail's cast fails instead of giving NULL.
LONGEST_EPOCH = 1e12


def user_number_and_text(value: Column, kind: T.DataType) -> tuple[Column, Column]:
    """A user's id as bigint, null where it is no whole number, and as text without blanks around it.

    Both are null where the id is missing, blank or NaN.

    Args:
        value: of any type; 17850, 17850.0, '17850', '17850.0' and '1.785E4' are all 17850.
        kind: its type.
    """
    if isinstance(kind, T.FloatType | T.DoubleType):
        # By value, not by text: that of 17850000.0 is 1.785E7 in one engine and 17850000.0 in the other.
        is_whole = (value % 1 == 0) & (F.abs(value) < EXACT_BELOW)
        return F.when(is_whole, value.try_cast("bigint")), F.when(~F.isnan(value), value.cast("string"))
    text = F.trim(value.cast("string"))
    scientific = text.try_cast("double")
    number = F.when(text.rlike(WHOLE), F.regexp_extract(text, "^([+-]?[0-9]+)", 1).try_cast("bigint")).when(
        text.rlike(SCIENTIFIC) & (scientific % 1 == 0) & (F.abs(scientific) < EXACT_BELOW),
        scientific.try_cast("bigint"),
    )
    return number, F.when(text != "", text)


def micros(value: Column, kind: T.DataType) -> Column:
    """Microseconds since 1970 UTC of what Spark can cast to a timestamp, else null.

    A time without a zone is UTC, a date is its midnight, a number counts seconds since 1970. Times outside
    the years 1 to 9999 are null, too.

    Args:
        value: of any type.
        kind: its type.
    """
    if isinstance(kind, T.StringType):
        value = F.when(~value.rlike(TIME_OF_DAY), value)
    elif isinstance(kind, T.NumericType):
        value = F.when(F.abs(value) < LONGEST_EPOCH, value)
    elif not isinstance(kind, T.DateType | T.TimestampType | T.TimestampNTZType):
        return F.lit(None).cast("bigint")
    since_1970 = F.unix_micros(value.try_cast("timestamp"))
    return F.when(since_1970.between(FIRST_MICROS, LAST_MICROS), since_1970)
