"""Who gets an answer, who does not, and what the pages say, over real connections."""

import gzip
import json
import shutil
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version as version_of
from urllib.parse import urlparse

import pytest
import requests

from churn_assets.serving.endpoint import ENDPOINT_NAME, online_folder
from churn_assets.serving.server import access
from churn_assets.serving.versions import current_version
from churn_assets.settings import Settings
from churn_assets_tests.serving.conftest import (
    FEATURE_DATE,
    FEATURES,
    MODELS,
    PUBLISHED,
    RECORD,
    Client,
    mlflow_answers,
    publish_features,
    server_of,
)

SCORE = f"/serving-endpoints/{ENDPOINT_NAME}/invocations"
ENDPOINT = f"/api/2.0/serving-endpoints/{ENDPOINT_NAME}"
BODY = {"dataframe_records": [RECORD]}
MEGABYTE = 1024 * 1024


def error_of(answer: requests.Response) -> tuple[int, str]:
    content = answer.json()
    assert content.keys() == {"error_code", "message"}
    assert "\n" not in content["message"]
    assert "Traceback" not in content["message"]
    return answer.status_code, content["error_code"]


@pytest.mark.parametrize("path", [SCORE, "/invocations"])
def test_an_answer_is_mlflows_and_names_its_version(client: Client, expected: dict[str, float], path: str):
    answer = client.ask("POST", path, json=BODY)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["churn-model-version"] == "1"
    assert answer.headers["served-model-name"] == "churn-prediction-model-1"
    assert "churn-feature-date" not in answer.headers
    assert answer.json() == {"predictions": [expected["1"]]}


@pytest.mark.parametrize("version", MODELS)
def test_a_thousand_rows_are_answered_in_their_order_as_mlflow_answers(registered: Settings, version: str):
    records = (FEATURES.to_dict("records") * 3)[:1000]
    with server_of(registered, version) as client:
        answer = client.post({"dataframe_records": records})

    given, theirs = answer.json()["predictions"], mlflow_answers(registered, version, records)
    assert len(given) == 1000
    assert max(abs(a - b) for a, b in zip(given, theirs, strict=True)) <= 1e-12
    assert len(set(given)) > 10


def test_a_looked_up_user_gets_the_answer_of_its_features(client: Client):
    by_key = client.post({"dataframe_records": [{"user_id": 43}, {"user_id": 42}]})
    by_features = client.post(
        {"dataframe_split": {"columns": list(RECORD), "data": [PUBLISHED[43][:6], PUBLISHED[42][:6]]}}
    )

    assert by_key.json() == by_features.json()
    assert len(set(by_key.json()["predictions"])) == 2
    assert by_key.headers["churn-feature-date"] == str(FEATURE_DATE)


def test_an_unknown_user_is_null_with_an_entry_beside_the_others_answers(
    client: Client, expected: dict[str, float]
):
    answer = client.post({"dataframe_records": [{"user_id": 7}, RECORD, {"user_id": 42}, {"user_id": 8}]})

    assert answer.status_code == 200
    assert answer.json()["predictions"] == [None, expected["1"], expected["1"], None]
    errors = answer.json()["errors"]
    assert [(entry["row"], entry["user_id"], entry["status"]) for entry in errors] == [
        (0, 7, 404),
        (3, 8, 404),
    ]
    assert errors[1]["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert (
        errors[1]["message"] == "user_id 8 has no features of 2026-11-22: no event in the 30 days up to it."
    )


def test_only_unknown_users_are_404_in_databricks_shape(client: Client):
    answer = client.post({"dataframe_records": [{"user_id": 7}, {"user_id": 8}]})

    assert answer.status_code == 404
    assert answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert answer.json()["message"].startswith("user_id 7 has no features")
    assert answer.json()["predictions"] == [None, None]
    assert [entry["user_id"] for entry in answer.json()["errors"]] == [7, 8]


GUARDED = [("POST", SCORE), ("POST", "/invocations"), ("GET", ENDPOINT), ("PUT", f"{ENDPOINT}/config")]
GUARDED += [("GET", "/api/2.0/serving-endpoints"), ("GET", f"{ENDPOINT}/served-models/x/logs")]
GUARDED += [("GET", path) for path in ("/metrics", "/version", "/openapi.json")]


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_a_token_it_is_401(client: Client, method: str, path: str):
    answer = requests.request(method, client.url + path, json=BODY, timeout=10)

    assert error_of(answer) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_with_another_token_it_is_403(client: Client, method: str, path: str):
    answer = client.ask(method, path, json=BODY, headers={"authorization": "Bearer other"})

    assert error_of(answer) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    "given",
    [
        "{token}",
        "Basic {token}",
        "Bearer",
        "Bearer {token}x",
        "Bearer x{token}",
        "Bearer {half}",
        "Bearer \xe9",
    ],
)
def test_a_header_that_is_nearly_right_is_403(client: Client, given: str):
    header = given.format(token=client.token, half=client.token[:20])

    answer = client.post(BODY, headers={"authorization": header.encode("latin-1")})

    assert error_of(answer) == (403, "PERMISSION_DENIED")


def test_the_scheme_may_be_written_in_any_case(client: Client):
    assert client.post(BODY, headers={"authorization": f"bearer  {client.token} "}).status_code == 200


def test_the_token_comes_before_what_could_be_learnt_without_it(client: Client):
    path = "/serving-endpoints/another/invocations"

    assert requests.post(client.url + path, json={"shoe_size": 1}, timeout=10).status_code == 401
    assert "event_count_30d" not in client.ask("GET", "/openapi.json").text


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/serving-endpoints/other/invocations"), ("GET", ENDPOINT + "x")]
)
def test_another_endpoint_is_404_and_the_one_that_there_is_is_named(client: Client, method: str, path: str):
    answer = client.ask(method, path, json=BODY)

    assert error_of(answer) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert answer.json()["message"].endswith("this server has churn-prediction-endpoint.")


def test_a_page_that_there_is_not_is_404(client: Client):
    assert error_of(client.ask("GET", "/api/2.0/clusters/list")) == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(("method", "path"), [("GET", SCORE), ("DELETE", ENDPOINT), ("POST", "/ping")])
def test_another_method_is_405(client: Client, method: str, path: str):
    answer = client.ask(method, path)

    assert error_of(answer) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"]


@pytest.mark.parametrize("media", ["text/csv", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_a_body_that_says_it_is_no_json_is_415(client: Client, media: str):
    answer = client.ask("POST", SCORE, data=json.dumps(BODY), headers={"content-type": media})

    assert error_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "media", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"]
)
def test_json_may_be_said_in_several_ways(client: Client, media: str):
    answer = client.ask("POST", SCORE, data=json.dumps(BODY), headers={"content-type": media})

    assert answer.status_code == 200


def test_a_header_that_promises_too_much_is_413_before_any_of_it_is_sent(client: Client):
    with connection(client) as sock:
        sock.sendall(head(client, f"content-length: {16 * MEGABYTE + 1}"))
        status = sock.makefile("rb").readline()

    assert status.split()[1] == b"413"


def test_a_stream_that_grows_too_large_is_413(client: Client):
    def chunks() -> Iterator[bytes]:
        yield b'{"inputs": ['
        for _ in range(17):
            yield b" " * MEGABYTE

    try:
        answer = client.post_bytes(chunks())
    except requests.ConnectionError:  # it was still sending when the server had seen enough
        pytest.fail("the answer was lost")

    assert error_of(answer) == (413, "REQUEST_TOO_LARGE")


GZIP = {"content-type": "application/json", "content-encoding": "gzip"}


def test_a_gzip_is_unpacked_whether_its_length_is_known_or_not(client: Client, expected: dict[str, float]):
    packed = gzip.compress(json.dumps(BODY).encode())

    whole = client.ask("POST", SCORE, data=packed, headers=GZIP)
    in_parts = client.ask("POST", SCORE, data=iter([packed[:20], packed[20:]]), headers=GZIP)

    assert whole.json() == in_parts.json() == {"predictions": [expected["1"]]}


@pytest.mark.parametrize("members", [1, 17])
def test_a_gzip_that_unpacks_to_more_than_the_limit_is_413(client: Client, members: int):
    bomb = gzip.compress(b" " * (17 * MEGABYTE // members)) * members
    assert len(bomb) < MEGABYTE

    answer = client.ask("POST", SCORE, data=bomb, headers=GZIP)

    assert error_of(answer) == (413, "REQUEST_TOO_LARGE")
    assert "as it came or unpacked" in answer.json()["message"]


@pytest.mark.parametrize("cut", [3, 12, -9, -1])
def test_half_a_gzip_is_400(client: Client, cut: int):
    packed = gzip.compress(json.dumps(BODY).encode())

    answer = client.ask("POST", SCORE, data=packed[:cut], headers=GZIP)

    assert error_of(answer) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith("The body is no whole gzip: ")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_an_encoding_that_is_not_read_is_named(client: Client, encoding: str):
    answer = client.ask("POST", SCORE, data=json.dumps(BODY), headers={**GZIP, "content-encoding": encoding})

    assert error_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.json()["message"] == f"The content encoding is {encoding}; expected gzip or none."


def test_contributions_of_each_row_are_given_and_null_for_an_unknown_user(client: Client):
    body = {"dataframe_records": [{"user_id": 42}, {"user_id": 7}, RECORD], "params": {"explain": True}}

    looked_up, unknown, sent = client.post(body).json()["predictions"]

    assert len(sent) == len(RECORD)
    assert looked_up == sent
    assert unknown is None


def test_a_large_body_that_is_no_plain_table_is_answered_in_its_order(client: Client):
    """It is read in a thread."""
    records = [{**RECORD, "days_since_last_event": str(row % 30), "note": "x" * 100} for row in range(1500)]
    plain = [{**RECORD, "days_since_last_event": row % 30} for row in range(1500)]

    answer = client.post({"dataframe_records": records})

    assert answer.json() == client.post({"dataframe_records": plain}).json()
    assert len(set(answer.json()["predictions"])) > 2


def test_a_body_of_just_the_limit_is_taken(client: Client):
    body = json.dumps(BODY).encode()

    assert client.post_bytes(body + b" " * (16 * MEGABYTE - len(body))).status_code == 200


def test_a_body_that_does_not_come_is_408(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(access, "BODY_SECONDS", 0.2)
    started = time.monotonic()
    with connection(client) as sock:
        sock.sendall(head(client, "content-length: 100") + b'{"inputs": ')
        answer = sock.makefile("rb").read().decode()

    assert answer.startswith("HTTP/1.1 408 ")
    assert '"error_code":"REQUEST_TIMEOUT"' in answer
    assert 0.2 <= time.monotonic() - started < 3


def test_who_leaves_in_the_middle_of_a_body_disturbs_nobody(client: Client):
    for _ in range(20):
        with connection(client) as sock:
            sock.sendall(head(client, "content-length: 100") + b'{"inputs": ')

    assert client.post(BODY).status_code == 200


def connection(client: Client) -> socket.socket:
    parsed = urlparse(client.url)
    return socket.create_connection((parsed.hostname, parsed.port), timeout=10)


def head(client: Client, *headers: str) -> bytes:
    lines = [f"POST {SCORE} HTTP/1.1", "host: here", f"authorization: Bearer {client.token}"]
    return "\r\n".join([*lines, "content-type: application/json", *headers, "", ""]).encode()


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_whether_it_lives_is_told_without_a_token(client: Client, path: str):
    answer = requests.get(client.url + path, timeout=10)

    assert (answer.status_code, answer.text) == (200, "\n")


def test_the_version_is_mlflows(client: Client):
    assert client.ask("GET", "/version").text == version_of("mlflow")


@pytest.fixture(scope="module")
def public(registered: Settings) -> Iterator[Client]:
    with server_of(registered.model_copy(update={"endpoint_public_metrics": True})) as client:
        yield client


@pytest.mark.parametrize("path", ["/metrics", "/version", "/openapi.json"])
def test_pages_of_the_inside_are_public_where_that_is_wished(public: Client, path: str):
    assert requests.get(public.url + path, timeout=10).status_code == 200
    assert requests.get(public.url + ENDPOINT, timeout=10).status_code == 401


def test_who_scores_may_look_and_not_manage(client: Client, admin: Client):
    entity = {"entity_name": "churn-prediction-model", "entity_version": "2"}
    refused = client.ask("PUT", f"{ENDPOINT}/config", json={"served_entities": [entity]})

    assert error_of(refused) == (403, "PERMISSION_DENIED")
    assert "CHURN_ENDPOINT_ADMIN_TOKEN" in refused.json()["message"]
    assert error_of(client.ask("GET", f"{ENDPOINT}/served-models/x/logs")) == (403, "PERMISSION_DENIED")
    seen, managed = client.ask("GET", ENDPOINT).json(), admin.ask("GET", ENDPOINT).json()
    assert (seen["permission_level"], managed["permission_level"]) == ("CAN_QUERY", "CAN_MANAGE")
    assert seen["config"]["served_entities"][0]["entity_version"] == "1"
    assert admin.post(BODY).status_code == 200


def test_no_answer_sends_a_client_to_the_host_that_it_named(client: Client):
    answer = requests.get(
        f"{client.url}/ping/", headers={"host": "evil.example"}, timeout=10, allow_redirects=False
    )

    assert answer.status_code == 200
    assert "location" not in answer.headers


def test_before_a_model_is_served_it_is_503_with_what_to_do_and_when_to_retry(lake: Settings):
    with server_of(lake) as client:
        answer = client.post(BODY)

        assert error_of(answer) == (503, "TEMPORARILY_UNAVAILABLE")
        assert answer.headers["retry-after"] == "5"
        assert "Materialise churn_prediction_model" in answer.json()["message"]
        assert client.ask("GET", "/health").status_code == 503
        assert client.ask("GET", "/ping").status_code == 200


def test_before_features_are_published_a_lookup_is_503_and_features_are_scored(
    lake: Settings, expected: dict[str, float]
):
    with server_of(lake, "1") as client:
        lookup = client.post({"inputs": [{"user_id": 42}]})

        assert error_of(lookup) == (503, "TEMPORARILY_UNAVAILABLE")
        assert "Materialise online_user_features" in lookup.json()["message"]
        assert client.post(BODY).json() == {"predictions": [expected["1"]]}


def test_damaged_features_are_503_with_what_to_do_and_features_are_scored(
    lake: Settings, expected: dict[str, float]
):
    publish_features(lake)
    with server_of(lake, "1") as client:
        assert client.post({"inputs": [{"user_id": 42}]}).status_code == 200
        publish_features(lake)
        shutil.rmtree(online_folder(lake) / current_version(online_folder(lake)))

        lookup = client.post({"inputs": [{"user_id": 42}]})

        assert error_of(lookup) == (503, "TEMPORARILY_UNAVAILABLE")
        assert "materialise online_user_features" in lookup.json()["message"]
        assert client.post(BODY).json() == {"predictions": [expected["1"]]}
        publish_features(lake)
        assert client.post({"inputs": [{"user_id": 42}]}).status_code == 200


def test_a_version_that_is_not_there_is_no_server(lake: Settings):
    from churn_assets.errors import EndpointError

    with pytest.raises(EndpointError, match="99 cannot be had"), server_of(lake, "99"):
        pass
