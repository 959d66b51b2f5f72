"""Every shape of request that is sent to MLflow's own scoring server and to ours, as one list.

A shape says what is sent, and nothing of what comes back, unless ours is wanted to answer otherwise: then it
says how, and why.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from churn_assets.tables import FEATURE_COLUMNS, WINDOW_FEATURES
from churn_assets_tests.rows import features

JSON = {"content-type": "application/json"}

# Two users whom a reader can follow: a lively one and one who is gone.
A = dict(zip(WINDOW_FEATURES, (42, 15, 3, 2, 180, 100), strict=True))
B = dict(zip(WINDOW_FEATURES, (2, 1, 28, 0, 400, 0), strict=True))
# The same with their histories: the second was never seen before, and bought nothing.
WHOLE_A = features(
    **A,
    active_days_90d=40,
    active_days_total=60,
    event_count_total=170,
    purchase_count_total=5,
    mean_gap_days=3.05,
    longest_gap_days=10,
    overdue_ratio=0.98,
    days_since_last_purchase=12,
    amount_total=250.5,
)
WHOLE_B = features(**B, active_days_90d=1, active_days_total=1, event_count_total=2, purchase_count_total=0)
HISTORY = FEATURE_COLUMNS[len(WINDOW_FEATURES) :]
SHORT_B = {name: value for name, value in WHOLE_B.items() if value is not None}
ROW_A, ROW_B = list(A.values()), list(B.values())
# User 43 of conftest.PUBLISHED; user 42 is A.
PUBLISHED_B = dict(zip(WINDOW_FEATURES, (1, 1, 28, 0, 400, 0), strict=True))


# Why ours is wanted to answer otherwise. docs/adr/0023 gives each.
USERS = "a user_id stands for the published features of a user; MLflow's server knows no users"
MIXED = "rows with and without a user_id may be mixed in any format"
HISTORIES = "rows with and without a history may be mixed in any format"
HALF = "half a history would be answered as if there were none, and nobody would see it"
ONE_OF_SIX = "of a model that knows histories a row lacks all of the history or nothing"
IMPOSSIBLE = "a value that the feature's contract excludes is an error of the client's, not a customer"
INFINITE = "no count and no number of days is infinite"
TOO_LARGE = "what float32 does not hold is refused for every model, so that a promotion changes no status"
NOBODY = "a row without any feature is nobody, and a score of it would be read as somebody's"
EMPTY_LIST = "an empty list is no number; that numpy casts it to NaN in one of six places is an accident"
UNREAD = "a field that the model does not know is not looked at, so it cannot be wrong"
FEATURES_IN_PIECES = "one row for each object that was sent, whatever is in it"
CHAT = "a body that MLflow takes for a language model's is refused; it would be answered without predictions"
NO_ROWS = "an index alone makes no rows"
MEDIA_TYPES = "media types know no case (RFC 9110), and what ends in +json is JSON (RFC 6839)"
JSON_ALONE = "Databricks documents JSON alone; a client that sends CSV or Parquet could not move there"
GZIP = "a body that says it is gzip is unpacked, up to the limit of a body"
ENCODINGS = "an encoding that cannot be read is named, not ignored"


@dataclass(frozen=True)
class Shape:
    """One request: its name, its body (bytes as they are, anything else as JSON) and its headers.

    ``ours`` is set where our server shall differ: the status that it gives, for the ``reason``; with 200 the
    scores of these features. With ``gaps`` it is sent for a model that takes NaN too; with ``history`` it is
    sent for one that knows histories alone.
    """

    name: str
    body: Any
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    gaps: bool = False
    history: bool = False
    ours: int | None = None
    reason: str = ""
    scores: tuple[Mapping[str, float | None], ...] = ()

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


def split(*rows: list[Any], columns: Any = WINDOW_FEATURES, **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": list(rows), **more}}


def in_all_formats(
    name: str, record: dict[str, Any], besides: dict[str, dict[str, Any]] | None = None, **more: Any
) -> list[Shape]:
    """The record behind another one, in each way to write two rows; ``besides`` holds for one way alone."""
    rows = [A, record]
    columns = {column: [row.get(column) for row in rows] for column in record}
    bodies = {
        "records": {"dataframe_records": rows},
        "split": split(*map(list, zip(*columns.values(), strict=True)), columns=list(record)),
        "inputs": {"inputs": rows},
        "inputs by column": {"inputs": columns},
        "instances": {"instances": rows},
        "instances by column": {"instances": columns},
    }
    return [
        Shape(f"{name}, {way}", body, **more, **(besides or {}).get(way, {})) for way, body in bodies.items()
    ]


def raw(name: str, text: str | bytes, **more: Any) -> Shape:
    return Shape(name, text.encode() if isinstance(text, str) else text, **more)


def literal(value: str) -> bytes:
    return (
        json.dumps({"dataframe_records": [but(days_since_last_event=12345)]}).replace("12345", value).encode()
    )


PLAIN = json.dumps({"dataframe_records": [A]}).encode()
CSV = ",".join(WINDOW_FEATURES) + "\n42,15,3,2,180,100\n2,1,28,0,400,0\n"

_UNREAD = {"ours": 200, "reason": UNREAD, "scores": (A, B)}
_MIXED = {"ours": 200, "reason": MIXED, "scores": (A, B)}
_EMPTY_LIST = {"ours": 400, "reason": EMPTY_LIST}

_HISTORIES = {"ours": 200, "reason": HISTORIES, "history": True}

# For a version that knows histories.
HISTORY_SHAPES = [
    *in_all_formats("the six alone", B, history=True),
    Shape(
        "two histories, records",
        {"dataframe_records": [WHOLE_A, but(WHOLE_A, days_since_last_event=20)]},
        history=True,
    ),
    Shape("a history with nulls, records", {"dataframe_records": [WHOLE_A, WHOLE_B]}, history=True),
    Shape("nulls alone in columns of a history, records", {"dataframe_records": [WHOLE_B] * 2}, history=True),
    Shape("nulls alone in columns of a history, inputs", {"inputs": [WHOLE_B] * 2}, history=True),
    Shape("nulls alone in columns of a history, instances", {"instances": [WHOLE_B] * 2}, history=True),
    Shape("nulls alone in columns of a history, by column", {"inputs": columns_of(WHOLE_B)}, history=True),
    Shape(
        "nulls alone in columns of a history, split",
        split(list(WHOLE_B.values()), columns=list(WHOLE_B)),
        history=True,
    ),
    Shape("nulls left out of a history, records", {"dataframe_records": [SHORT_B]}, history=True),
    Shape("nulls left out of a history, instances", {"instances": [SHORT_B] * 2}, history=True),
    Shape("nulls left out of a history, by column", {"inputs": columns_of(SHORT_B)}, history=True),
    Shape(
        "nulls in place of a history, records",
        {"dataframe_records": [but(**dict.fromkeys(HISTORY))]},
        history=True,
    ),
    Shape(
        "a history in text, records",
        {"dataframe_records": [but(WHOLE_A, mean_gap_days="3.05")]},
        history=True,
    ),
    Shape(
        "a word in a history, records",
        {"dataframe_records": [but(WHOLE_A, mean_gap_days="often")]},
        history=True,
    ),
    Shape("with and without a history, records", {"dataframe_records": [WHOLE_A, B]}, history=True),
    Shape("with and without a history, inputs", {"inputs": [WHOLE_A, B]}, history=True),
    Shape(
        "with and without a history, instances",
        {"instances": [WHOLE_A, B]},
        scores=(WHOLE_A, but(B, **dict.fromkeys(HISTORY))),
        **_HISTORIES,
    ),
    Shape("with and without a history by column, inputs", {"inputs": columns_of(WHOLE_A, B)}, history=True),
    Shape(
        "a part of a history, records",
        {"dataframe_records": [without("active_days_total", WHOLE_A)]},
        history=True,
        ours=400,
        reason=HALF,
    ),
    Shape(
        "a part of a history, by column",
        {"inputs": columns_of(without("active_days_total", WHOLE_A))},
        history=True,
        ours=400,
        reason=HALF,
    ),
    Shape(
        "null in a history, records",
        {"dataframe_records": [but(WHOLE_A, active_days_total=None)]},
        history=True,
        ours=400,
        reason=HALF,
    ),
    Shape(
        "one column of a history, records",
        {"dataframe_records": [but(mean_gap_days=3)]},
        history=True,
        ours=400,
        reason=HALF,
    ),
    Shape(
        "above the contract of a history, records",
        {"dataframe_records": [but(WHOLE_A, active_days_90d=91)]},
        history=True,
        ours=400,
        reason=IMPOSSIBLE,
    ),
    Shape(
        "one of the six is missing, records",
        {"dataframe_records": [without("account_age_days")]},
        history=True,
    ),
    Shape(
        "one of the six is missing beside a history, records",
        {"dataframe_records": [without("account_age_days", WHOLE_A)]},
        history=True,
    ),
    Shape(
        "one of the six is null, records", {"dataframe_records": [but(account_age_days=None)]}, history=True
    ),
    Shape(
        "one of the six is null beside a history, records",
        {"dataframe_records": [but(WHOLE_A, account_age_days=None)]},
        history=True,
        ours=400,
        reason=ONE_OF_SIX,
    ),
    Shape(
        "contributions without a history",
        {"dataframe_records": [A, B], "params": {"explain": True}},
        history=True,
    ),
    Shape(
        "contributions with a history",
        {"dataframe_records": [WHOLE_A, WHOLE_B], "params": {"explain": True}},
        history=True,
    ),
]

SHAPES: list[Shape] = [
    *in_all_formats("two rows", B, gaps=True),
    *in_all_formats("fractions", but(event_count_30d=42.5)),
    *in_all_formats("another order", dict(reversed(B.items()))),
    *in_all_formats("extra column", but(B, shoe_size=44)),
    *in_all_formats("extra column of text", but(B, name="Anna")),
    *in_all_formats(
        "extra column of lists",
        but(B, tags=["a", "b"]),
        besides={"inputs by column": _UNREAD, "instances by column": _UNREAD},
    ),
    *in_all_formats("extra column of nulls", but(B, name=None)),
    *in_all_formats("user_id beside all features", but(B, user_id=7), besides={"instances": _MIXED}),
    *in_all_formats(
        "user_id of text beside all features",
        but(B, user_id="anna@example.org"),
        besides={"instances": _MIXED},
    ),
    *in_all_formats("numeric string", but(B, days_since_last_event="28"), gaps=True),
    *in_all_formats("numeric string with spaces", but(B, days_since_last_event=" 28 ")),
    *in_all_formats("numeric string with an exponent", but(B, days_since_last_event="2.8e1")),
    *in_all_formats("numeric string with an underscore", but(B, days_since_last_event="2_8")),
    *in_all_formats("numeric string in Arabic digits", but(B, days_since_last_event="٢٨")),
    *in_all_formats("word", but(B, days_since_last_event="many")),
    *in_all_formats("empty string", but(B, days_since_last_event="")),
    *in_all_formats("the string NaN", but(B, days_since_last_event="NaN"), gaps=True),
    *in_all_formats(
        "the string Infinity", but(B, days_since_last_event="Infinity"), ours=400, reason=INFINITE, gaps=True
    ),
    *in_all_formats("hexadecimal string", but(B, days_since_last_event="0x10")),
    *in_all_formats("true", but(B, purchase_count_30d=True), gaps=True),
    *in_all_formats("false", but(B, purchase_count_30d=False)),
    *in_all_formats("null", but(B, days_since_last_event=None), gaps=True),
    *in_all_formats("NaN", but(B, days_since_last_event=float("nan")), gaps=True),
    *in_all_formats(
        "Infinity", but(B, days_since_last_event=float("inf")), ours=400, reason=INFINITE, gaps=True
    ),
    *in_all_formats(
        "-Infinity", but(B, days_since_last_event=float("-inf")), ours=400, reason=INFINITE, gaps=True
    ),
    *in_all_formats("nothing but nulls", dict.fromkeys(WINDOW_FEATURES), ours=400, reason=NOBODY, gaps=True),
    *in_all_formats("list for a number", but(B, days_since_last_event=[28])),
    *in_all_formats(
        "empty list for a number",
        but(B, days_since_last_event=[]),
        gaps=True,
        besides={"inputs": _EMPTY_LIST},
    ),
    *in_all_formats("object for a number", but(B, days_since_last_event={"n": 28})),
    *in_all_formats("2**53 + 1", but(B, account_age_days=2**53 + 1)),
    *in_all_formats("2**64", but(B, account_age_days=2**64)),
    *in_all_formats("10**400", but(B, account_age_days=10**400)),
    *in_all_formats("1e39", but(B, account_age_days=1e39), ours=400, reason=TOO_LARGE, gaps=True),
    *in_all_formats("below the contract", but(B, days_since_last_event=-3), ours=400, reason=IMPOSSIBLE),
    *in_all_formats("above the contract", but(B, active_days_30d=31), ours=400, reason=IMPOSSIBLE),
    *in_all_formats(
        "a number written as a string and one above",
        but(B, active_days_30d="31"),
        ours=400,
        reason=IMPOSSIBLE,
    ),
    *in_all_formats("missing column", without("days_since_last_event", B), gaps=True),
    Shape(
        "all rows lack a feature, records",
        {"dataframe_records": [without("account_age_days")] * 2},
        gaps=True,
    ),
    Shape("all rows lack a feature, inputs", {"inputs": [without("account_age_days")] * 2}, gaps=True),
    Shape("all rows lack a feature, instances", {"instances": [without("account_age_days")] * 2}, gaps=True),
    Shape("all rows lack a feature, inputs by column", {"inputs": columns_of(without("account_age_days"))}),
    Shape(
        "one row lacks another feature than the other, records",
        {"dataframe_records": [without("account_age_days"), without("active_days_30d")]},
        gaps=True,
    ),
    Shape(
        "all nulls in a column, records",
        {"dataframe_records": [but(days_since_last_event=None)] * 2},
        gaps=True,
    ),
    Shape("all nulls in a column, split", split([42, 15, None, 2, 180, 100]), gaps=True),
    Shape(
        "misspelt feature", {"dataframe_records": [{**without("account_age_days"), "account_age_day": 180}]}
    ),
    Shape(
        "feature in capitals",
        {"dataframe_records": [{**without("account_age_days"), "ACCOUNT_AGE_DAYS": 180}]},
    ),
    # One row.
    Shape("one row, records", {"dataframe_records": [A]}, gaps=True),
    Shape("one row, split", split(ROW_A)),
    Shape("one row, inputs", {"inputs": [A]}),
    Shape("one row by column without lists, inputs", {"inputs": A}),
    Shape("one row by column without lists, instances", {"instances": A}),
    Shape("one row by column without lists, records", {"dataframe_records": A}),
    Shape("one row by column with lists of one, inputs", {"inputs": columns_of(A)}),
    Shape("scalars and lists of one, inputs", {"inputs": but(columns_of(A), days_since_last_event=3)}),
    Shape("scalar and lists of two, inputs", {"inputs": but(columns_of(A, B), days_since_last_event=3)}),
    Shape(
        "scalar and lists of two, instances", {"instances": but(columns_of(A, B), days_since_last_event=3)}
    ),
    Shape(
        "one row of strings by column without lists, inputs", {"inputs": {k: str(v) for k, v in A.items()}}
    ),
    Shape(
        "one row with a null without lists, inputs", {"inputs": but(days_since_last_event=None)}, gaps=True
    ),
    Shape("one row of booleans without lists, inputs", {"inputs": but(purchase_count_30d=True)}),
    Shape("one row as a list, inputs", {"inputs": ROW_A}),
    Shape("one row as a list, instances", {"instances": ROW_A}),
    Shape("rows as lists, inputs", {"inputs": [ROW_A, ROW_B]}),
    Shape("rows as lists, instances", {"instances": [ROW_A, ROW_B]}),
    Shape("rows as lists, records", {"dataframe_records": [ROW_A, ROW_B]}),
    Shape("lists of lists by column, inputs", {"inputs": {k: [[v]] for k, v in A.items()}}),
    Shape("lists of lists by column, instances", {"instances": {k: [[v]] for k, v in A.items()}}),
    Shape(
        "features in pieces, instances",
        {"instances": [without("account_age_days"), {"account_age_days": 180}]},
        ours=400,
        reason=FEATURES_IN_PIECES,
    ),
    # No rows.
    Shape("no rows, records", {"dataframe_records": []}),
    Shape("no rows, split", split(), gaps=True),
    Shape("no rows, inputs", {"inputs": []}),
    Shape("no rows, instances", {"instances": []}),
    Shape("no columns, inputs", {"inputs": {}}),
    Shape("no rows by column, inputs", {"inputs": {name: [] for name in WINDOW_FEATURES}}, gaps=True),
    Shape("empty records", {"dataframe_records": [{}, {}]}),
    Shape(
        "an empty record after a whole one",
        {"dataframe_records": [A, {}]},
        ours=400,
        reason=NOBODY,
        gaps=True,
    ),
    Shape("empty row, split", split([])),
    # Lengths.
    Shape("short row, split", split(ROW_A, ROW_B[:-1]), gaps=True),
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
    Shape("duplicate column, split", split([*ROW_A, 181], columns=[*WINDOW_FEATURES, "account_age_days"])),
    Shape("duplicate extra column, split", split([*ROW_A, 1, 2], columns=[*WINDOW_FEATURES, "x", "x"])),
    Shape("split without columns", {"dataframe_split": {"data": [ROW_A]}}),
    Shape("split without data", {"dataframe_split": {"columns": WINDOW_FEATURES}}),
    Shape("split with null columns", split(ROW_A, columns=None)),
    Shape("split with numbers as columns", split(ROW_A, columns=[0, 1, 2, 3, 4, 5])),
    Shape("split with a number among the columns", split([*ROW_A, 1], columns=[*WINDOW_FEATURES, 7])),
    Shape("split with one column as text", split([1], columns="event_count_30d")),
    Shape("split with an unknown key", split(ROW_A, dtype="int64")),
    Shape(
        "split with names, as orient='tight'",
        split(ROW_A, index=[0], index_names=[None], column_names=[None]),
    ),
    Shape("split whose rows are objects", {"dataframe_split": {"columns": WINDOW_FEATURES, "data": [A, B]}}),
    Shape("split whose rows are objects, without columns", {"dataframe_split": {"data": [A, B]}}),
    Shape("split by column", {"dataframe_split": {"columns": WINDOW_FEATURES, "data": columns_of(A, B)}}),
    Shape("split of one flat row", {"dataframe_split": {"columns": WINDOW_FEATURES, "data": ROW_A}}),
    Shape("split as a list", {"dataframe_split": [ROW_A]}),
    Shape("split with null data", {"dataframe_split": {"columns": WINDOW_FEATURES, "data": None}}),
    Shape(
        "split with a null row",
        {"dataframe_split": {"columns": WINDOW_FEATURES, "data": [ROW_A, None]}},
        gaps=True,
    ),
    Shape("an index over no rows, split", split(index=[0]), gaps=True, ours=400, reason=NO_ROWS),
    Shape(
        "fewer columns than the objects have, split",
        {"dataframe_split": {"columns": WINDOW_FEATURES[:5], "data": [A]}},
    ),
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
    Shape("features at the top beside a prompt", but(prompt="x"), ours=400, reason=CHAT),
    # Parameters.
    Shape("params empty", {"dataframe_records": [A], "params": {}}),
    Shape("params null", {"dataframe_records": [A], "params": None}),
    Shape("params unknown", {"dataframe_records": [A], "params": {"temperature": 0.5}}),
    Shape("params unknown, inputs", {"inputs": [A], "params": {"temperature": 0.5}}),
    Shape("params unknown, instances", {"instances": [A], "params": {"temperature": 0.5}}),
    Shape("params explain false", {"dataframe_records": [A], "params": {"explain": False}}),
    Shape("params explain null", {"dataframe_records": [A], "params": {"explain": None}}),
    Shape("params explain true", {"dataframe_records": [A, B], "params": {"explain": True}}, gaps=True),
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
    raw("escape of nothing in an extra column", PLAIN[:-3] + b', "name": "\\x"}]}'),
    raw("control character in an extra column", PLAIN[:-3] + b', "name": "a\x01b"}]}'),
    raw("number with a plus", literal("+1")),
    raw("number with leading zeros", literal("007")),
    raw("number without a fraction after its point", literal("1.")),
    raw("number without a whole part", literal(".5")),
    raw("1e400", literal("1e400"), ours=400, reason=INFINITE, gaps=True),
    raw("1e-400", literal("1e-400")),
    raw("-0", literal("-0")),
    raw("literal NaN", literal("NaN"), gaps=True),
    raw("literal nan", literal("nan")),
    raw("literal Infinity", literal("Infinity"), ours=400, reason=INFINITE, gaps=True),
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
    raw(
        "JSON with a charset in quotes",
        PLAIN,
        headers={"content-type": 'application/json; charset="utf-8"'},
        ours=200,
        reason=MEDIA_TYPES,
        scores=(A,),
    ),
    raw("JSON with another charset", PLAIN, headers={"content-type": "application/json; charset=latin-1"}),
    raw(
        "JSON with the format of old",
        PLAIN,
        headers={"content-type": "application/json; format=pandas-split"},
    ),
    raw(
        "JSON in capitals",
        PLAIN,
        headers={"content-type": "Application/JSON"},
        ours=200,
        reason=MEDIA_TYPES,
        scores=(A,),
    ),
    raw(
        "a JSON of another kind",
        PLAIN,
        headers={"content-type": "application/x+json"},
        ours=200,
        reason=MEDIA_TYPES,
        scores=(A,),
    ),
    raw("no content type", PLAIN, headers={}),
    raw("a form's content type", PLAIN, headers={"content-type": "application/x-www-form-urlencoded"}),
    raw("plain text", PLAIN, headers={"content-type": "text/plain"}),
    raw("csv", CSV, headers={"content-type": "text/csv"}, ours=415, reason=JSON_ALONE),
    raw("csv with a word", CSV.replace("400", "many"), headers={"content-type": "text/csv"}),
    raw(
        "csv with a gap",
        CSV.replace("400", ""),
        headers={"content-type": "text/csv"},
        gaps=True,
        ours=415,
        reason=JSON_ALONE,
    ),
    raw("parquet", b"PAR1", headers={"content-type": "application/vnd.apache.parquet"}),
    raw(
        "gzip",
        gzip.compress(PLAIN),
        headers={**JSON, "content-encoding": "gzip"},
        ours=200,
        reason=GZIP,
        scores=(A,),
    ),
    raw("gzip that says nothing", gzip.compress(PLAIN)),
    raw("half a gzip", gzip.compress(PLAIN)[:-9], headers={**JSON, "content-encoding": "gzip"}),
    raw("JSON that says it is gzip", PLAIN, headers={**JSON, "content-encoding": "gzip"}),
    raw(
        "gzip in two members",
        gzip.compress(PLAIN[:50]) + gzip.compress(PLAIN[50:]),
        headers={**JSON, "content-encoding": "gzip"},
        ours=200,
        reason=GZIP,
        scores=(A,),
    ),
    raw("identity", PLAIN, headers={**JSON, "content-encoding": "identity"}),
    raw("brotli", PLAIN, headers={**JSON, "content-encoding": "br"}, ours=415, reason=ENCODINGS),
    # Users to look up.
    Shape("user_id alone", {"dataframe_records": [{"user_id": 42}]}, ours=200, reason=USERS, scores=(A,)),
    Shape("user_id alone, split", split([42], columns=["user_id"]), ours=200, reason=USERS, scores=(A,)),
    Shape(
        "user_id alone, by column",
        {"inputs": {"user_id": [42, 43]}},
        ours=200,
        reason=USERS,
        scores=(A, PUBLISHED_B),
    ),
    Shape("user_id as text", {"dataframe_records": [{"user_id": "42"}]}, ours=200, reason=USERS, scores=(A,)),
    Shape(
        "user_id as a double", {"dataframe_records": [{"user_id": 42.0}]}, ours=200, reason=USERS, scores=(A,)
    ),
    Shape("user_id with a leading zero", {"dataframe_records": [{"user_id": "0042"}]}),
    Shape(
        "user_id beside a null",
        {"dataframe_records": [but(user_id=43, days_since_last_event=None)]},
        ours=200,
        reason=USERS,
        scores=(but(days_since_last_event=28),),
        gaps=True,
    ),
    Shape("unknown user", {"dataframe_records": [{"user_id": 7}]}),
    *HISTORY_SHAPES,
]
