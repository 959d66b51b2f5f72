"""The page that Prometheus reads says what happened."""

import asyncio
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from churn_assets.serving.published.publish import publish
from churn_assets.serving.scoring import scorer
from churn_assets.serving.server.metrics import Metrics
from churn_assets.serving.server.shadow import Shadow
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS
from churn_assets_tests.serving.conftest import HISTORY, RECORD, WITH_HISTORY, Client, server_of
from churn_assets_tests.serving.server.test_management import sdk_of, serve

ROWS = {"inputs": [RECORD, {**RECORD, "days_since_last_event": 29}, {"user_id": 7}]}


def samples(client: Client) -> dict[str, float]:
    """By name and labels, as Prometheus reads the page."""
    answer = client.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_requests_are_counted_by_status_and_rows_by_what_was_scored(registered: Settings):
    with server_of(registered, "1") as client:
        for _ in range(3):
            client.post({"inputs": [RECORD]})
        client.post(ROWS)  # two rows of features, and one of whom nothing is known
        client.post({"inputs": [{"user_id": 7}]})
        client.post({"inputs": [{"shoe_size": 1}]})
        client.post({"inputs": [RECORD]}, headers={"authorization": "Bearer other"})
        requests.post(f"{client.url}/invocations", timeout=10)
        client.ask("GET", "/health")
        by_name = samples(client)

    by_status = {key[-3:]: value for key, value in by_name.items() if key.startswith("churn_requests_total")}
    assert by_status == {"200": 4, "400": 1, "401": 1, "403": 1, "404": 1}
    assert by_name["churn_rows_scored_total"] == 5
    assert by_name["churn_request_seconds_count"] == 8
    assert by_name["churn_request_seconds_bucket le=+Inf"] == 8
    assert 0 < by_name["churn_request_seconds_sum"] < 8


def test_a_fault_of_the_server_is_counted_as_500_and_tells_nothing(
    registered: Settings, monkeypatch: pytest.MonkeyPatch
):
    def faulty(*_: object) -> None:
        raise KeyError("a secret")

    with server_of(registered, "1") as client:
        monkeypatch.setattr("churn_assets.serving.scoring.payload.Parser.rows", faulty)
        answer = client.post({"inputs": [RECORD]})
        by_name = samples(client)

    assert answer.status_code == 500
    assert answer.json() == {
        "error_code": "INTERNAL_ERROR",
        "message": "The server failed; its log says why.",
    }
    assert by_name["churn_requests_total status=500"] == 1


def test_the_version_in_memory_is_the_one_that_is_1(registered: Settings):
    with server_of(registered, "1") as client:
        client.post({"inputs": [RECORD]})
        assert samples(client)["churn_model_version version=1"] == 1
        serve(sdk_of(client), "2")
        client.post({"inputs": [RECORD]})
        by_name = samples(client)

    versions = {key: value for key, value in by_name.items() if key.startswith("churn_model_version")}
    assert versions == {"churn_model_version version=1": 0, "churn_model_version version=2": 1}
    assert by_name["churn_model_loads_total"] == 2
    assert by_name["churn_model_load_seconds_count"] == 2
    assert by_name["churn_scale_downs_total"] == 0
    assert 50e6 < by_name["churn_worker_resident_bytes"] < 5e9


def test_a_shadows_differences_are_those_of_the_two_versions(
    registered: Settings, expected: dict[str, float]
):
    difference = abs(expected["1"] - expected["3"])
    assert difference > 1e-4
    with server_of(registered, "1") as client:
        serve(sdk_of(client), "1", "3")
        for _ in range(4):
            client.post({"inputs": [RECORD]})
        wait_until(lambda: samples(client)["churn_shadow_rows_total"] == 4)
        by_name = samples(client)

        assert abs(by_name["churn_shadow_difference_sum"] - 4 * difference) < 1e-9
        buckets = [
            (float(key.rpartition("=")[2]), value)
            for key, value in by_name.items()
            if "difference_bucket" in key
        ]
        assert all(value == (4 if bound >= difference else 0) for bound, value in buckets)
        assert by_name["churn_shadow_failures_total"] == by_name["churn_shadow_skipped_total"] == 0

        serve(sdk_of(client), "1")
        client.post({"inputs": [RECORD]})
        assert samples(client)["churn_shadow_rows_total"] == 4


def test_a_shadow_that_takes_no_gaps_is_not_given_any(registered: Settings):
    """It would score them all the same, as nothing looks at its input any more."""
    with server_of(registered, "2") as client:
        serve(sdk_of(client), "2", "3")
        answer = client.post({"inputs": [{**RECORD, "account_age_days": None}]})
        by_name = samples(client)

    assert answer.status_code == 200
    assert by_name["churn_shadow_skipped_total"] == 1
    assert by_name["churn_shadow_rows_total"] == 0


@pytest.mark.parametrize("record", [RECORD, {**RECORD, **HISTORY}], ids=["of six", "whole"])
def test_a_shadow_of_the_six_features_scores_what_a_version_of_histories_answers(
    registered: Settings, expected: dict[str, float], record: dict[str, float]
):
    with server_of(registered, WITH_HISTORY) as client:
        serve(sdk_of(client), WITH_HISTORY, "1")
        (answer,) = client.post({"inputs": [record]}).json()["predictions"]
        wait_until(lambda: samples(client)["churn_shadow_rows_total"] == 1)
        by_name = samples(client)

    assert abs(by_name["churn_shadow_difference_sum"] - abs(expected["1"] - answer)) < 1e-9
    assert by_name["churn_shadow_failures_total"] == by_name["churn_shadow_skipped_total"] == 0


def test_a_shadow_that_knows_histories_scores_rows_with_and_without(lake: Settings, tmp_path: Path):
    publish(lake, tmp_path / WITH_HISTORY, WITH_HISTORY, scorer.describe)
    model = scorer.load(tmp_path / WITH_HISTORY, WITH_HISTORY)
    matrix = np.array([[*RECORD.values(), *HISTORY.values()], [*RECORD.values(), *[math.nan] * len(HISTORY)]])
    metrics = Metrics(None)

    async def shadowed() -> None:
        Shadow(metrics).score(model, FEATURE_COLUMNS, matrix, model.predict(matrix))
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(shadowed())

    page = metrics.page(registry_fails=False).decode()
    assert "churn_shadow_rows_total 2.0" in page
    assert "churn_shadow_difference_sum 0.0" in page
    assert not model.accepts(np.full((1, len(FEATURE_COLUMNS)), math.nan))


def test_a_shadow_is_not_asked_what_it_would_answer_otherwise_once_it_serves(registered: Settings):
    """The version of the six features looks no history up that the shadow could be shown."""
    with server_of(registered, "1") as client:
        serve(sdk_of(client), "1", WITH_HISTORY)
        client.post({"inputs": [{"user_id": 42}]})
        by_name = samples(client)

    assert by_name["churn_shadow_skipped_total"] == 1
    assert by_name["churn_shadow_rows_total"] == 0


def test_differences_of_a_shadow_and_a_failing_registry_are_on_the_page():
    metrics = Metrics(None)

    metrics.record_shadow([0.0, 0.0, 0.3])

    page = metrics.page(registry_fails=True).decode()

    assert "churn_registry_fails 1.0" in page
    assert 'churn_shadow_difference_bucket{le="0.0"} 2.0' in page
    assert 'churn_shadow_difference_bucket{le="0.2"} 2.0' in page
    assert 'churn_shadow_difference_bucket{le="0.5"} 3.0' in page


def test_a_promoted_version_is_loaded_before_anybody_asks(registered: Settings):
    with server_of(registered, "1") as client:
        wait_until(lambda: samples(client).get("churn_model_version version=1") == 1)

        assert "churn_requests_total status=200" not in samples(client)


ON_A_FULL_DISK = """
import os, sys
from pathlib import Path
folder = Path(sys.argv[1])
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
from churn_assets.serving.server.metrics import Metrics

def fill():
    with (folder / "filler").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

if sys.argv[2] == "full at the start":
    fill()
metrics = Metrics(folder)
fill()
for status in range(400, 440):
    metrics.record_request(status, 1, 0.1)
print(metrics.page(registry_fails=False).decode().count("churn_requests_total{"))
"""


@pytest.mark.parametrize(("when", "counted"), [("full at the start", "0"), ("full later", "40")])
def test_a_full_disk_ends_no_worker(tmp_path: Path, when: str, counted: str):
    """On a file system of 1 MB: a file with holes could not be written there, which ends a process."""
    mounted = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$0" "$@"'
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*alone, mounted, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount a file system of their own")

    command = [*alone, mounted, sys.executable, "-c", ON_A_FULL_DISK, str(tmp_path), when]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, counted), done.stderr
