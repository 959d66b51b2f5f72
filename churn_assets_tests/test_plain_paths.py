"""Links with plain names for folders whose own names engines misread."""

from pathlib import Path

import pytest

from churn_assets import plain_paths
from churn_assets import settings as settings_module
from churn_assets.errors import LakeError, SettingsError
from churn_assets_tests.names import LOOKS_ENCODED, ODD_NAMES


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, where links are made."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def links(home: Path) -> list[Path]:
    return sorted((home / ".cache").rglob("*")) if (home / ".cache").exists() else []


def test_a_plain_path_is_its_own_name_and_no_link_is_made(tmp_path: Path, home: Path) -> None:
    assert plain_paths.for_engine(tmp_path / "lake-1.2_x") == tmp_path / "lake-1.2_x"
    assert links(home) == []


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES.keys())
def test_an_odd_path_has_a_plain_name_that_leads_to_it(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()

    given = plain_paths.for_engine(folder)

    assert plain_paths.PLAIN_PATH.fullmatch(str(given))
    assert given.resolve() == folder.resolve()
    assert plain_paths.for_engine(folder) == given


def test_two_folders_have_two_names(tmp_path: Path) -> None:
    assert plain_paths.for_engine(tmp_path / "a b") != plain_paths.for_engine(tmp_path / "a#b")


def test_a_link_that_is_gone_or_leads_elsewhere_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    link = plain_paths.for_engine(folder)
    link.unlink()
    assert plain_paths.for_engine(folder).resolve() == folder.resolve()
    link.unlink()
    link.symlink_to(tmp_path)

    assert plain_paths.for_engine(folder).resolve() == folder.resolve()


def test_only_the_owner_may_change_the_links(tmp_path: Path, home: Path) -> None:
    plain_paths.for_engine(tmp_path / "a b")

    assert (home / ".cache" / "churn-assets").stat().st_mode & 0o077 == 0


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path, home: Path) -> None:
    shared = home / ".cache" / "churn-assets"
    shared.mkdir(parents=True)
    shared.chmod(0o777)

    assert shared not in plain_paths.for_engine(tmp_path / "a b").parents


def test_without_a_place_for_a_link_it_is_one_line(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_home = home / "o d"
    odd_home.mkdir()
    monkeypatch.setenv("HOME", str(odd_home))
    monkeypatch.setattr(plain_paths.tempfile, "gettempdir", lambda: str(odd_home))

    with pytest.raises(LakeError, match="needs a link with a plain name, and none can be made"):
        plain_paths.for_engine(tmp_path / "a b")


def test_a_sqlite_url_takes_all_but_two_characters(tmp_path: Path) -> None:
    for name in ODD_NAMES.values():
        given = plain_paths.for_sqlite_url(tmp_path / name)
        assert (given == tmp_path / name) == (not {"?", "%"} & set(name))


@pytest.mark.parametrize(
    ("name", "found"), [(LOOKS_ENCODED, "%20"), ("a\\b", "\\"), ("a\nb", "\\n"), ("a\udcff", "\\udcff")]
)
def test_what_delta_rs_cannot_read_is_refused_before_anything_is_written(
    name: str, found: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_module.load(_env_file=None, deployment="local", lake_root=tmp_path / name)

    says = str(refused.value)
    assert f"has {found} in its path, which delta-rs reads as something else" in says
    assert "Rename that folder, or use another. Set it in the environment" in says
    assert "\n" not in says
    says.encode()


def test_a_link_to_a_folder_that_cannot_be_read_does_not_help(tmp_path: Path) -> None:
    (tmp_path / "plain").symlink_to(tmp_path / LOOKS_ENCODED)

    with pytest.raises(SettingsError, match="has %20 in its path"):
        settings_module.load(_env_file=None, deployment="local", lake_root=tmp_path / "plain")


def test_a_percent_sign_that_encodes_nothing_is_a_name_like_others(tmp_path: Path) -> None:
    assert plain_paths.impossible(tmp_path / "50% off") is None
