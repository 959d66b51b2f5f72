"""What is served follows what was asked for and what ``Production`` names, over a real registry."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from churn_assets.model.registry import registry
from churn_assets.serving.published import follower
from churn_assets.serving.published.follower import Follower
from churn_assets.serving.published.state import Config, Entity, StateFolder
from churn_assets.serving.scoring import scorer
from churn_assets.settings import Settings
from churn_assets_tests.serving.conftest import BROKEN_PICKLE, FOREIGN, THREE_CLASSES, server_of

NAME = "churn-prediction-model"


def version(number: str) -> Entity:
    return Entity(NAME, number)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "serving")


@pytest.fixture
def step(lake: Settings, state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """One step of a follower, which looks at the registry at each; the version served afterwards."""
    monkeypatch.setattr(follower, "REGISTRY_POLL_SECONDS", 0.0)
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.0)
    ours = Follower(lake, state, describe=scorer.describe)

    def run_step() -> str:
        ours.step()
        config = state.read().config
        return config.serving.entity_version if config else "none"

    return run_step


def test_production_is_served_and_followed_when_it_moves(lake: Settings, state: StateFolder, step):
    assert step() == "1"
    registry.promote(lake, "2")
    assert step() == "2"

    endpoint = state.read()
    assert (endpoint.config_version, endpoint.followed, endpoint.update) == (2, "2", "NOT_UPDATING")
    assert scorer.load(state.model("2"), "2").version == "2"


def test_nothing_is_written_while_production_stays(state: StateFolder, step):
    step()
    before = (state.folder / "endpoint.json").stat()

    step()

    assert (state.folder / "endpoint.json").stat().st_ino == before.st_ino


def test_what_was_asked_for_stays_until_production_moves(lake: Settings, state: StateFolder, step):
    registry.promote(lake, "2")
    assert step() == "2"

    state.request_update(Config(version("1")))
    assert [step(), step(), step()] == ["1", "1", "1"]
    assert state.pending_update() is None

    registry.promote(lake, "3")
    assert step() == "3"


def test_a_shadow_goes_on_when_production_moves(lake: Settings, state: StateFolder, step):
    step()
    state.request_update(Config(version("1"), shadow=version("3")))
    step()

    registry.promote(lake, "2")
    step()

    assert state.read().config == Config(version("2"), shadow=version("3"))


def test_a_shadow_that_is_promoted_is_no_shadow_any_more(lake: Settings, state: StateFolder, step):
    step()
    state.request_update(Config(version("1"), shadow=version("2")))
    step()

    registry.promote(lake, "2")
    step()

    assert state.read().config == Config(version("2"))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (BROKEN_PICKLE, "UnpicklingError"),
        (FOREIGN, "holds no estimator of churn_assets"),
        (THREE_CLASSES, "expected two probabilities"),
    ],
)
def test_a_promoted_version_that_cannot_be_served_leaves_the_old_one(
    lake: Settings, state: StateFolder, step, bad: str, reason: str
):
    step()
    registry.promote(lake, bad)
    assert step() == "1"
    assert state.read().update == "UPDATE_FAILED"
    assert reason in state.read().message

    registry.promote(lake, "2")
    assert step() == "2"
    assert (state.read().update, state.read().message) == ("NOT_UPDATING", "")


@pytest.mark.parametrize(
    "wanted",
    [
        Config(version("99")),
        Config(Entity("somebody-elses-model", "1")),
        Config(version("2"), shadow=version(BROKEN_PICKLE)),
    ],
    ids=["no such version", "another model", "a shadow that is broken"],
)
def test_a_wish_that_cannot_be_had_leaves_what_is_served(state: StateFolder, step, wanted: Config):
    step()
    state.request_update(wanted)

    assert step() == "1"
    assert state.read().update == "UPDATE_FAILED"
    assert state.read().config_version == 1
    assert state.pending_update() is None


def test_a_wish_that_cannot_be_read_fails_and_the_next_one_is_taken(state: StateFolder, step):
    step()
    (state.folder / "wanted.json").write_bytes(b'{"serving"')

    assert step() == "1"
    assert state.read().update == "UPDATE_FAILED"
    assert "wanted.json was damaged" in state.read().message
    assert state.request_update(Config(version("2")))
    assert step() == "2"


def test_a_full_disk_does_not_end_the_follower(
    lake: Settings, state: StateFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.0)
    stop, tries = threading.Event(), 0

    def full(_endpoint: object) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            stop.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(state, "publish", full)

    Follower(lake, state, describe=scorer.describe).run(stop)

    assert tries == 2
    assert "cannot be written: No space left on device" in caplog.text


def test_a_version_that_somebody_else_registered_is_not_even_opened(
    lake: Settings, state: StateFolder, step, tmp_path: Path
):
    import mlflow

    step()
    client = mlflow.MlflowClient()
    exploded = tmp_path / "exploded"
    folder = tmp_path / "foreign"
    shutil.copytree(download_artifacts(client.get_model_version(NAME, "1").source), folder)
    (pickled,) = folder.rglob("estimator.pkl")
    pickled.write_bytes(f"cos\nmkdir\n(S'{exploded}'\ntR.".encode())
    client.create_model_version(NAME, folder.as_uri(), None)
    registry.promote(lake, "8")

    assert step() == "1"
    assert "Version 8 was not registered by this lake's platform" in state.read().message
    assert not exploded.exists()


def test_a_fault_of_ours_while_trying_a_version_is_no_end_of_the_follower(lake: Settings, state: StateFolder):
    def faulty(_folder: Path) -> dict[str, str]:
        raise KeyError("columns")

    Follower(lake, state, describe=faulty).step()

    assert (state.read().update, state.read().message) == ("UPDATE_FAILED", "KeyError: 'columns'")


def test_a_registry_that_fails_leaves_what_is_served_and_is_heard_again(
    lake: Settings, state: StateFolder, step
):
    step()
    database = lake.lake_root / "mlflow" / "mlflow.db"
    content = database.read_bytes()
    database.write_bytes(b"no database" * 1000)

    assert step() == "1"
    assert "file is not a database" in state.read().registry_error

    database.write_bytes(content)
    registry.promote(lake, "2")
    assert step() == "2"
    assert state.read().registry_error == ""


def test_an_unreachable_registry_does_not_take_the_previous_version_away(
    lake: Settings, state: StateFolder, step
):
    step()
    registry.promote(lake, "2")
    step()
    database = lake.lake_root / "mlflow" / "mlflow.db"
    database.write_bytes(b"no database" * 1000)

    state.request_update(Config(version("1")))

    assert step() == "1"
    assert state.read().update == "NOT_UPDATING"


def test_without_a_model_in_the_registry_nothing_is_served_and_that_is_no_error(
    tmp_path: Path, look_at_nothing
):
    state = look_at_nothing

    assert state.read().config is None
    assert (state.read().update, state.read().registry_error) == ("NOT_UPDATING", "")


@pytest.fixture
def look_at_nothing(lake: Settings, state: StateFolder) -> StateFolder:
    import mlflow

    mlflow.MlflowClient().delete_registered_model(NAME)
    Follower(lake, state, describe=scorer.describe).step()
    return state


def test_a_follower_that_only_deploys_does_not_look_at_production(lake: Settings):
    with server_of(lake) as client:
        assert client.ask("GET", "/health").status_code == 503
        registry.promote(lake, "2")
        time.sleep(0.3)
        assert client.ask("GET", "/health").status_code == 503


def test_a_follower_ends_when_it_is_told_to(lake: Settings, state: StateFolder):
    stop = threading.Event()
    thread = threading.Thread(
        target=follower.main, args=(lake, state.folder, stop), kwargs={"describe": scorer.describe}
    )
    thread.start()
    deadline = time.monotonic() + 20
    while state.read().config is None and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    thread.join(5)

    assert not thread.is_alive()
    assert state.read().config == Config(version("1"))
