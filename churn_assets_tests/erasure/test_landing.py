"""Event files without the lines of the erased: all other bytes, names and dates stay."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from churn_assets import bucket
from churn_assets.erasure import landing
from churn_assets.erasure.people import People
from churn_assets.settings import Settings
from churn_assets.tables import ERASED_LINE
from churn_assets_tests.buckets import BucketServer
from churn_assets_tests.conftest import bucket_settings, settings_in

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


@pytest.fixture
def in_bucket(bucket_uri: str, tmp_path: Path) -> Settings:
    return bucket_settings(bucket_uri, tmp_path)


def place(settings: Settings, name: str) -> Path:
    return settings.lake_root / "landing" / "events" / name


def test_only_their_lines_go_from_objects(in_bucket: Settings) -> None:
    contents = {"a.json": MIXED, "b/c.jsonl.gz": gzip.compress(MIXED), "d.json": THEIRS, "e.json": OTHER}
    for name, content in contents.items():
        place(in_bucket, name).write_bytes(content)
    untouched = bucket.read(place(in_bucket, "e.json"))

    assert landing.can_rewrite(in_bucket)
    assert landing.find(in_bucket, SEVEN).lines == {"a.json": 2, "b/c.jsonl.gz": 2, "d.json": 1}
    landing.rewrite(in_bucket, SEVEN)

    assert place(in_bucket, "a.json").read_bytes() == REST
    assert gzip.decompress(place(in_bucket, "b/c.jsonl.gz").read_bytes()) == REST
    assert place(in_bucket, "d.json").read_text() == f"{ERASED_LINE}\n"
    assert bucket.read(place(in_bucket, "e.json")) == untouched
    assert landing.find(in_bucket, SEVEN).lines == {}


def test_an_object_keeps_its_type_and_what_its_owner_has_said_of_it(
    in_bucket: Settings, bucket_server: BucketServer
) -> None:
    whose = {"Bucket": in_bucket.landing_root.split("/")[2], "Key": "lake/landing/events/a.json"}
    client = bucket_server.client()
    client.put_object(**whose, Body=MIXED, ContentType="application/x-ndjson", Metadata={"source": "shop"})

    landing.rewrite(in_bucket, SEVEN)

    after = client.get_object(**whose)
    assert (after["ContentType"], after["Metadata"]) == ("application/x-ndjson", {"source": "shop"})
    assert after["Body"].read() == REST


def test_what_the_owner_puts_there_meanwhile_is_not_overwritten(
    in_bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, newer = place(in_bucket, "a.json"), THEIRS + b"\n" + OTHER + b"\n"
    path.write_bytes(MIXED)
    replace, puts = bucket.replace, [newer]

    def late(*arguments: Any) -> str | None:
        if puts:
            path.write_bytes(puts.pop())
        return replace(*arguments)

    monkeypatch.setattr(bucket, "replace", late)

    landing.rewrite(in_bucket, SEVEN)

    assert path.read_bytes() == OTHER + b"\n"


def test_objects_are_only_listed_if_so_set_or_where_the_bucket_is_of_another_kind(
    in_bucket: Settings,
) -> None:
    assert not landing.can_rewrite(in_bucket.model_copy(update={"forget_landing": "list"}))
    assert not landing.is_in_bucket(in_bucket.model_copy(update={"landing_root": "gs://bucket/events"}))
    assert not landing.is_in_bucket(in_bucket.model_copy(update={"landing_root": "s3://a:b@c/d?scheme=http"}))
