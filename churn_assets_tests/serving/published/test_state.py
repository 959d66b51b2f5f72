"""The two files: published state that readers follow, and one wish at a time."""

import resource
from pathlib import Path

import pytest

from churn_assets.serving.published.state import Config, Endpoint, Entity, StateFolder

ONE = Config(Entity("churn-prediction-model", "1"))
TWO = Config(Entity("churn-prediction-model", "2"), shadow=Entity("churn-prediction-model", "1"))


def test_before_anything_is_published_there_is_no_configuration(tmp_path: Path):
    state = StateFolder(tmp_path / "missing")

    assert state.read() == Endpoint()
    assert state.pending_update() is None


def test_what_one_process_publishes_another_reads_at_once(tmp_path: Path):
    writer, reader = StateFolder(tmp_path), StateFolder(tmp_path)
    # Faster than the clock of many file systems ticks, and of the same length.
    for version in range(200):
        writer.publish(Endpoint(config=ONE, config_version=100 + version))

        assert reader.read().config_version == 100 + version


def test_everything_survives_the_trip_through_the_file(tmp_path: Path):
    endpoint = Endpoint(TWO, 7, 1, 2, "2", "UPDATE_FAILED", "no such version", "unreachable")

    StateFolder(tmp_path).publish(endpoint)

    assert StateFolder(tmp_path).read() == endpoint


def test_a_field_of_a_later_release_does_not_stop_this_one(tmp_path: Path):
    (tmp_path / "endpoint.json").write_text('{"config_version": 3, "mood": "good"}')

    assert StateFolder(tmp_path).read().config_version == 3


def test_only_one_wish_at_a_time_is_taken(tmp_path: Path):
    state, other = StateFolder(tmp_path), StateFolder(tmp_path)

    assert state.request_update(TWO)
    assert not other.request_update(ONE)
    assert other.pending_update() == TWO

    other.finish_update()
    assert state.pending_update() is None
    assert other.request_update(ONE)
    assert [file.name for file in tmp_path.iterdir()] == ["wanted.json"]


def test_publishing_leaves_nothing_but_the_state(tmp_path: Path):
    StateFolder(tmp_path).publish(Endpoint(config=ONE))

    assert [file.name for file in tmp_path.iterdir()] == ["endpoint.json"]


@pytest.mark.parametrize(
    ("entity", "name"),
    [
        (Entity("churn-prediction-model", "3"), "churn-prediction-model-3"),
        (Entity("main.gold.churn-prediction-model", "3"), "churn-prediction-model-3"),
        (Entity("churn-prediction-model", "3", name="champion"), "champion"),
    ],
)
def test_an_entity_is_called_as_databricks_would_call_it(entity: Entity, name: str):
    assert entity.served_name == name


def test_a_damaged_state_is_as_if_nothing_had_been_published(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    state.publish(Endpoint(config=Config(Entity("churn-prediction-model", "1")), config_version=7))
    (tmp_path / "endpoint.json").write_bytes(b'{"config":{"serv')

    assert state.read() == Endpoint()


@pytest.mark.parametrize("content", [b"", b'{"serv', b"\xff\xfe", b'{"serving": 3}'])
def test_a_damaged_wish_is_no_wish(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wanted.json").write_bytes(content)
    state = StateFolder(tmp_path)

    assert state.pending_update() is None
    assert state.is_update_damaged
    state.finish_update()
    assert not state.is_update_damaged
    assert state.request_update(ONE)


def test_a_wish_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A limit of the process stands for a full disk: it fails in the same place, with another number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    state = StateFolder(tmp_path)
    state.publish(Endpoint(config=ONE, config_version=7))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            state.request_update(TWO)
        with pytest.raises(OSError, match="File too large"):
            state.publish(Endpoint(config=TWO))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [file.name for file in tmp_path.iterdir()] == ["endpoint.json"]
    assert state.read().config_version == 7
