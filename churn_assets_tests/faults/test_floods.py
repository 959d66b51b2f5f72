"""The scoring server under floods: no worker ends, no answer without a token, and memory comes back."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import floods, peers
from churn_assets.settings import Settings
from churn_assets_tests.faults.conftest import Count

NEEDED_FILES = 2 * floods.SLOW_CONNECTIONS


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A registered model, and leave to open as many connections as the floods need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED_FILES:
        pytest.skip(f"ulimit -n allows {hard} connections, and the floods need {NEEDED_FILES}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (NEEDED_FILES, hard))
    settings = peers.settings_for(Path(tmp_path_factory.mktemp("flooded")), floods.PORT, workers=2)
    peers.train(settings)
    yield settings
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.faults
@pytest.mark.parametrize("name", floods.FLOODS)
def test_a_flood_ends_no_worker(settings: Settings, name: str, count: Count) -> None:
    with peers.churn_serve(settings) as peer:
        found = floods.flooded(peer, floods.FLOODS[name])

    assert found.ended == 0, found
    assert found.highest < 2e9, found
    assert found.after < found.before + 400e6, found
    if name == "16 MB without a token":
        assert found.outcome["401"] == floods.SENDERS, found
    pings = [float(what.split()[3]) for what in found.outcome if what.startswith("a ping within")]
    assert all(seconds < 30 for seconds in pings), found
    tries = {
        "10,000 heads that never end": floods.SLOW_CONNECTIONS,
        "5,000 silent connections": floods.CONNECTIONS,
    }
    count(f"the scoring server: {name}", tries.get(name, floods.SENDERS), str(found))
