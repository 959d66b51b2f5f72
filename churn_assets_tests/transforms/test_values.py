import datetime as dt
from itertools import product

from pyspark.sql import functions as F

from churn_assets.transforms import values
from churn_assets_tests.rows import utc

TIMES = {
    "2026-03-01T10:20:30Z": utc(2026, 3, 1, 10, 20, 30),
    "2026-03-01 10:20:30": utc(2026, 3, 1, 10, 20, 30),
    "2026-03-01T10:20:30.5": utc(2026, 3, 1, 10, 20, 30, 500000),
    "2026-03-01T10:20:30.123456Z": utc(2026, 3, 1, 10, 20, 30, 123456),
    "2026-03-01T10:20:30.123456999+00:00": utc(2026, 3, 1, 10, 20, 30, 123456),
    "1999-12-31T23:59:59.9999999": utc(1999, 12, 31, 23, 59, 59, 999999),
    "2026-03-01T10:20:30+05:30": utc(2026, 3, 1, 4, 50, 30),
    "2026-03-01T01:00:00+14:00": utc(2026, 2, 28, 11),
    "2026-02-28T23:30:00-01:00": utc(2026, 3, 1, 0, 30),
    "2026-03-01T10:20": utc(2026, 3, 1, 10, 20),
    "2026-03-01 10:20Z": utc(2026, 3, 1, 10, 20),
    "2026-03-01T10:20-02:00": utc(2026, 3, 1, 12, 20),
    "2026-03-01": utc(2026, 3, 1),
    "2026-03-01Z": utc(2026, 3, 1),
    "2026-03-01 UTC": utc(2026, 3, 1),
    "2026-03-01+02:00": utc(2026, 2, 28, 22),
    "2024-02-29": utc(2024, 2, 29),
    "1970-01-01T00:00:00Z": utc(1970, 1, 1),
    "2026-06-21 10:00:00 +0200": utc(2026, 6, 21, 8),
    "2026-06-21 10:00:00 UTC": utc(2026, 6, 21, 10),
    "2026-06-21 10:00:00UTC": utc(2026, 6, 21, 10),
    "2026-06-21 10:00:00 gmt": utc(2026, 6, 21, 10),
    "2026-06-21 10:00 -0530": utc(2026, 6, 21, 15, 30),
    "2026-06-21T10:00:00.25+02": utc(2026, 6, 21, 8, 0, 0, 250000),
    "2026-06-21T10:00:00+1800": utc(2026, 6, 20, 16),
    "2026-06-21T10:00:00 Z": utc(2026, 6, 21, 10),
    "2026-06-21t10:00:00z": utc(2026, 6, 21, 10),
    " 2026-03-01\t": utc(2026, 3, 1),
    "2026-03-01T10:20:30Z\n": utc(2026, 3, 1, 10, 20, 30),
    "2026-02-29": None,
    "2026-13-01": None,
    "2026-00-10": None,
    "2026-3-1": None,
    "2026-03-01T24:00:00": None,
    "2026-03-01T10:60:00": None,
    "2026-03-01T10:20:60": None,
    "2026-03-01T10": None,
    "2026-03-01T10:20:30.": None,
    "2026-03-01T10:20:30.1234567890": None,
    "2026-03-01T10:20:30+19:00": None,
    "2026-03-01T10:20:30+1830": None,
    "2026-03-01T10:20:30+2": None,
    "2026-03-01T10:20:30+02:0": None,
    "2026-03-01T10:20:30  Z": None,
    "2026-03-01-10": None,
    "2026-03-01 +0200": None,
    "2026-03-01 ": utc(2026, 3, 1),
    "2026-03-01T10:20:30 Europe/Berlin": None,
    "2026-03-01T10:20:30 CET": None,
    "20260301": None,
    "20260301102030": None,
    "2026-03": None,
    "01.03.2026": None,
    "March 1, 2026": None,
    "now": None,
    "1969-12-31T23:59:59Z": None,
    "+12026-03-01": None,
    "": None,
    "  ": None,
    None: None,
}

NUMBERS = {
    "1787848445": ("seconds", utc(2026, 8, 27, 16, 34, 5)),
    "1787848445.0": ("seconds", utc(2026, 8, 27, 16, 34, 5)),
    "1787848445.": ("seconds", utc(2026, 8, 27, 16, 34, 5)),
    "1787848445.9223339": ("seconds", utc(2026, 8, 27, 16, 34, 5, 922333)),
    "1787848445922": ("milliseconds", utc(2026, 8, 27, 16, 34, 5, 922000)),
    " 1787848445922.0 ": ("milliseconds", utc(2026, 8, 27, 16, 34, 5, 922000)),
    "1787848445922.5": ("milliseconds", utc(2026, 8, 27, 16, 34, 5, 922500)),
    "1787848445922333": ("microseconds", utc(2026, 8, 27, 16, 34, 5, 922333)),
    "1787848445922333.9": ("microseconds", utc(2026, 8, 27, 16, 34, 5, 922333)),
    "1787848445922333999": ("nanoseconds", utc(2026, 8, 27, 16, 34, 5, 922333)),
    "946684800": ("seconds", utc(2000, 1, 1)),
    "946684799.999999": (None, None),
    "4102444799.999999": ("seconds", utc(2099, 12, 31, 23, 59, 59, 999999)),
    "4102444800": (None, None),
    "946684800000": ("milliseconds", utc(2000, 1, 1)),
    "4102444799999": ("milliseconds", utc(2099, 12, 31, 23, 59, 59, 999000)),
    "946684800000000": ("microseconds", utc(2000, 1, 1)),
    "946684799999999": (None, None),
    "946684800000000000": ("nanoseconds", utc(2000, 1, 1)),
    "4102444800000000000": (None, None),
    "9999999999999999999": (None, None),
    "17878484459": (None, None),
    "0": (None, None),
    "1": (None, None),
    "-1787848445": (None, None),
    "+1787848445": (None, None),
    "01787848445": (None, None),
    "1.787848445E9": (None, None),
    "1787848445,5": (None, None),
    "1787848445.5.5": (None, None),
}

IDS = {
    "17": 17,
    "-17": -17,
    "0": 0,
    "0.0": 0,
    " 17": 17,
    "17\r\n": 17,
    "17850.0": 17850,
    "17850.": 17850,
    "-17850.000": -17850,
    "9223372036854775807": 9223372036854775807,
    "9223372036854775807.0": 9223372036854775807,
    "-9223372036854775808": -9223372036854775808,
    "1.785E4": 17850,
    "1.7850e+04": 17850,
    "1.785e7": 17850000,
    "1e+05": 100000,
    "-1.5E1": -15,
    "9.007199254740991E15": 2**53 - 1,
    "9.007199254740992E15": None,
    "1.7850000000000001E4": None,
    "1.2345E3": None,
    "1.5E300": None,
    "1.5E-1": None,
    "1e5": None,
    "12e4": None,
    "9223372036854775808": None,
    "-9223372036854775809": None,
    "99999999999999999999999999": None,
    "+17": None,
    "-0": None,
    "-0.0": None,
    "0012": None,
    "012": None,
    "12": 12,
    "007": None,
    "-07": None,
    "00": None,
    "01.5E1": None,
    "12.5": None,
    "1 7": None,
    "1_000": None,
    "0x11": None,
    "true": None,
    "nan": None,
    "+": None,
    "\u0661\u0667": None,  # Arabic digits
    "me@example.com": None,
    "": None,
    " \t": None,
    None: None,
}


AMOUNTS = {
    "12": "12.00",
    "12.5": "12.50",
    "-3.25": "-3.25",
    "+3": "3.00",
    ".5": "0.50",
    "7.": "7.00",
    "-0": "0.00",
    "0012.10": "12.10",
    " 4 ": "4.00",
    "12.345": "12.35",
    "-12.345": "-12.35",
    "2.675": "2.68",
    "0.0049999999": "0.00",
    "9999999999999999.99": "9999999999999999.99",
    "9999999999999999.995": None,
    "10000000000000000": None,
    "1e3": None,
    "1,234.50": None,
    "12,5": None,
    "12.5 EUR": None,
    "$5": None,
    "1 000": None,
    "12.5.1": None,
    ".": None,
    "-": None,
    "NaN": None,
    "Infinity": None,
    "": None,
    None: None,
}


def test_an_amount_is_a_decimal_with_a_point_or_nothing(spark):
    table = _texts(spark, AMOUNTS).withColumn("amount", values.amount(F.col("text")))
    assert dict(table.dtypes)["amount"] == "decimal(18,2)"
    found = {text: None if amount is None else str(amount) for text, amount in map(tuple, table.collect())}
    assert found == AMOUNTS


def test_an_event_time_is_iso_8601_or_nothing(spark):
    assert _micros(spark, TIMES) == {text: _since_1970(moment) for text, moment in TIMES.items()}


def test_a_number_is_a_time_by_its_magnitude_and_loses_no_digit(spark):
    assert _micros(spark, NUMBERS) == {text: _since_1970(moment) for text, (_, moment) in NUMBERS.items()}
    units = _texts(spark, NUMBERS).select("text", values.epoch_unit(F.col("text"))).collect()
    assert dict(map(tuple, units)) == {text: unit for text, (unit, _) in NUMBERS.items()}


def test_only_a_canonical_integer_is_a_user(spark):
    frame = _texts(spark, IDS)
    assert dict(map(tuple, frame.select("text", values.user_id(F.col("text"))).collect())) == IDS


def test_no_two_spellings_become_one_user_but_whole_floats(spark):
    spelled = [
        f"{sign}{zeros}{digits}"
        for sign, zeros, digits in product(("", "+", "-"), ("", "0", "00"), ("0", "7", "12"))
    ]
    frame = _texts(spark, spelled)
    found = [row[0] for row in frame.select(values.user_id(F.col("text"))).collect() if row[0] is not None]
    assert sorted(found) == [-12, -7, 0, 7, 12]


def _texts(spark, texts):
    return spark.createDataFrame([(text,) for text in texts], "text string")


def _micros(spark, texts):
    frame = _texts(spark, texts).withColumn("ts", values.event_ts(F.col("text")))
    assert dict(frame.dtypes)["ts"] == "timestamp"
    return dict(map(tuple, frame.selectExpr("text", "unix_micros(ts)").collect()))


def _since_1970(moment):
    return moment and (moment - utc(1970, 1, 1)) // dt.timedelta(microseconds=1)
