"""Four clients that know nothing of this server get from it what the batch scoring gives."""

import json
import os
import shutil
import subprocess
from typing import Any

import pytest
import requests
from databricks.sdk import WorkspaceClient

from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets_tests.serving.conftest import Client


@pytest.fixture
def probability(expected: dict[str, float]) -> float:
    """What ``mlflow.pyfunc``, as which the batch scores, answers for the article's row."""
    return expected["1"]


@pytest.fixture
def in_the_environment(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Databricks' clients look for workspace and token, and nothing else that they might find."""
    for name in [name for name in os.environ if name.startswith("DATABRICKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_HOST", client.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", client.token)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", "/dev/null")


# From here to the fence it is the article's own code, the line with dbutils aside.
def the_article(WORKSPACE_URL: str, TOKEN: str) -> dict:  # noqa: N803 - the article's names
    # Single-row inference
    features = {
        "dataframe_records": [{
            "event_count_30d": 42,
            "active_days_30d": 15,
            "days_since_last_event": 3,
            "purchase_count_30d": 2,
            "account_age_days": 180,
            "rolling_7d_events": 100,
        }]
    }  # fmt: skip

    response = requests.post(
        f"{WORKSPACE_URL}/serving-endpoints/churn-prediction-endpoint/invocations",
        headers={"Authorization": f"Bearer {TOKEN}"},
        json=features,
    )
    result = response.json()
    print(f"Churn probability: {result['predictions'][0]:.2%}")
    return result


RECORD = {
    "event_count_30d": 42,
    "active_days_30d": 15,
    "days_since_last_event": 3,
    "purchase_count_30d": 2,
    "account_age_days": 180,
    "rolling_7d_events": 100,
}


def test_the_articles_snippet(client: Client, probability: float, capsys: pytest.CaptureFixture[str]):
    result = the_article(client.url, client.token)

    assert result == {"predictions": [probability]}
    assert capsys.readouterr().out == f"Churn probability: {probability:.2%}\n"


def test_databricks_sdk(client: Client, probability: float):
    workspace = WorkspaceClient(host=client.url, token=client.token, auth_type="pat")

    answer = workspace.serving_endpoints.query(name=ENDPOINT_NAME, dataframe_records=[RECORD])

    assert answer.predictions == [probability]
    assert answer.served_model_name == "churn-prediction-model-1"


@pytest.mark.usefixtures("in_the_environment")
def test_databricks_sdk_with_a_split_frame_and_all_from_the_environment(probability: float):
    from databricks.sdk.service.serving import DataframeSplitInput

    split = DataframeSplitInput(columns=list(RECORD), data=[list(RECORD.values())])

    answer = WorkspaceClient().serving_endpoints.query(name=ENDPOINT_NAME, dataframe_split=split)

    assert answer.predictions == [probability]


@pytest.mark.usefixtures("in_the_environment")
def test_mlflows_deployment_client(probability: float):
    from mlflow.deployments import get_deploy_client

    deployments = get_deploy_client("databricks")
    assert deployments is not None

    answer = deployments.predict(endpoint=ENDPOINT_NAME, inputs={"dataframe_records": [RECORD]})

    assert answer == {"predictions": [probability]}


@pytest.mark.usefixtures("in_the_environment")
def test_mlflows_deployment_client_sees_the_endpoint():
    from mlflow.deployments import get_deploy_client

    deployments = get_deploy_client("databricks")
    assert deployments is not None

    listed: Any = deployments.list_endpoints()  # MLflow annotates nothing, and pyright infers NoReturn
    assert [endpoint["name"] for endpoint in listed] == [ENDPOINT_NAME]
    assert deployments.get_endpoint(ENDPOINT_NAME)["state"]["ready"] == "READY"


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
def test_curl(client: Client, probability: float):
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "20"]
    command += [
        "--header",
        f"Authorization: Bearer {client.token}",
        "--header",
        "Content-Type: application/json",
    ]
    command += ["--data", json.dumps({"dataframe_records": [RECORD]})]
    command += [f"{client.url}/serving-endpoints/{ENDPOINT_NAME}/invocations"]

    answer = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout) == {"predictions": [probability]}
