import datetime as dt
import subprocess
import sys

import pytest
from pyspark import cloudpickle

from churn_assets import tables
from churn_assets.transforms import parsing
from churn_assets.transforms.json_lines import line_reader
from churn_assets_tests.rows import NOON, landed_lines

CORRUPT = None

# Line -> the fields that are not NULL, or CORRUPT.
ODD_LINES = {
    # Plain lines, which the engine reads itself.
    '{"event_id":"a","user_id":1,"event_ts":"2026-03-01","event_type":"login","country":"DE"}': {
        "event_id": "a",
        "user_id": "1",
        "event_ts": "2026-03-01",
        "event_type": "login",
        "country": "DE",
    },
    '{"event_id":"a","user_id":1,"event_ts":"b","event_type":"c","country":"DE","source_user_id":"a@b.c"}': {
        "event_id": "a",
        "user_id": "1",
        "event_ts": "b",
        "event_type": "c",
        "country": "DE",
        "source_user_id": "a@b.c",
    },
    '{"event_id":"a","amount":12.5,"user_id":1}': {"event_id": "a", "amount": "12.5", "user_id": "1"},
    '{"amount":-123456.78}': {"amount": "-123456.78"},
    '{"amount":"12.50 EUR","event_id":"a"}': {"amount": "12.50 EUR", "event_id": "a"},
    '{"source_user_id": 17, "x": 1}': {"source_user_id": "17", "_rescued_data": '{"x":1}'},
    '{"source_user_i\\u0064": "escaped"}': {"source_user_id": "escaped"},
    '{"event_id": "with spaces", "user_id": -7}': {"event_id": "with spaces", "user_id": "-7"},
    '{"country": "DE", "event_id": "any order"}': {"event_id": "any order", "country": "DE"},
    '{"event_id":"{[not nested]}, \'quoted\': ü 😀 \x7f \u2028"}': {
        "event_id": "{[not nested]}, 'quoted': ü 😀 \x7f \u2028"
    },
    '{"event_id":"","user_id":"null"}': {"event_id": "", "user_id": "null"},
    '{"event_id":null,"user_id":true,"event_type":false}': {"user_id": "true", "event_type": "false"},
    '{"user_id":0,"event_id":123456789012345678}': {"user_id": "0", "event_id": "123456789012345678"},
    '\ufeff{"event_id":"byte order mark"}': {"event_id": "byte order mark"},
    # Lines that are JSON objects, but not plain.
    "{}": {},
    ' \t{ "event_id" : "white space" } ': {"event_id": "white space"},
    '{"event_id":"\\u00fc\\ud83d\\ude00 \\"\\\\\\/\\n\\u0001"}': {"event_id": 'ü😀 "\\/\n\x01'},
    '{"\\u0065vent_id":"escaped name"}': {"event_id": "escaped name"},
    '{"user_id":1.0,"event_id":1e5,"country":-0}': {"user_id": "1.0", "event_id": "1e5", "country": "-0"},
    '{"user_id":1.10E+02}': {"user_id": "1.10E+02"},
    '{"user_id":12345678901234567890123}': {"user_id": "12345678901234567890123"},
    '{"user_id":0.1000000000000000055511151231257827}': {"user_id": "0.1000000000000000055511151231257827"},
    # Engines that read these as doubles write them otherwise.
    '{"amount":12.50}': {"amount": "12.50"},
    '{"amount":12345678.9,"event_id":"a"}': {"amount": "12345678.9", "event_id": "a"},
    '{"amount":0.001}': {"amount": "0.001"},
    '{"event_type":{"b" : [1, 2.0 ,null], "a":"\\u00fc"}}': {"event_type": '{"b":[1,2.0,null],"a":"ü"}'},
    '{"event_id":"first","event_id":"last counts"}': {"event_id": "last counts"},
    '{"event_id":"first","event_id":null}': {},
    '{"event_id":null,"event_id":"second"}': {"event_id": "second"},
    '{"event_id":"more","z":1.50,"a":{"y":[1, 2],"b":"\\"x\\""},"m":null}': {
        "event_id": "more",
        "_rescued_data": '{"a":{"b":"\\"x\\"","y":[1,2]},"m":null,"z":1.50}',
    },
    '{"event_id":"e","Event_ID":"E"}': {"event_id": "e", "_rescued_data": '{"Event_ID":"E"}'},
    '{"_rescued_data":"mine"}': {"_rescued_data": '{"_rescued_data":"mine"}'},
    '{"event_id":"deep","x":' + "[" * 100 + "]" * 100 + "}": {
        "event_id": "deep",
        "_rescued_data": '{"x":' + "[" * 100 + "]" * 100 + "}",
    },
    # Lines that are not.
    "": CORRUPT,
    "   ": CORRUPT,
    "null": CORRUPT,
    "[]": CORRUPT,
    '["event_id"]': CORRUPT,
    '"event_id"': CORRUPT,
    "17": CORRUPT,
    '{"event_id":"cut off': CORRUPT,
    '{"event_id":"unclosed"': CORRUPT,
    '{"event_id":"trailing comma",}': CORRUPT,
    '{"event_id":"two commas",,"user_id":1}': CORRUPT,
    '{"event_id":"trailing text"} x': CORRUPT,
    '{"event_id":"one"}{"event_id":"two"}': CORRUPT,
    '{"event_id":"line separator after"}\u2028': CORRUPT,
    "{'event_id':'single quotes'}": CORRUPT,
    '{event_id:"unquoted name"}': CORRUPT,
    '{"event_id":"comment"/* here */}': CORRUPT,
    '{"event_id":"raw\ttab"}': CORRUPT,
    '{"event_id":"raw\rreturn"}': CORRUPT,
    '{"event_id":"bad escape \\x"}': CORRUPT,
    '{"event_id":"half a surrogate \\ud800"}': CORRUPT,
    '{"user_id":NaN}': CORRUPT,
    '{"user_id":Infinity}': CORRUPT,
    '{"user_id":01}': CORRUPT,
    '{"user_id":+1}': CORRUPT,
    '{"user_id":.5}': CORRUPT,
    '{"user_id":1.}': CORRUPT,
    '{"user_id":True}': CORRUPT,
    '{"user_id":1e999}': CORRUPT,
    '{"event_id" "no colon"}': CORRUPT,
    '{"event_id":}': CORRUPT,
    '{"event_id":"deeper than Python reads","x":' + "[" * 1015 + "]" * 1015 + "}": CORRUPT,
    '{"event_id":"deeper than orjson writes","x":' + "[" * 300 + "]" * 300 + "}": CORRUPT,
    '{"event_id":"deeper than orjson reads","x":' + "[" * 2000 + "]" * 2000 + "}": CORRUPT,
}


@pytest.fixture(scope="module")
def odd_rows(spark):
    table = parsing.landed_events(
        parsing.taken_apart(landed_lines(spark, {"odd.jsonl": list(ODD_LINES)})), NOON
    )
    return {row["_raw"]: row.asDict() for row in table.collect()}


@pytest.mark.parametrize(("line", "expected"), ODD_LINES.items(), ids=[line[:60] for line in ODD_LINES])
def test_every_engine_reads_a_line_the_same_way(odd_rows, line, expected):
    row = odd_rows[line.removeprefix("\ufeff")]
    fields = {name: row[name] for name in (*parsing.FIELDS, "_rescued_data") if row[name] is not None}
    if expected is CORRUPT:
        assert (fields, row["_corrupt_record"]) == ({}, line)
    else:
        assert (fields, row["_corrupt_record"]) == (expected, None)


def test_no_line_is_lost(odd_rows):
    assert len(odd_rows) == len(ODD_LINES)


def test_a_landed_row_says_when_and_from_where_it_came(spark):
    ingested_at = dt.datetime(2026, 3, 2, 1, 30, 0, 123457, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    lines = landed_lines(spark, {"a/1.jsonl": ['{"event_id":"crlf"}\r'], "b/2.jsonl": ["x\r"]})
    table = parsing.landed_events(parsing.taken_apart(lines), ingested_at)
    assert table.columns == tables.LANDED_EVENTS.column_names
    assert [kind for _, kind in table.dtypes] == [column.type for column in tables.LANDED_EVENTS.columns]
    rows = sorted(
        tuple(row) for row in table.selectExpr(
            "_source_file", "_raw", "event_id", "unix_micros(_ingested_at)", "_processing_date"
        ).collect()
    )  # fmt: skip
    micros = 1_772_407_800_123_457
    assert rows == [
        ("a/1.jsonl", '{"event_id":"crlf"}', "crlf", micros, dt.date(2026, 3, 1)),
        ("b/2.jsonl", "x", None, micros, dt.date(2026, 3, 1)),
    ]


def test_a_worker_without_this_package_can_read_lines(tmp_path):
    reader = tmp_path / "reader.pickle"
    reader.write_bytes(cloudpickle.dumps(line_reader(["line"])))
    program = (
        "import pickle, sys, pyarrow as pa; sys.modules['churn_assets'] = None;"
        f"read = pickle.load(open({str(reader)!r}, 'rb'));"
        """lines = ['{"event_id":7}', '{"event_id": 1.0, "x": 1}', 'x'];"""
        "batch = pa.RecordBatch.from_pydict({'line': lines});"
        "print(*next(read(iter([batch])))['event_id'], sep=chr(10))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["7", "1.0", "None"]
