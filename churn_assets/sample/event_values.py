"""Ids and times of any type as what an event has: a whole number, and microseconds since 1970 UTC.

What text says is in ``transforms.values``, one set of rules with the landing zone. Here is the rest: the
types of Parquet and of expressions, and other spellings of times that both engines can cast.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from churn_assets.transforms import values

# Years 1 to 9999, all that ISO 8601 can say in four digits.
FIRST_MICROS = -62_135_596_800_000_000
LAST_MICROS = 253_402_300_799_999_999
# Cast to a timestamp, a bare time of day becomes today's.
TIME_OF_DAY = r"^\s*T?[0-9]{1,2}:"
# A number says a time by its magnitude or not at all; a cast would take 2026 for a year.
NUMBER = r"\A[+-]?[0-9]+(?:[.][0-9]*)?\z"


def user_number_and_text(value: Column, kind: T.DataType) -> tuple[Column, Column]:
    """A user's id as bigint, null where it is no canonical whole number, and as trimmed text.

    Both are null where the id is missing, blank or NaN.

    Args:
        value: of any type; 17850, 17850.0, '17850', '17850.0' and '1.785E4' are all 17850; '017850' is none.
        kind: its type.
    """
    if isinstance(kind, T.FloatType | T.DoubleType):
        # By value, not by text: that of 17850000.0 is 1.785E7 in one engine and 17850000.0 in the other.
        is_whole = (value % 1 == 0) & (F.abs(value) < values.EXACT_BELOW)
        return F.when(is_whole, value.try_cast("bigint")), F.when(~F.isnan(value), value.cast("string"))
    text = values.trimmed(value.cast("string"))
    return values.user_id(text), F.when(text != "", text)


def micros(value: Column, kind: T.DataType) -> Column:
    """Microseconds since 1970 UTC of what says a time, else null.

    Text and numbers as ``values.event_ts`` has it, and what else Spark can cast to a timestamp. A time
    without a zone is UTC, a date is its midnight. Times outside the years 1 to 9999 are null, too.

    Args:
        value: of any type.
        kind: its type.
    """
    if isinstance(kind, T.NumericType):
        return F.unix_micros(values.event_ts(_digits(value, kind)))
    if isinstance(kind, T.StringType):
        other = F.when(~value.rlike(TIME_OF_DAY) & ~values.trimmed(value).rlike(NUMBER), value)
        since_1970 = F.coalesce(
            F.unix_micros(values.event_ts(value)), F.unix_micros(other.try_cast("timestamp"))
        )
    elif isinstance(kind, T.DateType | T.TimestampType | T.TimestampNTZType):
        since_1970 = F.unix_micros(value.try_cast("timestamp"))
    else:
        return F.lit(None).cast("bigint")
    return F.when(since_1970.between(FIRST_MICROS, LAST_MICROS), since_1970)


def epoch_unit(value: Column, kind: T.DataType) -> Column:
    """What a number counts since 1970: ``seconds`` to ``nanoseconds``, ``unknown``, or null for no number.

    Args:
        value: of any type.
        kind: its type.
    """
    if isinstance(kind, T.NumericType):
        text = _digits(value, kind)
    elif isinstance(kind, T.StringType):
        text = values.trimmed(value)
    else:
        return F.lit(None).cast("string")
    return F.when(text.rlike(NUMBER), F.coalesce(values.epoch_unit(text), F.lit("unknown")))


def amount_text(value: Column, kind: T.DataType) -> Column:
    """An amount as text: of a number to two places, of anything else as it is; null where there is none.

    Args:
        value: of any type.
        kind: its type.
    """
    if not isinstance(kind, T.NumericType):
        text = values.trimmed(value.cast("string"))
        return F.when(text != "", text)
    text = F.coalesce(value.try_cast(values.AMOUNT_TYPE).cast("string"), value.cast("string"))
    is_there = ~F.isnan(value) if isinstance(kind, T.FloatType | T.DoubleType) else F.lit(True)
    return F.when(is_there, text)


def is_amount(text: Column) -> Column:
    """Whether an amount's text is a number; null where there is no text."""
    return F.when(text.isNotNull(), values.amount(text).isNotNull())


def _digits(value: Column, kind: T.DataType) -> Column:
    """A number's digits: as text, a double is 1.787848445922E12 in one engine and not in the other."""
    if not isinstance(kind, T.FloatType | T.DoubleType):
        return value.cast("string")
    value = F.when(~F.isnan(value) & (F.abs(value) < 1e18), value)
    # As a decimal, a double has 53 bits with all its places in Sail: no more of them than fit. Where
    # it counts microseconds, their parts are nothing.
    is_whole = (value % 1 == 0) | (F.abs(value) >= 1e14)
    return F.coalesce(
        F.when(is_whole, value.try_cast("bigint")).cast("string"),
        F.when(F.abs(value) < 1e11, value.try_cast("decimal(38,6)")).cast("string"),
        value.try_cast("decimal(38,3)").cast("string"),
    )
