"""The erased in what the page shows: counted, and removed from every version and every byte."""

from pathlib import Path

import pytest

from churn_assets.erasure import page
from churn_assets.erasure.people import People
from churn_assets.serving.endpoint import page_folder
from churn_assets.serving.page.store import FILE, Filter, opened
from churn_assets.serving.versions import current_version
from churn_assets.settings import Settings
from churn_assets_tests.serving.page.stores import CONTACTS, publish

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
