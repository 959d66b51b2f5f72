"""Event files without the lines of the erased: all other bytes, names and dates stay."""

import gzip
import os
from pathlib import Path

import pytest

from churn_assets.erasure import landing
from churn_assets.erasure.people import People
from churn_assets.settings import Settings
from churn_assets.tables import ERASED_LINE
from churn_assets_tests.conftest import settings_in

SEVEN = People(frozenset({7}), frozenset())
THEIRS, OTHER = b'{"event_id":"a","user_id":"007"}', b'{"event_id": "b",  "user_id":70}'
MIXED = b"\xef\xbb\xbf" + OTHER + b"\r\n" + THEIRS + b"\n\n\xff\xfe no JSON\n" + THEIRS + b"\r\n" + OTHER
REST = b"\xef\xbb\xbf" + OTHER + b"\r\n\n\xff\xfe no JSON\n" + OTHER


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = settings_in(tmp_path, deployment="local")
    Path(found.landing_root).mkdir()
    return found


def put(settings: Settings, name: str, content: bytes) -> Path:
    path = Path(settings.landing_root) / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def names(settings: Settings) -> list[str]:
    return sorted(path.name for path in Path(settings.landing_root).iterdir())


def test_only_their_lines_go_from_a_file(settings: Settings) -> None:
    path = put(settings, "a.json", MIXED)

    assert landing.find(settings, SEVEN).lines == {"a.json": 2}
    landing.rewrite(settings, SEVEN)

    assert path.read_bytes() == REST
    assert path.stat().st_mtime == 1_700_000_000
    assert landing.find(settings, SEVEN).lines == {}
    assert names(settings) == ["a.json"]


def test_a_compressed_file_stays_compressed(settings: Settings) -> None:
    path = put(settings, "a.jsonl.gz", MIXED)

    landing.rewrite(settings, SEVEN)

    assert gzip.decompress(path.read_bytes()) == REST


def test_a_file_that_was_all_theirs_says_that_it_was(settings: Settings) -> None:
    path = put(settings, "a.json", THEIRS + b"\n" + THEIRS)

    landing.rewrite(settings, SEVEN)

    assert path.read_text() == f"{ERASED_LINE}\n"


def test_files_without_them_are_not_touched(settings: Settings) -> None:
    path = put(settings, "a.json", OTHER)
    before = path.stat()

    landing.rewrite(settings, SEVEN)

    assert path.stat().st_ino == before.st_ino


def test_a_hard_link_stays_another_name_of_the_same_file(settings: Settings, tmp_path: Path) -> None:
    path = put(settings, "a.json", MIXED)
    (tmp_path / "other name").hardlink_to(path)

    landing.rewrite(settings, SEVEN)

    assert (tmp_path / "other name").samefile(path)
    assert path.read_bytes() == REST


def test_the_file_behind_a_link_is_rewritten_and_the_link_stays(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_bytes(MIXED)
    link = Path(settings.landing_root) / "a.json"
    link.symlink_to(tmp_path / "elsewhere.json")

    landing.rewrite(settings, SEVEN)

    assert link.is_symlink()
    assert link.read_bytes() == REST


def test_a_file_that_is_cut_off_is_named_and_stays(settings: Settings) -> None:
    path = put(settings, "a.json.gz", MIXED * 1000)
    path.write_bytes(path.read_bytes()[:-20])
    before = path.read_bytes()

    found = landing.find(settings, SEVEN)
    landing.rewrite(settings, SEVEN)

    assert list(found.unreadable) == ["a.json.gz"]
    assert path.read_bytes() == before


def test_whoever_died_while_writing_in_place_is_completed(settings: Settings, monkeypatch) -> None:
    path = put(settings, "a.json", MIXED)
    Path(f"{path}.linked").hardlink_to(path)
    monkeypatch.setattr(landing.shutil, "copyfileobj", _die)
    with pytest.raises(KeyboardInterrupt):
        landing.rewrite(settings, SEVEN)
    # As far as it came: the new content before the end of the old.
    path.write_bytes(REST + MIXED[len(REST) :])
    monkeypatch.undo()

    landing.rewrite(settings, SEVEN)

    assert path.read_bytes() == REST
    assert names(settings) == ["a.json", "a.json.linked"]


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_files_are_only_listed_if_so_set(tmp_path: Path) -> None:
    Path(tmp_path / "landing").mkdir()

    assert landing.can_rewrite(settings_in(tmp_path, deployment="local"))
    assert not landing.can_rewrite(settings_in(tmp_path, deployment="local", forget_landing="list"))
