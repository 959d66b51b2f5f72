"""The erased in what the page shows: counted, and removed from every version and every byte."""

from pathlib import Path

import pytest

from churn_assets import bucket
from churn_assets.erasure import page
from churn_assets.erasure.people import People
from churn_assets.serving import shared_store
from churn_assets.serving.endpoint import page_folder
from churn_assets.serving.page.store import FILE, Filter, opened
from churn_assets.serving.shared_store import PAGE
from churn_assets.serving.versions import current_version
from churn_assets.settings import Settings
from churn_assets_tests.conftest import bucket_settings
from churn_assets_tests.serving.page.stores import CONTACTS, DATE, publish

USER = 7
SOURCE = b"user-7@example.com"
PEOPLE = People(frozenset({USER}), frozenset({SOURCE.decode()}))
NOBODY = People(frozenset({9999}), frozenset({"nobody@example.com"}))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(_env_file=None, lake_root=tmp_path)  # type: ignore[call-arg]  # pydantic-settings takes it
    publish(page_folder(settings), "v1-a")
    publish(page_folder(settings), "v1-b")
    return settings


def files(settings: Settings) -> list[Path]:
    return list(page_folder(settings).rglob(FILE))


def test_they_are_counted_by_either_id_and_counting_changes_nothing(settings: Settings) -> None:
    before = current_version(page_folder(settings))

    assert page.count(settings, PEOPLE) == 1
    assert page.count(settings, People(frozenset(), PEOPLE.source_ids)) == 1
    assert page.count(settings, NOBODY) == 0
    assert current_version(page_folder(settings)) == before


def test_afterwards_no_version_and_no_byte_knows_them_and_all_others_are_there(settings: Settings) -> None:
    assert all(SOURCE in file.read_bytes() for file in files(settings))

    page.clean(settings, PEOPLE)

    assert page.count(settings, PEOPLE) == 0
    [file] = files(settings)
    assert SOURCE not in file.read_bytes()
    snapshot = opened(page_folder(settings))
    assert snapshot is not None
    assert snapshot.user(str(USER)) is None
    assert snapshot.find(Filter()).ranks.tolist() == [one for one in range(1, CONTACTS + 1) if one != USER]
    assert [row["rank"] for row in snapshot.rows([6, 8])] == [6, 8]
    snapshot.close()


def test_it_can_be_done_again_and_who_is_not_there_changes_nothing(settings: Settings) -> None:
    page.clean(settings, PEOPLE)
    after = current_version(page_folder(settings))

    page.clean(settings, PEOPLE)
    page.clean(settings, NOBODY)

    assert current_version(page_folder(settings)) == after


def test_what_cannot_be_read_goes_as_a_whole(settings: Settings) -> None:
    folder = page_folder(settings)
    file = folder / current_version(folder) / FILE
    file.write_bytes(b"no database, but " + SOURCE)

    page.clean(settings, PEOPLE)

    assert opened(folder) is None
    assert files(settings) == []


def test_without_a_page_there_is_nothing_to_do(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, lake_root=tmp_path / "new")  # type: ignore[call-arg]  # pydantic-settings takes it

    assert page.count(settings, PEOPLE) == 0
    page.clean(settings, PEOPLE)
    assert not page_folder(settings).exists()


def test_in_a_bucket_no_version_knows_them_and_other_servers_drop_their_copies(
    bucket_uri: str, tmp_path: Path
) -> None:
    settings = bucket_settings(bucket_uri, tmp_path)
    elsewhere = settings.model_copy(update={"state_root": tmp_path / "other machine"})
    for version in ("v1-a", "v1-b"):
        publish(page_folder(settings), version)
        shared_store.share(settings, f"{DATE}-{version}", PAGE)
        assert shared_store.follow(elsewhere, PAGE)
    # Where it was published there is nothing any more.
    bucket.remove(page_folder(settings))
    assert page.count(settings, PEOPLE) == 1

    page.clean(settings, PEOPLE)

    assert page.count(settings, PEOPLE) == 0
    assert len(shared_store.versions_in_bucket(settings, PAGE)) == 1
    assert len(files(elsewhere)) == 2
    assert shared_store.follow(elsewhere, PAGE)
    for folder in (page_folder(settings), page_folder(elsewhere)):
        [file] = folder.rglob(FILE)
        assert SOURCE not in file.read_bytes()
    page.clean(settings, PEOPLE)
    assert not shared_store.follow(elsewhere, PAGE)


def test_in_a_bucket_what_cannot_be_read_goes_as_a_whole(bucket_uri: str, tmp_path: Path) -> None:
    settings = bucket_settings(bucket_uri, tmp_path)
    publish(page_folder(settings), "v1-a")
    shared_store.share(settings, f"{DATE}-v1-a", PAGE)
    (PAGE.in_bucket(settings) / f"{DATE}-v1-a" / FILE).write_bytes(b"no database, but " + SOURCE)
    # Else what this machine has would take its place.
    bucket.remove(page_folder(settings))

    page.clean(settings, PEOPLE)

    assert bucket.sizes(PAGE.in_bucket(settings)) == {}
    assert opened(page_folder(settings)) is None
