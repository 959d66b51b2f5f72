"""The model in one worker: one loading for many who wait, another version at the next request."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from churn_assets.serving.published.publish import publish
from churn_assets.serving.published.state import Config, Endpoint, Entity, StateFolder
from churn_assets.serving.scoring import scorer
from churn_assets.serving.scoring.replies import UnavailableError
from churn_assets.serving.server import host as host_module
from churn_assets.serving.server.host import ModelHost
from churn_assets.serving.server.metrics import Metrics
from churn_assets.settings import Settings
from churn_assets_tests.serving.conftest import MODELS

NAME = "churn-prediction-model"


@pytest.fixture
def state(lake: Settings, tmp_path: Path) -> StateFolder:
    """All versions lie there, and the first is published."""
    state = StateFolder(tmp_path / "serving")
    for version in MODELS:
        publish(lake, state.model(version), version, scorer.describe)
    state.publish(Endpoint(config=Config(Entity(NAME, "1")), config_version=1))
    return state


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions that were loaded, in order."""
    versions: list[str] = []

    def load(folder: Path, version: str) -> Any:
        versions.append(version)
        return scorer.load(folder, version)

    monkeypatch.setattr(host_module, "load", load)
    return versions


def host_of(state: StateFolder) -> ModelHost:
    return ModelHost(state, Metrics(None), owns_process=False)


def serve(state: StateFolder, version: str, shadow: str | None = None) -> None:
    config = Config(Entity(NAME, version), Entity(NAME, shadow) if shadow else None)
    before = state.read()
    state.publish(msgspec.structs.replace(before, config=config, config_version=before.config_version + 1))


def test_many_who_wait_for_a_model_cause_one_loading(state: StateFolder, loaded: list[str]):
    host = host_of(state)

    async def ask() -> list[str]:
        return [model.version for model in await asyncio.gather(*(host.load_published() for _ in range(50)))]

    assert host.loaded_model() is None
    assert asyncio.run(ask()) == ["1"] * 50
    assert loaded == ["1"]
    model = host.loaded_model()
    assert model is not None
    assert (model.version, host.served_name, host.is_loaded) == ("1", f"{NAME}-1", True)


def test_what_was_published_is_not_answered_by_what_was_there_before(state: StateFolder, loaded: list[str]):
    host = host_of(state)
    asyncio.run(host.load_published())

    serve(state, "2")

    assert host.loaded_model() is None
    assert asyncio.run(host.load_published()).version == "2"
    assert loaded == ["1", "2"]


def test_a_version_that_is_in_memory_is_not_loaded_again(state: StateFolder, loaded: list[str]):
    host = host_of(state)
    asyncio.run(host.load_published())
    serve(state, "1", shadow="2")
    asyncio.run(host.load_published())
    assert host.shadow is not None
    assert host.shadow.version == "2"

    serve(state, "2", shadow="1")
    asyncio.run(host.load_published())

    assert (loaded, host.served_name) == (["1", "2"], f"{NAME}-2")
    assert host.shadow.version == "1"
    serve(state, "2")
    asyncio.run(host.load_published())
    assert host.shadow is None


def test_a_version_that_cannot_be_loaded_is_503_until_it_can(state: StateFolder):
    host = host_of(state)
    content = (state.model("1") / scorer.ESTIMATOR_FILE).read_bytes()
    shutil.rmtree(state.model("1"))

    with pytest.raises(UnavailableError, match="Version 1 cannot be loaded: FileNotFoundError"):
        asyncio.run(host.load_published())
    assert not host.is_loaded

    shutil.copytree(state.model("2"), state.model("1"))
    (state.model("1") / scorer.ESTIMATOR_FILE).write_bytes(content)
    assert asyncio.run(host.load_published()).version == "1"


def test_a_shadow_that_cannot_be_loaded_takes_no_answer_away(state: StateFolder):
    host = host_of(state)
    shutil.rmtree(state.model("3"))
    serve(state, "2", shadow="3")

    assert asyncio.run(host.load_published()).version == "2"
    assert host.shadow is None


def test_a_request_keeps_the_endpoint_from_being_idle_and_a_look_does_not(state: StateFolder):
    host = host_of(state)

    asyncio.run(host.load_published(in_use=False))
    host.note_activity()
    assert not state.activity.exists()

    host.loaded_model()
    host.note_activity()
    assert host.idle_seconds() < 5
    assert state.activity.exists()


def test_an_endpoint_that_nobody_has_asked_is_not_idle(tmp_path: Path):
    assert host_of(StateFolder(tmp_path)).idle_seconds() == 0
