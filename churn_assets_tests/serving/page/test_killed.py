"""A page that is killed at any step of its publishing: readers have the old one or the new one, in full."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.serving import shared_store, versions
from churn_assets.serving.endpoint import page_folder
from churn_assets.serving.page import publish as publishing
from churn_assets.serving.page.store import Filter, opened
from churn_assets.serving.shared_store import PAGE
from churn_assets.settings import Settings
from churn_assets_tests.buckets import BucketServer
from churn_assets_tests.conftest import bucket_settings
from churn_assets_tests.serving.page.stores import DATE, publish

OLD, NEW = 2, 3


def killed(settings: Settings, step: str) -> bool:
    """Publish the new page in a process of its own; whether it died at this step."""
    given = {
        "lake_root": str(settings.lake_root),
        "landing_root": settings.landing_root,
        "state_root": str(settings.local_root),
    }
    command = [sys.executable, "-W", "ignore", "-m", "churn_assets_tests.serving.page.dying"]
    ended = subprocess.run(
        [*command, json.dumps(given), "new", str(NEW), step], check=False, capture_output=True, text=True
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


def contacts(settings: Settings) -> int:
    """How many a reader is shown, who reads all of the page."""
    snapshot = opened(page_folder(settings))
    assert snapshot is not None
    try:
        assert snapshot.damage() is None
        rows = snapshot.rows(snapshot.find(Filter()).ranks)
        return len(rows)
    finally:
        snapshot.close()


@pytest.mark.slow
def test_on_one_machine_it_is_the_old_or_the_new_page_and_the_next_one_takes_its_place(
    tmp_path: Path,
) -> None:
    shown = []
    for step in range(1, 100):
        settings = bucket_settings(
            "", tmp_path, lake_root=tmp_path / str(step), landing_root=str(tmp_path), state_root=None
        )
        # The one before goes once the new one is there.
        for version in ("older", "old"):
            publish(page_folder(settings), version, contacts=OLD)
        if not killed(settings, str(step)):
            assert contacts(settings) == NEW
            break
        shown.append(contacts(settings))
        publish(page_folder(settings), "next", contacts=NEW + 1)
        assert contacts(settings) == NEW + 1
        left = {one.name for one in page_folder(settings).iterdir()}
        assert f"{DATE}-next" in left
        assert not [name for name in left if name.startswith(f".{versions.POINTER}-")]
    # The old one up to a step, and the new one from then on.
    assert shown == sorted(shown)
    assert set(shown) == {OLD, NEW}


@pytest.mark.parametrize(
    ("step", "elsewhere"),
    [
        pytest.param("share", OLD, id="before anything is sent"),
        pytest.param("current_in_bucket", OLD, id="before the bucket names it"),
        pytest.param("versions_in_bucket", NEW, id="before older ones go", marks=pytest.mark.slow),
    ],
)
def test_through_a_bucket_others_see_the_old_or_the_new_page_and_the_next_run_publishes(  # noqa: PLR0917
    bucket_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bucket_server: BucketServer,
    step: str,
    elsewhere: int,
) -> None:
    settings = bucket_settings(bucket_uri, tmp_path)
    other = settings.model_copy(update={"state_root": tmp_path / "other machine"})
    lake = FolderLakehouse(settings, pytest.fail)
    # What the lake's tables say: the newest list is the one of the new page.
    monkeypatch.setattr(publishing, "computed_dates", lambda _: [DATE])
    monkeypatch.setattr(publishing, "_source", lambda _: "one")
    publish(page_folder(settings), "first", contacts=OLD)
    assert not publishing.is_published(lake)
    publish(page_folder(settings), "old", contacts=OLD, source="before")
    shared_store.share(settings, f"{DATE}-old", PAGE)
    assert not publishing.is_published(lake)

    assert killed(settings, step)

    shared_store.follow(other, PAGE)
    assert contacts(other) == elsewhere
    assert contacts(settings) == NEW
    # Which takes this machine back to what the others see.
    assert publishing.is_published(lake) == (elsewhere == NEW)
    assert contacts(settings) == elsewhere
    assert not killed(settings, "0")
    shared_store.follow(other, PAGE)
    assert contacts(other) == NEW
    assert len(shared_store.versions_in_bucket(settings, PAGE)) <= 2
    assert publishing.is_published(lake)
