"""Databricks' pages about endpoints, as the unmodified databricks-sdk reads and writes them."""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config as SdkConfig
from databricks.sdk.errors.platform import NotFound, ResourceConflict
from databricks.sdk.service.serving import (
    EndpointStateConfigUpdate,
    EndpointStateReady,
    Route,
    ServedEntityInput,
    ServingEndpointDetailed,
    TrafficConfig,
)

from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.serving.scoring import scorer
from churn_assets.settings import Settings
from churn_assets_tests.serving.conftest import BROKEN_PICKLE, MODELS, RECORD, Client, copy_of, server_of

NAME = "churn-prediction-model"
URL = f"/api/2.0/serving-endpoints/{ENDPOINT_NAME}"


ONE = {"entity_name": NAME, "entity_version": "1"}
TWO = {"entity_name": NAME, "entity_version": "2"}


@pytest.fixture(scope="module")
def server(registered: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server of this module, which is told to serve this and that."""
    with server_of(copy_of(registered, tmp_path_factory.mktemp("managed") / "lake")) as client:
        yield client


@pytest.fixture
def sdk(server: Client) -> WorkspaceClient:
    """Of a server that serves version 1 alone."""
    client = sdk_of(server)
    serve(client, "1")
    return client


def sdk_of(client: Client) -> WorkspaceClient:
    return WorkspaceClient(config=SdkConfig(host=client.url, token=client.token, auth_type="pat"))


def entity(version: str, **options: Any) -> ServedEntityInput:
    options = {"workload_size": "Small", "scale_to_zero_enabled": True, **options}
    return ServedEntityInput(entity_name=NAME, entity_version=version, **options)


def serve(sdk: WorkspaceClient, *versions: str) -> ServingEndpointDetailed:
    """The first version answers, another one scores in the shadow; the endpoint once that is over."""
    routes = [
        Route(served_model_name=f"{NAME}-{version}", traffic_percentage=100 if version == versions[0] else 0)
        for version in versions
    ]
    sdk.serving_endpoints.update_config(
        ENDPOINT_NAME,
        served_entities=[entity(version) for version in versions],
        traffic_config=TrafficConfig(routes=routes),
    )
    return after_the_update(sdk)


def after_the_update(sdk: WorkspaceClient) -> ServingEndpointDetailed:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        endpoint = sdk.serving_endpoints.get(ENDPOINT_NAME)
        assert endpoint.state is not None
        if endpoint.state.config_update is not EndpointStateConfigUpdate.IN_PROGRESS:
            return endpoint
        time.sleep(0.02)
    raise AssertionError("the update does not end")


def state_of(endpoint: ServingEndpointDetailed) -> tuple[Any, Any]:
    assert endpoint.state is not None
    return endpoint.state.ready, endpoint.state.config_update


def versions_of(endpoint: ServingEndpointDetailed) -> list[str | None]:
    assert endpoint.config is not None
    return [entity.entity_version for entity in endpoint.config.served_entities or []]


READY = EndpointStateReady.READY
NOT_UPDATING = EndpointStateConfigUpdate.NOT_UPDATING
IN_PROGRESS = EndpointStateConfigUpdate.IN_PROGRESS
UPDATE_FAILED = EndpointStateConfigUpdate.UPDATE_FAILED


def test_the_sdk_reads_what_is_served(sdk: WorkspaceClient):
    endpoint = sdk.serving_endpoints.get(ENDPOINT_NAME)

    assert endpoint.name == ENDPOINT_NAME
    assert state_of(endpoint) == (READY, NOT_UPDATING)
    assert endpoint.creation_timestamp is not None
    assert abs(endpoint.creation_timestamp / 1000 - time.time()) < 300
    assert endpoint.config is not None
    (served,) = endpoint.config.served_entities or []
    assert (served.name, served.entity_name, served.entity_version) == (f"{NAME}-1", NAME, "1")
    assert (served.workload_size, served.scale_to_zero_enabled) == ("Small", True)
    assert served.state is not None
    assert served.state.deployment is not None
    assert served.state.deployment.value == "DEPLOYMENT_READY"
    assert endpoint.config.traffic_config is not None
    assert endpoint.config.traffic_config.routes == [
        Route(served_model_name=f"{NAME}-1", traffic_percentage=100, served_entity_name=f"{NAME}-1")
    ]
    assert endpoint.pending_config is None


def test_the_sdk_lists_the_one_endpoint(sdk: WorkspaceClient):
    assert [endpoint.name for endpoint in sdk.serving_endpoints.list()] == [ENDPOINT_NAME]


def test_before_a_model_is_served_the_endpoint_is_there_and_not_ready(lake: Settings):
    with server_of(lake) as client:
        sdk = sdk_of(client)

        endpoint = sdk.serving_endpoints.get(ENDPOINT_NAME)

    assert state_of(endpoint) == (EndpointStateReady.NOT_READY, NOT_UPDATING)
    assert endpoint.config is None


def test_another_version_and_the_one_before_it_are_one_call_away(
    sdk: WorkspaceClient, server: Client, expected: dict[str, float]
):
    before = sdk.serving_endpoints.get(ENDPOINT_NAME).config
    assert before is not None
    assert before.config_version is not None
    for number, version in enumerate(("2", "1"), start=1):
        endpoint = serve(sdk, version)

        assert (state_of(endpoint), versions_of(endpoint)) == ((READY, NOT_UPDATING), [version])
        assert endpoint.config is not None
        assert endpoint.config.config_version == before.config_version + number
        answer = server.post({"inputs": [RECORD]})
        assert answer.headers["churn-model-version"] == version
        assert answer.json() == {"predictions": [expected[version]]}


def test_no_answer_is_older_than_what_the_endpoint_says(
    sdk: WorkspaceClient, server: Client, expected: dict[str, float]
):
    for _ in range(5):
        for version in MODELS:
            serve(sdk, version)
            answer = server.post({"inputs": [RECORD]})
            assert answer.headers["churn-model-version"] == version
            assert answer.json()["predictions"] == pytest.approx([expected[version]], abs=1e-12)


def test_an_answer_to_an_update_shows_what_is_coming(server: Client, sdk: WorkspaceClient):
    response = server.ask("PUT", f"{URL}/config", json={"served_entities": [TWO]})

    shown = ServingEndpointDetailed.from_dict(response.json())
    # The follower may have been faster than the answer.
    coming = shown.pending_config or shown.config
    assert coming is not None
    assert [e.entity_version for e in coming.served_entities or []] == ["2"]
    assert versions_of(after_the_update(sdk)) == ["2"]


def test_while_an_update_is_under_way_another_is_refused_with_409(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
):
    go_on = threading.Event()

    def slowly(folder: Path) -> dict[str, Any]:
        go_on.wait(20)
        return describe(folder)

    describe = scorer.describe
    monkeypatch.setattr(scorer, "describe", slowly)
    with server_of(lake) as client:
        sdk = sdk_of(client)
        sdk.serving_endpoints.update_config(ENDPOINT_NAME, served_entities=[entity("1")])

        with pytest.raises(ResourceConflict, match="is being updated; wait until it is NOT_UPDATING"):
            sdk.serving_endpoints.update_config(ENDPOINT_NAME, served_entities=[entity("2")])

        endpoint = sdk.serving_endpoints.get(ENDPOINT_NAME)
        assert state_of(endpoint) == (EndpointStateReady.NOT_READY, IN_PROGRESS)
        assert endpoint.pending_config is not None
        assert [e.entity_version for e in endpoint.pending_config.served_entities or []] == ["1"]
        go_on.set()
        endpoint = after_the_update(sdk)

    assert (state_of(endpoint), versions_of(endpoint)) == ((READY, NOT_UPDATING), ["1"])


def test_a_shadow_gets_no_request_and_is_shown_with_0_percent(
    sdk: WorkspaceClient, server: Client, expected: dict[str, float]
):
    endpoint = serve(sdk, "1", "3")

    assert versions_of(endpoint) == ["1", "3"]
    assert endpoint.config is not None
    assert endpoint.config.traffic_config is not None
    shares = [route.traffic_percentage for route in endpoint.config.traffic_config.routes or []]
    assert shares == [100, 0]
    for _ in range(5):
        assert server.post({"inputs": [RECORD]}).json() == {"predictions": [expected["1"]]}


def test_a_version_that_cannot_be_served_leaves_the_old_one_and_the_log_says_why(
    sdk: WorkspaceClient, server: Client, expected: dict[str, float]
):
    endpoint = serve(sdk, BROKEN_PICKLE)

    assert (state_of(endpoint), versions_of(endpoint)) == ((READY, UPDATE_FAILED), ["1"])
    logs = sdk.serving_endpoints.build_logs(ENDPOINT_NAME, f"{NAME}-{BROKEN_PICKLE}").logs
    assert "The estimator cannot be loaded and asked: UnpicklingError" in logs
    assert server.post({"inputs": [RECORD]}).json() == {"predictions": [expected["1"]]}

    endpoint = serve(sdk, "2")
    assert (state_of(endpoint), versions_of(endpoint)) == ((READY, NOT_UPDATING), ["2"])


def test_a_version_that_is_served_has_logs_and_another_has_none(sdk: WorkspaceClient):
    assert sdk.serving_endpoints.build_logs(ENDPOINT_NAME, f"{NAME}-1").logs
    assert sdk.serving_endpoints.logs(ENDPOINT_NAME, f"{NAME}-1").logs
    with pytest.raises(NotFound, match=f"expected {NAME}-1"):
        sdk.serving_endpoints.logs(ENDPOINT_NAME, f"{NAME}-2")


def traffic(**shares: int) -> dict[str, Any]:
    routes = [{"served_model_name": f"{NAME}-{v[1:]}", "traffic_percentage": s} for v, s in shares.items()]
    return {"routes": routes}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, "missing required field `served_entities`"),
        ({"served_entities": []}, "expected one with 100 %"),
        ({"served_entities": [ONE, TWO]}, "expected one with 100 %"),
        ({"served_entities": [ONE, ONE, TWO], "traffic_config": traffic(v1=100)}, "expected one with 100 %"),
        ({"served_entities": [ONE, TWO], "traffic_config": traffic(v1=50, v2=50)}, r"get \[50, 50\] %"),
        ({"served_entities": [ONE], "traffic_config": traffic(v1=0)}, r"get \[0\] %"),
        (
            {"served_entities": [ONE], "traffic_config": traffic(v2=100)},
            "which served_entities does not",
        ),
        ({"served_entities": [{**ONE, "entity_version": "Production"}]}, "expected the number of a version"),
        ({"served_entities": [{**ONE, "entity_version": "../../etc"}]}, "expected the number of a version"),
        ({"served_entities": [{**ONE, "entity_version": ""}]}, "expected the number of a version"),
        ({"served_entities": [{**ONE, "entity_version": "²"}]}, "expected the number of a version"),
        ({"served_entities": [{**ONE, "entity_version": "01"}]}, "expected the number of a version"),
        ({"served_entities": [{**ONE, "entity_version": "1\n"}]}, "expected the number of a version"),
        ({"served_entities": [{**ONE, "entity_version": "9" * 19}]}, "expected the number of a version"),
        ({"served_entities": [{**ONE, "entity_version": 1}]}, "Expected `str`, got `int`"),
        ({"served_entities": [{"entity_name": NAME}]}, "missing required field `entity_version`"),
    ],
    ids=lambda value: json.dumps(value)[:70],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    sdk: WorkspaceClient, server: Client, wanted: dict[str, Any], reason: str
):
    answer = server.ask("PUT", f"{URL}/config", json=wanted)

    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert re.search(reason, answer.json()["message"])
    assert state_of(after_the_update(sdk)) == (READY, NOT_UPDATING)
