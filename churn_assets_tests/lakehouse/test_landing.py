"""Which files count, each real file once, and what is said of those that do not."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_assets.errors import LandingError
from churn_assets.lakehouse import landing


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    folder = tmp_path / "zone"
    folder.mkdir()
    return folder


def test_json_and_json_gz_count_in_subfolders_too_and_others_are_ignored(zone: Path) -> None:
    (zone / "2026 01").mkdir()
    for name in ("b.json", "a.json.gz", "2026 01/c.json", "notes.txt", ".half.json", "_tmp.json"):
        (zone / name).write_bytes(b"")

    listing = landing.list_files(str(zone))

    assert listing.files == ["2026 01/c.json", "a.json.gz", "b.json"]
    assert listing.ignored == 1


def test_a_landing_zone_that_does_not_exist_is_one_line(zone: Path) -> None:
    with pytest.raises(LandingError, match=r"does not exist\. Create it .* churn simulate"):
        landing.list_files(str(zone / "nowhere"))


@pytest.mark.parametrize(
    "name", ["EVENTS.JSON", "a.jsonl", "a.ndjson", "a.Json.GZ", "b.JSONL.gz", "c.NDJSON.gz"]
)
def test_every_suffix_of_json_lines_counts_in_any_letter_case(zone: Path, name: str) -> None:
    (zone / name).touch()

    assert landing.list_files(str(zone)).files == [name]


def test_what_is_passed_over_for_its_suffix_is_named(zone: Path) -> None:
    for name in ("b.txt", "sub/a.csv", "json", "a.json.zip", ".hidden.txt"):
        (zone / name).parent.mkdir(exist_ok=True)
        (zone / name).touch()

    assert landing.list_files(str(zone)).passed_over == ["a.json.zip", "b.txt", "json", "sub/a.csv"]


# Each real file once.


def test_a_link_to_the_folder_itself_or_to_one_above_multiplies_no_file(zone: Path) -> None:
    (zone / "sub" / "deep").mkdir(parents=True)
    (zone / "a.json").touch()
    (zone / "sub" / "b.json").touch()
    (zone / "sub" / "deep" / "loop").symlink_to(zone)
    (zone / "sub" / "self").symlink_to(".")

    listing = landing.list_files(str(zone))

    assert (listing.files, listing.left_out, listing.has_loops) == (["a.json", "sub/b.json"], {}, True)


def test_a_link_to_a_folder_above_the_landing_zone_is_not_followed_and_is_named(zone: Path) -> None:
    (zone / "a.json").touch()
    (zone.parent / "elsewhere.json").touch()
    (zone / "up").symlink_to("..")

    listing = landing.list_files(str(zone))

    assert listing.files == ["a.json"]
    assert listing.left_out == {"up/": "is a link to a folder that it lies in, and is not followed"}


@pytest.mark.parametrize("link", ["a", "z"])
def test_a_link_to_a_sibling_multiplies_no_file_whichever_name_comes_first(zone: Path, link: str) -> None:
    (zone / "real").mkdir()
    (zone / "real" / "x.json").touch()
    (zone / link).symlink_to("real")
    (zone / f"{link}.json").symlink_to("real/x.json")

    assert landing.list_files(str(zone)).files == ["real/x.json"]


def test_folders_that_link_to_one_another_end(zone: Path) -> None:
    # Each of 30 folders has two links to the next: 2 to the 30 ways to the last.
    for number in range(30):
        (zone / str(number)).mkdir()
        (zone / str(number) / f"{number}.json").touch()
        for name in ("a", "b"):
            (zone / str(number) / name).symlink_to(f"../{(number + 1) % 30}")

    assert len(landing.list_files(str(zone)).files) == 30


def test_a_folder_elsewhere_that_is_linked_in_counts_once_by_its_first_link(zone: Path) -> None:
    elsewhere = zone.parent / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "x.json").touch()
    (elsewhere / "sub" / "y.json").touch()
    for link in ("two", "one"):
        (zone / link).symlink_to(elsewhere)
    (zone / "three").symlink_to(elsewhere / "sub")

    assert landing.list_files(str(zone)).files == ["one/sub/y.json", "one/x.json"]


def test_hard_links_are_one_file_and_two_files_of_equal_content_are_two(zone: Path) -> None:
    (zone / "a.json").write_bytes(b"one\n")
    (zone / "b.json").hardlink_to(zone / "a.json")
    (zone / "c.json").write_bytes(b"one\n")

    assert landing.list_files(str(zone)).files == ["a.json", "c.json"]


def test_a_landing_zone_that_is_a_link_itself_is_one(zone: Path) -> None:
    (zone / "sub").mkdir()
    (zone / "sub" / "a.json").touch()
    (zone.parent / "link").symlink_to(zone)

    assert landing.list_files(str(zone.parent / "link")).files == ["sub/a.json"]


# What is odd is named and stops nothing.


def test_odd_entries_are_named_with_their_reason_and_the_rest_is_listed(zone: Path) -> None:
    (zone / "good.json").touch()
    (zone / os.fsdecode(b"caf\xe9.json")).touch()
    (zone / "gone.json").symlink_to("nowhere")
    (zone / "itself.json").symlink_to("itself.json")
    os.mkfifo(zone / "pipe.json")
    (zone / "folder.json").mkdir()
    (zone / "export.json").mkdir()
    (zone / "export.json" / "part-0.json").touch()

    listing = landing.list_files(str(zone))

    assert listing.files == ["export.json/part-0.json", "good.json"]
    assert listing.left_out == {
        "caf\\xe9.json": "its name is no UTF-8; rename it",
        "folder.json": "is a folder, and one without event files",
        "gone.json": "is a link to nothing",
        "itself.json": "cannot be read: Too many levels of symbolic links",
        "pipe.json": "is no file but a pipe, a socket or a device",
    }


AS_NOBODY = """
import json, os, sys
from churn_assets.lakehouse.landing import list_files
if os.getuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
listing = list_files(sys.argv[1])
print(json.dumps([listing.files, listing.left_out]))
"""


@pytest.fixture
def open_zone() -> Iterator[Path]:
    """One that everybody can reach, as pytest's own folders cannot be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_file_and_a_folder_without_permission_are_named_and_the_rest_is_listed(open_zone: Path) -> None:
    (open_zone / "good.json").touch()
    (open_zone / "secret.json").touch(mode=0)
    (open_zone / "closed").mkdir()
    (open_zone / "closed" / "x.json").touch()
    (open_zone / "closed").chmod(0)

    asked = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(open_zone)], capture_output=True, text=True, check=True
    )
    (open_zone / "closed").chmod(0o755)

    assert json.loads(asked.stdout) == [
        ["good.json"],
        {
            "closed/": "cannot be read: Permission denied",
            "secret.json": "may not be read: Permission denied",
        },
    ]
