"""What a bucket keeps of what is gone goes as well, or it is said in one line that it does not."""

from pathlib import Path

import pytest

from churn_assets import bucket
from churn_assets.erasure import old_versions
from churn_assets.errors import LakeError
from churn_assets.settings import Settings
from churn_assets_tests.buckets import BucketServer, Fault
from churn_assets_tests.conftest import bucket_settings


@pytest.fixture
def settings(bucket_uri: str, bucket_server: BucketServer, tmp_path: Path) -> Settings:
    bucket_server.keep_versions(bucket_uri)
    return bucket_settings(bucket_uri, tmp_path)


def written(settings: Settings, name: str, *contents: bytes) -> Path:
    place = settings.lake_root / name
    for content in contents:
        place.write_bytes(content)
    return place


def kept(server: BucketServer, settings: Settings) -> list[tuple[str, bytes]]:
    return sorted((name, body) for (name, _), body in server.versions(str(settings.lake_root)).items())


def test_what_was_overwritten_removed_or_never_finished_goes_and_what_is_there_stays(
    settings: Settings, bucket_server: BucketServer, bucket_uri: str
) -> None:
    written(settings, "overwritten", b"1", b"2")
    written(settings, "removed", b"3", b"4").unlink()
    written(settings, "back", b"5").unlink()
    written(settings, "back", b"6")
    bucket_server.begin_upload(f"{bucket_uri}/lake/upload", b"7")
    beside = bucket.path(f"{bucket_uri}/lake2/other")
    for content in (b"8", b"9"):
        beside.write_bytes(content)
    # Four versions, two marks and an upload.
    assert old_versions.count(settings) == 7

    old_versions.remove(settings)

    assert kept(bucket_server, settings) == [
        ("lake/back", b"6"),
        ("lake/overwritten", b"2"),
        ("lake2/other", b"8"),
        ("lake2/other", b"9"),
    ]
    assert bucket_server.marks(bucket_uri) == bucket_server.uploads(bucket_uri) == []
    assert old_versions.count(settings) == 0


def test_event_files_that_are_only_to_be_listed_keep_theirs(
    settings: Settings, bucket_server: BucketServer
) -> None:
    written(settings, "landing/events/a.json", b"1", b"2")
    written(settings, "b", b"3", b"4")

    old_versions.remove(settings.model_copy(update={"forget_landing": "list"}))

    assert [body for _, body in kept(bucket_server, settings)] == [b"4", b"1", b"2"]


def test_a_landing_zone_in_another_bucket_loses_them_too(
    settings: Settings, bucket_server: BucketServer
) -> None:
    other = bucket_server.new_bucket()
    bucket_server.keep_versions(other)
    for content in (b"1", b"2"):
        bucket.path(f"{other}/events/a.json").write_bytes(content)

    old_versions.remove(settings.model_copy(update={"landing_root": f"{other}/events"}))

    assert list(bucket_server.versions(other).values()) == [b"2"]


def test_an_object_that_is_removed_for_good_leaves_nothing(
    settings: Settings, bucket_server: BucketServer, bucket_uri: str
) -> None:
    written(settings, "a", b"1", b"2")
    written(settings, "a.b", b"3")

    old_versions.remove_for_good(settings.lake_root / "a")
    old_versions.remove_for_good(settings.lake_root / "never there")

    assert kept(bucket_server, settings) == [("lake/a.b", b"3")]
    assert bucket_server.marks(bucket_uri) == []


def test_who_may_remove_them_leaves_no_trace_of_the_test(
    settings: Settings, bucket_server: BucketServer, bucket_uri: str
) -> None:
    old_versions.require_rights(settings)

    assert kept(bucket_server, settings) == []
    assert bucket_server.marks(bucket_uri) == []


def test_a_bucket_that_keeps_nothing_is_asked_for_nothing_more(
    bucket_uri: str, bucket_server: BucketServer, tmp_path: Path
) -> None:
    settings = bucket_settings(bucket_uri, tmp_path)
    written(settings, "a", b"1", b"2")
    # As for an account that may list no versions.
    bucket_server.fail(Fault("POST", "", status=403, times=9))

    old_versions.require_rights(settings)
    old_versions.remove(settings)
    old_versions.remove_for_good(settings.lake_root / "a")

    assert bucket_server.happened() == [0]
    assert bucket_server.objects(bucket_uri) == {}


def test_an_account_that_may_not_remove_them_is_told_before_anything_is_changed(
    settings: Settings, bucket_server: BucketServer
) -> None:
    bucket_server.fail(Fault("POST", "", status=403, times=9))

    with pytest.raises(LakeError, match=r"DeleteObjects with AccessDenied\. .*Nothing was changed\.$"):
        old_versions.require_rights(settings)


def test_a_bucket_that_keeps_every_version_for_days_is_refused_at_once(
    bucket_uri: str, bucket_server: BucketServer, tmp_path: Path
) -> None:
    locked = bucket_server.new_bucket(ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 3}}
    bucket_server.client().put_object_lock_configuration(
        Bucket=locked.removeprefix("s3://"),
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
    )

    with pytest.raises(LakeError, match=r"keeps each version of an object for 3 days \(Object Lock, c"):
        old_versions.require_rights(bucket_settings(locked, tmp_path))

    assert bucket_server.versions(locked) == {}


def test_a_version_that_is_locked_is_named_and_no_removed_object_comes_back(
    bucket_uri: str, bucket_server: BucketServer, tmp_path: Path
) -> None:
    locked = bucket_server.new_bucket(ObjectLockEnabledForBucket=True)
    settings = bucket_settings(locked, tmp_path)
    written(settings, "there", b"1", b"2")
    written(settings, "removed", b"3").unlink()
    client, name = bucket_server.client(), locked.removeprefix("s3://")
    held = next(version for (key, version), body in bucket_server.versions(locked).items() if body == b"3")
    hold = {"Bucket": name, "Key": "lake/removed", "VersionId": held}
    client.put_object_legal_hold(**hold, LegalHold={"Status": "ON"})

    with pytest.raises(
        LakeError, match=r"1 older versions .*\(lake/removed: .*All else is done\. Then: churn"
    ):
        old_versions.remove(settings)

    assert bucket_server.objects(locked) == {"lake/there": b"2"}
    client.put_object_legal_hold(**hold, LegalHold={"Status": "OFF"})
    old_versions.remove(settings)
    assert kept(bucket_server, settings) == [("lake/there", b"2")]
