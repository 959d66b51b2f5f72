import logging
from typing import Any

import pytest

from churn_assets.model.registry.quiet import quieten


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Any:
    logger = logging.getLogger("mlflow")
    level = logger.level
    yield
    logger.setLevel(level)


def test_the_advice_at_every_scoring_is_dropped_and_a_mismatch_is_not(capsys: pytest.CaptureFixture[str]):
    quieten()

    logging.getLogger("mlflow.pyfunc").warning('Calling `spark_udf()` with `env_manager="local"` does not …')
    logging.getLogger("mlflow.utils.requirements_utils").warning("Detected one or more mismatches")

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("WARNING mlflow.utils.requirements_utils: Detected one or more mismatches")


def test_mlflow_collects_no_telemetry(monkeypatch: pytest.MonkeyPatch):
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY
    from mlflow.telemetry import client

    # MLflow switches it off under pytest; here it is on, as for a user who has not heard of it.
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    client._set_telemetry_client(client.TelemetryClient())

    quieten()

    assert client.get_telemetry_client() is None
    assert MLFLOW_DISABLE_TELEMETRY.get()


def test_a_log_level_that_the_user_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "DEBUG")
    logging.getLogger("mlflow").setLevel(logging.DEBUG)

    quieten()

    assert logging.getLogger("mlflow").level == logging.DEBUG
