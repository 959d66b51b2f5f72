"""Every shape of request that is sent to MLflow's own scoring server and to ours, as one list.

A shape says what is sent, and nothing of what comes back, unless ours is wanted to answer otherwise: then it
says how, and why. It is sent once for a model that refuses NaN and once for one that takes it.
"""

import gzip
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from churn_assets.tables import FEATURE_COLUMNS

JSON = {"content-type": "application/json"}

# Two users whom a reader can follow: a lively one and one who is gone.
A = dict(zip(FEATURE_COLUMNS, (42, 15, 3, 2, 180, 100), strict=True))
B = dict(zip(FEATURE_COLUMNS, (2, 1, 28, 0, 400, 0), strict=True))
ROW_A, ROW_B = list(A.values()), list(B.values())


@dataclass(frozen=True)
class Shape:
    """One request: its name, its body (bytes as they are, anything else as JSON) and its headers.

    ``ours`` is set where our server shall differ: it answers (200) or refuses (400, 404, 415, 422), for the
    ``reason``. With ``scores`` it answers these users' scores; unset, it is only the status that counts.
    """

    name: str
    body: Any
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    ours: int | None = None
    reason: str = ""
    scores: tuple[dict[str, float], ...] | None = None

    @property
    def content(self) -> bytes:
        """What goes over the wire."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def but(record: dict[str, Any] = A, /, **changes: Any) -> dict[str, Any]:
    return {**record, **changes}


def without(name: str, record: dict[str, Any] = A) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


def columns_of(*records: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [record.get(name) for record in records] for name in records[0]}


def split(*rows: list[Any], columns: Any = FEATURE_COLUMNS, **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": list(rows), **more}}


def in_all_formats(name: str, record: dict[str, Any], **more: Any) -> list[Shape]:
    """The record behind another, in each of the ways to write two rows, or alone where it is the only one."""
    rows = [A, record]
    return [
        Shape(f"{name}, records", {"dataframe_records": rows}, **more),
        Shape(
            f"{name}, split", split(*[[r.get(c) for c in record] for r in rows], columns=list(record)), **more
        ),
        Shape(f"{name}, inputs", {"inputs": rows}, **more),
        Shape(f"{name}, inputs by column", {"inputs": {c: [r.get(c) for r in rows] for c in record}}, **more),
        Shape(f"{name}, instances", {"instances": rows}, **more),
        Shape(
            f"{name}, instances by column",
            {"instances": {c: [r.get(c) for r in rows] for c in record}},
            **more,
        ),
    ]


def raw(name: str, text: str | bytes, **more: Any) -> Shape:
    return Shape(name, text.encode() if isinstance(text, str) else text, **more)


def literal(value: str) -> bytes:
    return json.dumps({"dataframe_records": [but(account_age_days=12345)]}).replace("12345", value).encode()


PLAIN = json.dumps({"dataframe_records": [A]}).encode()
CSV = ",".join(FEATURE_COLUMNS) + "\n42,15,3,2,180,100\n2,1,28,0,400,0\n"

SHAPES: list[Shape] = [
    *in_all_formats("two rows", B),
    *in_all_formats("fractions", but(event_count_30d=42.5)),
    *in_all_formats("another order", dict(reversed(B.items()))),
    *in_all_formats("extra column", but(B, shoe_size=44)),
    *in_all_formats("extra column of text", but(B, name="Anna")),
    *in_all_formats("extra column of lists", but(B, tags=["a", "b"])),
    *in_all_formats("extra column of nulls", but(B, name=None)),
    *in_all_formats("user_id beside all features", but(B, user_id=7)),
    *in_all_formats("user_id of text beside all features", but(B, user_id="anna@example.org")),
    *in_all_formats("numeric string", but(B, account_age_days="400")),
    *in_all_formats("numeric string with spaces", but(B, account_age_days=" 400 ")),
    *in_all_formats("numeric string with an exponent", but(B, account_age_days="4e2")),
    *in_all_formats("numeric string with an underscore", but(B, account_age_days="4_00")),
    *in_all_formats("numeric string in Arabic digits", but(B, account_age_days="٤٠٠")),
    *in_all_formats("word", but(B, account_age_days="many")),
    *in_all_formats("empty string", but(B, account_age_days="")),
    *in_all_formats("the string NaN", but(B, account_age_days="NaN")),
    *in_all_formats("the string Infinity", but(B, account_age_days="Infinity")),
    *in_all_formats("hexadecimal string", but(B, account_age_days="0x10")),
    *in_all_formats("true", but(B, purchase_count_30d=True)),
    *in_all_formats("false", but(B, purchase_count_30d=False)),
    *in_all_formats("null", but(B, account_age_days=None)),
    *in_all_formats("NaN", but(B, account_age_days=float("nan"))),
    *in_all_formats("Infinity", but(B, account_age_days=float("inf"))),
    *in_all_formats("-Infinity", but(B, account_age_days=float("-inf"))),
    *in_all_formats("nothing but nulls", dict.fromkeys(FEATURE_COLUMNS)),
    *in_all_formats("list for a number", but(B, account_age_days=[400])),
    *in_all_formats("empty list for a number", but(B, account_age_days=[])),
    *in_all_formats("object for a number", but(B, account_age_days={"n": 400})),
    *in_all_formats("2**53 + 1", but(B, account_age_days=2**53 + 1)),
    *in_all_formats("2**64", but(B, account_age_days=2**64)),
    *in_all_formats("10**400", but(B, account_age_days=10**400)),
    *in_all_formats("1e39", but(B, account_age_days=1e39)),
    *in_all_formats("below the contract", but(B, days_since_last_event=-3)),
    *in_all_formats("above the contract", but(B, active_days_30d=31)),
    *in_all_formats("a number written as a string and one above", but(B, active_days_30d="31")),
    *in_all_formats("missing column", without("account_age_days", B)),
    Shape("all rows lack a feature, records", {"dataframe_records": [without("account_age_days")] * 2}),
    Shape("all rows lack a feature, inputs", {"inputs": [without("account_age_days")] * 2}),
    Shape("all rows lack a feature, instances", {"instances": [without("account_age_days")] * 2}),
    Shape("all rows lack a feature, inputs by column", {"inputs": columns_of(without("account_age_days"))}),
    Shape(
        "one row lacks another feature than the other, records",
        {"dataframe_records": [without("account_age_days"), without("active_days_30d")]},
    ),
    Shape("all nulls in a column, records", {"dataframe_records": [but(account_age_days=None)] * 2}),
    Shape("all nulls in a column, split", split([42, 15, 3, 2, None, 100])),
    Shape(
        "misspelt feature", {"dataframe_records": [{**without("account_age_days"), "account_age_day": 180}]}
    ),
    Shape(
        "feature in capitals",
        {"dataframe_records": [{**without("account_age_days"), "ACCOUNT_AGE_DAYS": 180}]},
    ),
    # One row.
    Shape("one row, records", {"dataframe_records": [A]}),
    Shape("one row, split", split(ROW_A)),
    Shape("one row, inputs", {"inputs": [A]}),
    Shape("one row by column without lists, inputs", {"inputs": A}),
    Shape("one row by column without lists, instances", {"instances": A}),
    Shape("one row by column without lists, records", {"dataframe_records": A}),
    Shape("one row by column with lists of one, inputs", {"inputs": columns_of(A)}),
    Shape("scalars and lists of one, inputs", {"inputs": but(columns_of(A), account_age_days=180)}),
    Shape("scalar and lists of two, inputs", {"inputs": but(columns_of(A, B), account_age_days=180)}),
    Shape("scalar and lists of two, instances", {"instances": but(columns_of(A, B), account_age_days=180)}),
    Shape(
        "one row of strings by column without lists, inputs", {"inputs": {k: str(v) for k, v in A.items()}}
    ),
    Shape("one row with a null without lists, inputs", {"inputs": but(account_age_days=None)}),
    Shape("one row of booleans without lists, inputs", {"inputs": but(purchase_count_30d=True)}),
    Shape("one row as a list, inputs", {"inputs": ROW_A}),
    Shape("one row as a list, instances", {"instances": ROW_A}),
    Shape("rows as lists, inputs", {"inputs": [ROW_A, ROW_B]}),
    Shape("rows as lists, instances", {"instances": [ROW_A, ROW_B]}),
    Shape("rows as lists, records", {"dataframe_records": [ROW_A, ROW_B]}),
    Shape("lists of lists by column, inputs", {"inputs": {k: [[v]] for k, v in A.items()}}),
    Shape("lists of lists by column, instances", {"instances": {k: [[v]] for k, v in A.items()}}),
    # No rows.
    Shape("no rows, records", {"dataframe_records": []}),
    Shape("no rows, split", split()),
    Shape("no rows, inputs", {"inputs": []}),
    Shape("no rows, instances", {"instances": []}),
    Shape("no columns, inputs", {"inputs": {}}),
    Shape("no rows by column, inputs", {"inputs": {name: [] for name in FEATURE_COLUMNS}}),
    Shape("empty records", {"dataframe_records": [{}, {}]}),
    Shape("an empty record after a whole one", {"dataframe_records": [A, {}]}),
    Shape("empty row, split", split([])),
    # Lengths.
    Shape("short row, split", split(ROW_A, ROW_B[:-1])),
    Shape("short rows, split", split(ROW_A[:-1], ROW_B[:-1])),
    Shape("long row, split", split([*ROW_A, 1], ROW_B)),
    Shape("short column, inputs", {"inputs": but(columns_of(A, B), account_age_days=[1])}),
    Shape("short column, instances", {"instances": but(columns_of(A, B), account_age_days=[1])}),
    Shape("short extra column, inputs", {"inputs": but(columns_of(A, B), shoe_size=[1])}),
    Shape("short extra column, instances", {"instances": but(columns_of(A, B), shoe_size=[1])}),
    Shape("scalar extra column, inputs", {"inputs": but(columns_of(A, B), shoe_size=1)}),
    Shape("extra column in the first row only, instances", {"instances": [but(shoe_size=1), B]}),
    Shape("extra column in the first row only, inputs", {"inputs": [but(shoe_size=1), B]}),
    # What pandas writes for a split.
    Shape("index", split(ROW_A, ROW_B, index=[0, 1])),
    Shape("index of text", split(ROW_A, ROW_B, index=["a", "b"])),
    Shape("index of the same", split(ROW_A, ROW_B, index=[7, 7])),
    Shape("index of lists", split(ROW_A, ROW_B, index=[["a", 1], ["b", 2]])),
    Shape("shorter index", split(ROW_A, ROW_B, index=[0])),
    Shape("longer index", split(ROW_A, ROW_B, index=[0, 1, 2])),
    Shape("longer index over one row", split(ROW_A, index=[0, 1])),
    Shape("empty index", split(ROW_A, ROW_B, index=[])),
    Shape("null index", split(ROW_A, ROW_B, index=None)),
    Shape("number as index", split(ROW_A, ROW_B, index=2)),
    Shape("text as index", split(ROW_A, ROW_B, index="ab")),
    Shape("object as index", split(ROW_A, ROW_B, index={"a": 1, "b": 2})),
    Shape("duplicate column, split", split([*ROW_A, 181], columns=[*FEATURE_COLUMNS, "account_age_days"])),
    Shape("duplicate extra column, split", split([*ROW_A, 1, 2], columns=[*FEATURE_COLUMNS, "x", "x"])),
    Shape("split without columns", {"dataframe_split": {"data": [ROW_A]}}),
    Shape("split without data", {"dataframe_split": {"columns": FEATURE_COLUMNS}}),
    Shape("split with null columns", split(ROW_A, columns=None)),
    Shape("split with numbers as columns", split(ROW_A, columns=[0, 1, 2, 3, 4, 5])),
    Shape("split with a number among the columns", split([*ROW_A, 1], columns=[*FEATURE_COLUMNS, 7])),
    Shape("split with one column as text", split([1], columns="event_count_30d")),
    Shape("split with an unknown key", split(ROW_A, dtype="int64")),
    Shape(
        "split with names, as orient='tight'",
        split(ROW_A, index=[0], index_names=[None], column_names=[None]),
    ),
    Shape("split whose rows are objects", {"dataframe_split": {"columns": FEATURE_COLUMNS, "data": [A, B]}}),
    Shape("split whose rows are objects, without columns", {"dataframe_split": {"data": [A, B]}}),
    Shape("split by column", {"dataframe_split": {"columns": FEATURE_COLUMNS, "data": columns_of(A, B)}}),
    Shape("split of one flat row", {"dataframe_split": {"columns": FEATURE_COLUMNS, "data": ROW_A}}),
    Shape("split as a list", {"dataframe_split": [ROW_A]}),
    Shape("split with null data", {"dataframe_split": {"columns": FEATURE_COLUMNS, "data": None}}),
    Shape("split with a null row", {"dataframe_split": {"columns": FEATURE_COLUMNS, "data": [ROW_A, None]}}),
    # The body's own keys.
    Shape("nothing", {}),
    Shape("two formats", {"dataframe_records": [A], "inputs": [A]}),
    Shape("two formats, one null", {"dataframe_records": [A], "inputs": None}),
    Shape("unknown key", {"dataframe_records": [A], "frame": 1}),
    Shape("unknown key, inputs", {"inputs": [A], "frame": 1}),
    Shape("unknown key, instances", {"instances": [A], "signature_name": "x"}),
    Shape("client_request_id", {"dataframe_records": [A], "client_request_id": "a-1"}),
    Shape("client_request_id that is no text", {"dataframe_records": [A], "client_request_id": 1}),
    Shape("usage_context", {"inputs": [A], "usage_context": {"team": "b"}}),
    Shape("usage_context that is no object", {"inputs": [A], "usage_context": "b"}),
    Shape("format in capitals", {"DATAFRAME_RECORDS": [A]}),
    Shape("records at the top", [A]),
    Shape("one record at the top", A),
    Shape("messages", {"messages": [{"role": "user", "content": "hello"}]}),
    Shape("messages beside records", {"dataframe_records": [A], "messages": []}),
    Shape("input beside records", {"dataframe_records": [A], "input": "x"}),
    Shape("prompt beside inputs", {"inputs": [A], "prompt": "x"}),
    # Parameters.
    Shape("params empty", {"dataframe_records": [A], "params": {}}),
    Shape("params null", {"dataframe_records": [A], "params": None}),
    Shape("params unknown", {"dataframe_records": [A], "params": {"temperature": 0.5}}),
    Shape("params unknown, inputs", {"inputs": [A], "params": {"temperature": 0.5}}),
    Shape("params unknown, instances", {"instances": [A], "params": {"temperature": 0.5}}),
    Shape("params explain false", {"dataframe_records": [A], "params": {"explain": False}}),
    Shape("params explain null", {"dataframe_records": [A], "params": {"explain": None}}),
    Shape("params explain true", {"dataframe_records": [A, B], "params": {"explain": True}}),
    Shape("params explain of text", {"dataframe_records": [A], "params": {"explain": "yes"}}),
    Shape("params explain of 1", {"dataframe_records": [A], "params": {"explain": 1}}),
    Shape("params as a list", {"dataframe_records": [A], "params": ["explain"]}),
    Shape("params as text", {"dataframe_records": [A], "params": "explain"}),
    # What is in a format's place.
    *[
        Shape(f"{name} is {value!r}", {name: value})
        for name in ("dataframe_records", "dataframe_split", "inputs", "instances")
        for value in (None, 1, "all", True)
    ],
    Shape("a null among the records", {"dataframe_records": [A, None]}),
    Shape("a null among the inputs", {"inputs": [A, None]}),
    Shape("a number among the inputs", {"inputs": [A, 1]}),
    Shape("a number among the instances", {"instances": [A, 1]}),
    Shape("a list of numbers, inputs", {"inputs": [1, 2]}),
    # Bytes.
    raw("empty body", b""),
    raw("blank body", b" \n"),
    raw("null body", b"null"),
    raw("text body", b'"x"'),
    raw("half a body", PLAIN[:-20]),
    raw("trailing garbage", PLAIN + b" x"),
    raw("two bodies", PLAIN + b"\n" + PLAIN),
    raw("trailing blanks", PLAIN + b" \n\t"),
    raw("trailing comma", PLAIN[:-1] + b",}"),
    raw("single quotes", PLAIN.replace(b'"', b"'")),
    raw("comment", PLAIN[:-1] + b"/* x */}"),
    raw(
        "key twice in a record",
        PLAIN.replace(b'{"event_count_30d": 42', b'{"event_count_30d": 1, "event_count_30d": 42'),
    ),
    raw("format twice", PLAIN[:-1] + b', "dataframe_records": [' + json.dumps(B).encode() + b"]}"),
    raw("byte order mark", b"\xef\xbb\xbf" + PLAIN),
    raw("UTF-16", PLAIN.decode().encode("utf-16")),
    raw("UTF-16 without a mark", PLAIN.decode().encode("utf-16-le")),
    raw("not UTF-8", PLAIN.replace(b"event_count_30d", b"event_count_30\xff")),
    raw("not UTF-8 in an extra column", PLAIN[:-3] + b', "name": "M\xfcller"}]}'),
    raw("half a surrogate in an extra column", PLAIN[:-3] + b', "name": "\\ud800"}]}'),
    raw("control character in an extra column", PLAIN[:-3] + b', "name": "a\x01b"}]}'),
    raw("number with a plus", literal("+1")),
    raw("number with leading zeros", literal("007")),
    raw("number without a fraction after its point", literal("1.")),
    raw("number without a whole part", literal(".5")),
    raw("1e400", literal("1e400")),
    raw("1e-400", literal("1e-400")),
    raw("-0", literal("-0")),
    raw("literal NaN", literal("NaN")),
    raw("literal nan", literal("nan")),
    raw("literal Infinity", literal("Infinity")),
    raw("literal True", literal("True")),
    raw("nested too deep", b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    raw(
        "nested too deep in an extra column",
        PLAIN[:-3] + b', "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ),
    raw("5,000 digits", literal("1" * 5000)),
    # Headers.
    raw("JSON with a charset", PLAIN, headers={"content-type": "application/json; charset=utf-8"}),
    raw("JSON with a charset in capitals", PLAIN, headers={"content-type": "application/json;charset=UTF-8"}),
    raw("JSON with another charset", PLAIN, headers={"content-type": "application/json; charset=latin-1"}),
    raw(
        "JSON with the format of old",
        PLAIN,
        headers={"content-type": "application/json; format=pandas-split"},
    ),
    raw("JSON in capitals", PLAIN, headers={"content-type": "Application/JSON"}),
    raw("a JSON of another kind", PLAIN, headers={"content-type": "application/x+json"}),
    raw("no content type", PLAIN, headers={}),
    raw("a form's content type", PLAIN, headers={"content-type": "application/x-www-form-urlencoded"}),
    raw("plain text", PLAIN, headers={"content-type": "text/plain"}),
    raw("csv", CSV, headers={"content-type": "text/csv"}),
    raw("csv with a word", CSV.replace("400", "many"), headers={"content-type": "text/csv"}),
    raw("csv with a gap", CSV.replace("400", ""), headers={"content-type": "text/csv"}),
    raw("parquet", b"PAR1", headers={"content-type": "application/vnd.apache.parquet"}),
    raw("gzip", gzip.compress(PLAIN), headers={**JSON, "content-encoding": "gzip"}),
    raw("gzip that says nothing", gzip.compress(PLAIN)),
    raw("half a gzip", gzip.compress(PLAIN)[:-9], headers={**JSON, "content-encoding": "gzip"}),
    raw("JSON that says it is gzip", PLAIN, headers={**JSON, "content-encoding": "gzip"}),
    raw("identity", PLAIN, headers={**JSON, "content-encoding": "identity"}),
    raw("brotli", PLAIN, headers={**JSON, "content-encoding": "br"}),
    # Users to look up.
    Shape("user_id alone", {"dataframe_records": [{"user_id": 42}]}),
    Shape("user_id alone, split", split([42], columns=["user_id"])),
    Shape("user_id alone, by column", {"inputs": {"user_id": [42, 43]}}),
    Shape("user_id as text", {"dataframe_records": [{"user_id": "42"}]}),
    Shape("user_id as a double", {"dataframe_records": [{"user_id": 42.0}]}),
    Shape("user_id with a leading zero", {"dataframe_records": [{"user_id": "0042"}]}),
    Shape("user_id beside a null", {"dataframe_records": [but(user_id=42, account_age_days=None)]}),
    Shape("unknown user", {"dataframe_records": [{"user_id": 7}]}),
]
