"""The page of a lake in a bucket: servers elsewhere follow it, and keep the last one they had."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from churn_assets.serving import shared_store, versions
from churn_assets.serving.endpoint import page_folder, state_folder
from churn_assets.serving.published import follower
from churn_assets.serving.published.follower import Follower
from churn_assets.serving.published.state import StateFolder
from churn_assets.serving.shared_store import PAGE
from churn_assets.settings import Settings
from churn_assets_tests.buckets import BucketServer, Fault
from churn_assets_tests.conftest import bucket_settings
from churn_assets_tests.serving.page.stores import DATE, publish
from churn_assets_tests.serving.server.pages.conftest import TOKEN, worker


@pytest.fixture
def settings(bucket_uri: str, tmp_path: Path) -> Settings:
    return bucket_settings(bucket_uri, tmp_path)


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """The same lake on another machine."""
    return settings.model_copy(update={"state_root": tmp_path / "other machine"})


@pytest.fixture
def following(elsewhere: Settings, monkeypatch: pytest.MonkeyPatch) -> Follower:
    """What looks into the bucket there, each time it is asked to."""
    monkeypatch.setattr(follower, "BUCKET_POLL_SECONDS", 0.0)
    return Follower(elsewhere, StateFolder(state_folder(elsewhere)), follows_production=False)


@pytest.fixture
def url(elsewhere: Settings) -> Iterator[str]:
    """The address of a server there."""
    state_folder(elsewhere).mkdir(parents=True)
    with worker(state_folder(elsewhere)) as url:
        yield url


def share(settings: Settings, version: str, contacts: int) -> None:
    publish(page_folder(settings), version, contacts=contacts)
    shared_store.share(settings, f"{DATE}-{version}", PAGE)


def shown(url: str) -> str:
    return requests.get(f"{url}/list.csv", headers={"authorization": f"Bearer {TOKEN}"}, timeout=30).text


def ranks(url: str) -> list[str]:
    return [line.partition(",")[0] for line in shown(url).splitlines()[1:]]


def test_a_server_shows_what_was_published_there_and_the_last_one_while_the_bucket_is_away(
    settings: Settings, following: Follower, url: str, bucket_server: BucketServer, caplog
) -> None:
    share(settings, "v1", contacts=2)
    following.step()
    assert ranks(url) == ["1", "2"]

    share(settings, "v2", contacts=3)
    bucket_server.fail(Fault("GET", "", status=403, times=99))
    following.step()
    assert ranks(url) == ["1", "2"]
    assert "page: " in caplog.text

    bucket_server.fail()
    following.step()
    assert ranks(url) == ["1", "2", "3"]


def test_a_version_that_the_bucket_has_no_longer_goes_and_the_one_before_stays_if_it_has(
    settings: Settings, elsewhere: Settings
) -> None:
    folder = page_folder(elsewhere)
    for version in ("v1", "v2"):
        share(settings, version, contacts=2)
        assert shared_store.follow(elsewhere, PAGE)
    assert [one.name for one in versions.version_folders(folder)] == [f"{DATE}-v1", f"{DATE}-v2"]

    share(settings, "v3", contacts=2)
    for old in shared_store.versions_in_bucket(settings, PAGE) - {f"{DATE}-v3"}:
        (PAGE.in_bucket(settings) / old / "page.sqlite").unlink()
    assert shared_store.follow(elsewhere, PAGE)
    assert [one.name for one in versions.version_folders(folder)] == [f"{DATE}-v3"]


def test_a_machine_that_publishes_is_not_taken_back_to_the_version_before(settings: Settings) -> None:
    share(settings, "v1", contacts=2)
    with shared_store.publishing(settings, PAGE):
        publish(page_folder(settings), "v2", contacts=3)

        assert not shared_store.follow(settings, PAGE)

        assert versions.current_version(page_folder(settings)) == f"{DATE}-v2"
        shared_store.share(settings, f"{DATE}-v2", PAGE)
    assert not shared_store.follow(settings, PAGE)
    assert shared_store.current_in_bucket(settings, PAGE) == f"{DATE}-v2"


def test_in_a_folder_nobody_waits(tmp_path: Path) -> None:
    settings = bucket_settings("", tmp_path, lake_root=tmp_path / "lake", landing_root=str(tmp_path))
    with shared_store.publishing(settings, PAGE), shared_store.publishing(settings, PAGE):
        assert not page_folder(settings).exists()
