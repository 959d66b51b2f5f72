"""Rows with the history of their user, rows without, and what is neither."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churn_assets.model.registry import registry
from churn_assets.serving.features import online_store
from churn_assets.serving.features.online_store import OnlineStore, Snapshot
from churn_assets.serving.scoring import request_table
from churn_assets.serving.scoring.payload import FORMATS, Parser, Rows
from churn_assets.serving.scoring.replies import BadRequestError, UnavailableError
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS, HISTORY_OF_ALL, WINDOW_FEATURES
from churn_assets_tests.model.conftest import mlflow_state_as_it_was
from churn_assets_tests.serving.conftest import (
    FEATURE_DATE,
    GONE,
    HISTORY,
    HISTORY_OF_GONE,
    NULLABLE,
    PUBLISHED,
    RECORD,
    WITH_HISTORY,
    Client,
    mlflow_answers,
    server_of,
)

PARSER = Parser(FEATURE_COLUMNS, optional=list(HISTORY), history=HISTORY_OF_ALL)
SIX = len(WINDOW_FEATURES)
WHOLE = {**RECORD, **HISTORY}
WHOLE_OF_GONE = {**GONE, **HISTORY_OF_GONE}
WITHOUT_NULLS = {name: value for name, value in WHOLE_OF_GONE.items() if value is not None}
WAYS = [*FORMATS, "inputs by column"]


def in_format(way: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for record in records for name in record))
    if way == "dataframe_split":
        return {way: {"columns": names, "data": [[row.get(name) for name in names] for row in records]}}
    if way == "inputs by column":
        return {"inputs": {name: [row.get(name) for row in records] for name in names}}
    return {way: records}


def nowhere() -> None:
    return None


def read(
    records: list[dict[str, Any]],
    store: Callable[[], Snapshot | None] = nowhere,
    way: str = "dataframe_records",
) -> Rows:
    return PARSER.rows(json.dumps(in_format(way, records)).encode(), store)


def refused(
    records: list[dict[str, Any]],
    store: Callable[[], Snapshot | None] = nowhere,
    way: str = "dataframe_records",
) -> str:
    with pytest.raises(BadRequestError) as raised:
        read(records, store, way)
    return str(raised.value)


def same(matrix: np.ndarray, *rows: list[float]) -> bool:
    return np.array_equal(matrix, np.array(rows), equal_nan=True)


@pytest.fixture
def store(tmp_path: Path) -> Callable[[], Snapshot | None]:
    rows = list(PUBLISHED.values())
    online_store.publish(tmp_path, list(PUBLISHED), rows, FEATURE_COLUMNS, FEATURE_DATE, 7, NULLABLE)
    return OnlineStore(tmp_path).snapshot


@pytest.mark.parametrize("way", WAYS)
def test_the_six_features_alone_are_a_row_without_a_history(way: str):
    rows = read([RECORD, GONE], way=way)

    assert rows.matrix[:, :SIX].tolist() == [list(RECORD.values()), list(GONE.values())]
    assert np.isnan(rows.matrix[:, SIX:]).all()
    assert rows.without_history == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("record", [WHOLE_OF_GONE, WITHOUT_NULLS], ids=["null", "left out"])
def test_what_is_null_of_some_users_may_be_null_or_left_out_of_a_history(way: str, record: dict[str, Any]):
    rows = read([record], way=way)

    assert same(rows.matrix, PUBLISHED[43])
    assert rows.without_history == 0


@pytest.mark.parametrize("way", WAYS)
def test_rows_with_and_without_a_history_mix_and_those_without_are_counted(way: str):
    rows = read([WHOLE, RECORD, {**RECORD, **dict.fromkeys(HISTORY)}], way=way)

    assert same(rows.matrix[:1], PUBLISHED[42])
    assert np.isnan(rows.matrix[1:, SIX:]).all()
    assert rows.without_history == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lacking", HISTORY_OF_ALL)
def test_half_a_history_is_refused_with_what_is_lacking(way: str, lacking: str):
    half = {name: value for name, value in WHOLE.items() if name != lacking}

    assert f"for {lacking}, and has " in refused([WHOLE, {**half, lacking: None}], way=way)
    assert f"{lacking}, and has " in refused([half], way=way)


def test_a_refusal_of_half_a_history_says_what_to_do():
    half = {**RECORD, "active_days_90d": 40, "active_days_total": 60, "event_count_total": 170}

    assert refused([WHOLE, half]) == (
        "Row 1 lacks purchase_count_total, and has active_days_90d: half a history. Send all of "
        f"{', '.join(HISTORY_OF_ALL)}, or nothing of the history, or a user_id to look it up by - at "
        "`$.dataframe_records[1].active_days_90d`."
    )


def test_what_is_null_of_some_users_is_no_history_alone():
    """The model of rows without one would not look at it."""
    assert refused([{**RECORD, "mean_gap_days": 3}]).startswith(
        "Row 0 lacks active_days_90d, and has mean_gap_days: half a history."
    )


@pytest.mark.parametrize("record", [RECORD, WHOLE], ids=["without a history", "with a history"])
@pytest.mark.parametrize("name", WINDOW_FEATURES)
def test_no_row_may_lack_one_of_the_six(record: dict[str, Any], name: str):
    lacking = {key: value for key, value in record.items() if key != name}

    assert refused([record, lacking]).startswith(f"Row 1 lacks {name}. Send it, or a user_id")
    assert refused([{**record, name: None}]).startswith(f"Row 0 has {name} = null; expected a number")


def test_the_range_of_a_history_is_that_of_its_contract():
    assert refused([{**WHOLE, "active_days_90d": 91}]) == (
        "Row 0 has active_days_90d = 91; expected 1 to 90 - at `$.dataframe_records[0].active_days_90d`."
    )
    assert refused([{**WHOLE, "mean_gap_days": 0.5}]).startswith("Row 0 has mean_gap_days = 0.5; expected 1")
    # More may be given back than was bought.
    assert read([{**WHOLE, "amount_total": -5}]).matrix[0, FEATURE_COLUMNS.index("amount_total")] == -5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("records", [[RECORD] * 2, [WHOLE] * 2, [WHOLE_OF_GONE] * 2, [RECORD, WHOLE]])
def test_both_kinds_of_rows_are_read_in_one_pass_and_as_in_two(way: str, records: list[dict[str, Any]]):
    body = json.dumps(in_format(way, records)).encode()
    twice = PARSER._parse_table(request_table.read(body), nowhere)

    once = PARSER._parse_plain(body)

    assert once is not None
    assert same(once.matrix, *twice.matrix.tolist())
    assert once.without_history == twice.without_history


def test_a_user_is_looked_up_with_a_history_and_its_nulls_are_not_missing(store: Any):
    rows = read([{"user_id": 43}, {"user_id": 42}], store)

    assert same(rows.matrix, PUBLISHED[43], PUBLISHED[42])
    assert np.isnan(rows.matrix).sum() == 2
    assert (rows.without_history, rows.unknown) == (0, {})


def test_the_history_of_a_user_whose_six_features_are_sent_is_looked_up(store: Any):
    alone = read([{**RECORD, "user_id": 43}], store).matrix
    rows = read([{**RECORD, "user_id": 43}, {**RECORD, "user_id": 43, "active_days_total": 9}], store)

    looked_up = [*RECORD.values(), *PUBLISHED[43][SIX:]]
    sent = [
        9.0 if name == "active_days_total" else value for name, value in zip(WHOLE, looked_up, strict=True)
    ]
    assert same(rows.matrix, looked_up, sent)
    assert same(alone, looked_up)
    assert rows.looked_up is not None
    assert rows.without_history == 0


@pytest.mark.parametrize("user_id", [7, "anna@example.org"])
def test_the_six_features_of_an_unknown_user_are_answered_without_a_history(user_id: Any, store: Any):
    """As they were before models knew histories."""
    rows = read([{**RECORD, "user_id": user_id, "shoe_size": 44}], store)

    assert (rows.unknown, rows.looked_up, rows.without_history) == ({}, None, 1)


def test_half_a_history_of_an_unknown_user_is_not_enough(store: Any):
    rows = read([{**RECORD, "user_id": 7, "active_days_total": 9}, RECORD], store)

    assert rows.unknown == {0: 7}
    assert rows.without_history == 1


def test_where_nothing_is_published_the_six_features_are_answered_and_a_user_id_alone_is_not():
    assert read([{**RECORD, "user_id": 42}]).without_history == 1
    with pytest.raises(UnavailableError, match="Materialise online_user_features"):
        read([{**RECORD, "user_id": 42}, {"user_id": 42}])


def test_features_of_before_histories_were_published_complete_no_row(tmp_path: Path):
    six = [row[:SIX] for row in PUBLISHED.values()]
    online_store.publish(tmp_path, list(PUBLISHED), six, WINDOW_FEATURES, FEATURE_DATE, 7)
    store = OnlineStore(tmp_path).snapshot

    assert read([{**RECORD, "user_id": 42}], store).without_history == 1
    with pytest.raises(UnavailableError, match=r"this model wants .*amount_total.*\. Materialise"):
        read([{"user_id": 42}], store)


@pytest.fixture(scope="module")
def knowing(registered: Settings) -> Iterator[Client]:
    """A server of the version that knows histories."""
    with server_of(registered, WITH_HISTORY) as client:
        yield client


def test_the_six_features_alone_get_mlflows_answer_to_a_frame_of_these_six(
    knowing: Client, registered: Settings
):
    answer = knowing.post({"dataframe_records": [RECORD, GONE]})

    theirs = mlflow_answers(registered, WITH_HISTORY, [RECORD, GONE])
    assert answer.json()["predictions"] == pytest.approx(theirs, abs=1e-9)
    assert answer.headers["churn-without-history"] == "2"
    assert theirs[0] != theirs[1]


def test_a_history_gets_mlflows_answer_and_another_than_none(knowing: Client, registered: Settings):
    answer = knowing.post({"dataframe_records": [WHOLE, WHOLE_OF_GONE]})

    theirs = mlflow_answers(registered, WITH_HISTORY, [WHOLE, WHOLE_OF_GONE])
    assert answer.json()["predictions"] == pytest.approx(theirs, abs=1e-9)
    assert "churn-without-history" not in answer.headers
    assert abs(theirs[0] - mlflow_answers(registered, WITH_HISTORY, [RECORD])[0]) > 1e-3


def test_users_get_the_answers_of_their_published_features_nulls_included(
    knowing: Client, registered: Settings
):
    answer = knowing.post({"dataframe_records": [{"user_id": 43}, {"user_id": 42}]})

    theirs = mlflow_answers(registered, WITH_HISTORY, [WHOLE_OF_GONE, WHOLE])
    assert answer.json()["predictions"] == pytest.approx(theirs, abs=1e-9)
    assert answer.headers["churn-feature-date"] == str(FEATURE_DATE)
    assert "churn-without-history" not in answer.headers


def test_only_rows_that_were_answered_without_a_history_are_counted(knowing: Client):
    mixed = knowing.post({"inputs": [{"user_id": 7}, RECORD, WHOLE, {"user_id": 42}]})
    nobody = knowing.post({"inputs": [{"user_id": 7}]})

    assert mixed.headers["churn-without-history"] == "1"
    assert mixed.json()["predictions"][0] is None
    assert "churn-without-history" not in nobody.headers


def test_a_version_that_knows_no_history_says_nothing_of_it(client: Client):
    assert "churn-without-history" not in client.post({"inputs": [RECORD]}).headers


def test_contributions_are_mlflows_with_and_without_a_history(knowing: Client, registered: Settings):
    import mlflow.pyfunc
    import pandas as pd

    with mlflow_state_as_it_was():
        registry.configure(registered)
        model = mlflow.pyfunc.load_model(registry.model_uri(registered, WITH_HISTORY))
    records = [WHOLE, RECORD, WHOLE_OF_GONE]
    theirs = model.predict(pd.DataFrame(records).astype("float64"), params={"explain": True})

    answer = knowing.post({"dataframe_records": records, "params": {"explain": True}})

    ours = np.array(answer.json()["predictions"])
    assert np.abs(ours - theirs).max() <= 1e-9
    assert answer.headers["churn-without-history"] == "1"
    # What a row does not have adds nothing; what it has, does.
    assert (ours[1, SIX:] == 0).all()
    assert (ours[0, SIX:] != 0).any()


def test_requests_of_both_kinds_are_answered_together_as_alone(knowing: Client):
    from concurrent.futures import ThreadPoolExecutor

    bodies = [{"inputs": [record]} for record in (WHOLE, RECORD, WHOLE_OF_GONE, GONE)]
    alone = [knowing.post(body).json() for body in bodies]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda body: knowing.post(body).json(), bodies * 10))

    assert together == alone * 10
    assert not any(math.isnan(answer["predictions"][0]) for answer in alone)
