"""One table of requests, sent to MLflow's own scoring server and to ours, over the same logged models."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from churn_assets.model.registry import registry
from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.settings import Settings
from churn_assets_tests.model.conftest import mlflow_state_as_it_was
from churn_assets_tests.serving.conftest import WITH_HISTORY, mlflow_answers, server_of
from churn_assets_tests.serving.request_shapes import SHAPES, Shape

# Gradient boosting, which refuses NaN, histogram gradient boosting, which takes it, and one of histories.
VERSIONS = ("1", "2", WITH_HISTORY)
DECISION = Path(__file__).parents[3] / "docs" / "adr" / "0023-where-our-answers-differ-from-mlflows.md"
SCORE = f"/serving-endpoints/{ENDPOINT_NAME}/invocations"
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    content: Any

    @property
    def predictions(self) -> Any:
        return self.content["predictions"] if self.status == 200 else None


# Of every version and shape, MLflow's answer and ours.
Answers = dict[tuple[str, str], tuple[Answer, Answer]]


def ask(url: str, shape: Shape, headers: dict[str, str]) -> Answer:
    # A connection each: MLflow's server closes it where it fails.
    answer = requests.post(url, data=shape.content, headers={**shape.headers, **headers}, timeout=60)
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return Answer(answer.status_code, answer.json() if is_json else answer.text)


@contextmanager
def mlflow_server(settings: Settings, version: str) -> Iterator[str]:
    """MLflow's own application over a registered version, as ``mlflow models serve`` runs it."""
    import mlflow.pyfunc
    from mlflow.pyfunc import scoring_server

    before = dict(os.environ)
    with mlflow_state_as_it_was(), socket.create_server(("127.0.0.1", 0)) as listener:
        registry.configure(settings)
        app = scoring_server.init(mlflow.pyfunc.load_model(registry.model_uri(settings, version)))
        server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/invocations"
        finally:
            server.should_exit = True
            thread.join()
            # It says in the environment that this process serves.
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(scope="module")
def answers(registered: Settings) -> Answers:
    """Of every version and shape, MLflow's answer and ours."""
    answers = {}
    for version in VERSIONS:
        with mlflow_server(registered, version) as theirs, server_of(registered, version) as ours:
            token = {"authorization": f"Bearer {ours.token}"}
            for shape in (shape for shape in SHAPES if is_for(version, shape)):
                answers[version, shape.name] = (
                    ask(theirs, shape, {}),
                    ask(ours.url + SCORE, shape, token),
                )
    return answers


def is_for(version: str, shape: Shape) -> bool:
    """Whether a shape is sent for a version."""
    if shape.history or version == WITH_HISTORY:
        return shape.history and version == WITH_HISTORY
    return shape.gaps or version == "1"


def differ(theirs: Any, ours: Any) -> bool:
    """Whether two answers are other numbers, or of another shape."""
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(theirs) != len(ours) or any(differ(a, b) for a, b in zip(theirs, ours, strict=True))
    if not isinstance(theirs, float) or not isinstance(ours, float):
        return True
    return abs(theirs - ours) > TOLERANCE


def is_refusal(answer: Answer) -> bool:
    """Whether it is one in Databricks' shape, in one line; a 404 says more, by row."""
    return (
        400 <= answer.status < 500
        and answer.content.keys() >= {"error_code", "message"}
        and "\n" not in answer.content["message"]
    )


def as_table(rows: list[tuple[str, str, Answer, Answer]]) -> str:
    lines = [
        f"version {version}: {name}: MLflow {theirs.status} {str(theirs.content)[:150]}\n"
        f"    ours {ours.status} {ours.content}"
        for version, name, theirs, ours in rows
    ]
    return "\n".join([f"{len(rows)} answers differ", *lines])


def test_the_table_has_each_shape_once_and_a_reason_for_each_difference():
    assert len(SHAPES) >= 60
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
    assert all(bool(shape.reason) == bool(shape.ours) for shape in SHAPES)
    assert all(bool(shape.scores) == (shape.ours == 200) for shape in SHAPES)


def test_where_mlflow_scores_ours_gives_the_same_and_where_it_refuses_a_refusal(answers: Answers):
    wanted = {shape.name for shape in SHAPES if shape.ours}
    wrong = []
    for (version, name), (theirs, ours) in answers.items():
        if theirs.status == 200:
            same = ours.status == 200 and not differ(theirs.predictions, ours.predictions)
        else:
            same = is_refusal(ours)
        if name not in wanted and not same:
            wrong.append((version, name, theirs, ours))
    assert not wrong, as_table(wrong)


def test_a_wanted_difference_is_one_and_is_as_it_is_wanted(answers: Answers, registered: Settings):
    for shape in (shape for shape in SHAPES if shape.ours):
        both = {
            version: answers[version, shape.name] for version in VERSIONS if (version, shape.name) in answers
        }
        for version, (_, ours) in both.items():
            assert ours.status == shape.ours, (shape.name, ours)
            if shape.ours == 200:
                scores = mlflow_answers(registered, version, [dict(row) for row in shape.scores])
                assert not differ(scores, ours.predictions), shape.name
            else:
                assert is_refusal(ours), shape.name
        # Or the row and its reason can go.
        assert any(
            (theirs.status == 200) != (ours.status == 200) or differ(theirs.predictions, ours.predictions)
            for theirs, ours in both.values()
        ), shape.name


def test_the_decision_gives_each_reason():
    page = " ".join(DECISION.read_text().split())

    assert not sorted({shape.reason for shape in SHAPES if shape.reason not in page})


def test_the_scores_of_the_table_are_not_all_alike(answers: Answers):
    """Or a value that is read wrongly would not be seen."""
    for version in (version for version in VERSIONS if version != WITH_HISTORY):
        live, gone = answers[version, "two rows, records"][0].predictions

        assert live != gone
        assert answers[version, "numeric string, records"][1].predictions == [live, gone]
    of_six = answers[WITH_HISTORY, "the six alone, records"][0].predictions
    of_whole = answers[WITH_HISTORY, "a history with nulls, records"][0].predictions
    assert len({*of_six, *of_whole}) == 4
