"""What a lake in a bucket is built on: conditional writes, names, errors in words."""

from pathlib import Path

import pytest

from churn_assets import bucket
from churn_assets.errors import LakeError, SettingsError
from churn_assets.model.registry import moved_lake
from churn_assets.own_secrets import own_secret
from churn_assets_tests.buckets import BucketServer, Fault
from churn_assets_tests.conftest import bucket_settings


@pytest.fixture
def root(bucket_uri: str) -> Path:
    return bucket.path(f"{bucket_uri}/lake")


def test_the_server_of_these_tests_refuses_conditional_writes_as_s3_does(
    bucket_server: BucketServer, bucket_uri: str
) -> None:
    client, name = bucket_server.client(), bucket_uri.removeprefix("s3://")
    tag = client.put_object(Bucket=name, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"another"'}):
        with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
            client.put_object(Bucket=name, Key="k", Body=b"2", **condition)
    client.put_object(Bucket=name, Key="k", Body=b"2", IfMatch=tag)
    assert bucket_server.objects(bucket_uri) == {"k": b"2"}


def test_of_two_who_create_an_object_one_does(root: Path) -> None:
    assert bucket.create(root / "a", b"first") is not None
    assert bucket.create(root / "a", b"second") is None
    assert (root / "a").read_bytes() == b"first"


def test_an_object_is_replaced_only_while_it_is_the_one_that_was_read(root: Path) -> None:
    first = bucket.create(root / "a", b"1")
    second = bucket.replace(root / "a", b"2", str(first))
    assert second is not None
    assert bucket.replace(root / "a", b"3", str(first)) is None
    found = bucket.read(root / "a")
    assert found is not None
    assert (found.content, found.tag) == (b"2", second)
    assert bucket.replace(root / "never there", b"", second) is None


def test_the_last_object_of_a_log_is_found_from_any_known_one(root: Path) -> None:
    assert bucket.last_numbered(root / "log") is None
    for version in range(3):
        (root / "log" / f"{version:020}.json").write_bytes(b"x" * version)
    (root / "log" / "_last_checkpoint").write_bytes(b"")
    last = bucket.last_numbered(root / "log")
    assert last is not None
    assert (last.name, last.size) == (f"{2:020}.json", 2)
    assert bucket.last_numbered(root / "log", f"{2:020}") == last
    assert bucket.last_numbered(root / "log", f"{3:020}") is None


def test_what_is_moved_is_under_its_new_name_alone(root: Path) -> None:
    (root / "table" / "a").write_bytes(b"1")
    (root / "table" / "log" / "b").write_bytes(b"2")
    (root / "table2").write_bytes(b"3")
    bucket.move(root / "table", root / ".aside")
    bucket.move(root / "table2", root / "c")
    assert bucket.sizes(root) == {".aside/a": 1, ".aside/log/b": 1, "c": 1}
    bucket.remove(root / ".aside")
    bucket.remove(root / "c")
    assert bucket.sizes(root) == {}


def test_a_secret_of_a_lake_in_a_bucket_is_made_once(root: Path) -> None:
    secret = own_secret(root / "key", "The key", "")
    assert len(secret) > 32
    assert own_secret(root / "key", "The key", "") == secret
    (root / "key").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"The key s3://.*/lake/key is empty\. Delete it"):
        own_secret(root / "key", "The key", "")


def test_a_bucket_that_is_missing_is_said_in_one_line(root: Path) -> None:
    nowhere = bucket.path("s3://no-such-bucket/lake")
    with pytest.raises(LakeError, match=r"bucket of s3://no-such-bucket/lake does not exist\. Make it, or"):
        bucket.require_writable(nowhere)
    bucket.require_writable(root)
    assert bucket.sizes(root) == {}


def test_an_account_that_may_not_write_is_told_what_it_needs(root: Path, bucket_server: BucketServer) -> None:
    bucket_server.fail(Fault("PUT", "probe", status=403, times=9))
    with pytest.raises(LakeError, match=r"refuses this account[.] It needs to list, read, write and delete"):
        bucket.require_writable(root)


@pytest.mark.parametrize("status", [500, 503])
def test_a_failure_that_passes_is_not_noticed(root: Path, bucket_server: BucketServer, status: int) -> None:
    bucket_server.fail(Fault("PUT", "probe", status=status, times=2))
    bucket.require_writable(root)
    assert bucket_server.happened() == [2]


def test_an_error_of_something_else_is_none_of_a_bucket() -> None:
    assert bucket.in_words(ValueError("500 Internal Server Error")) is None


def test_databases_and_locks_of_a_lake_in_a_bucket_are_in_a_folder_of_its_own(
    bucket_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = bucket_settings(bucket_uri, tmp_path, state_root=None, dagster_home=None)
    other = bucket_settings(bucket_uri, tmp_path, lake_root=f"{bucket_uri}-2/lake", state_root=None)
    assert one.local_root.parent == tmp_path / "churn-assets"
    assert one.local_root.name.startswith(f"{bucket_uri.replace('://', '-')}-lake-")
    assert one.local_root != other.local_root
    assert one.mlflow_tracking_uri == f"sqlite:///{one.local_root}/mlflow/mlflow.db"
    assert one.dagster_home_folder == one.local_root / "dagster"
    assert one.mlflow_artifact_root == f"{bucket_uri}/lake/mlflow/artifacts"


def test_a_lake_in_a_folder_keeps_its_databases_beside_its_tables(tmp_path: Path) -> None:
    settings = bucket_settings(str(tmp_path), tmp_path, lake_root=tmp_path / "lake", state_root=None)
    assert settings.local_root == settings.lake_root == tmp_path / "lake"
    elsewhere = bucket_settings(str(tmp_path), tmp_path, lake_root=tmp_path / "lake")
    assert elsewhere.mlflow_folder == tmp_path / "state" / "mlflow"


@pytest.mark.parametrize(
    ("root", "deployment", "says"),
    [
        ("s3://bucket/a%20b", "local", "should be s3://, gs://, abfss://, a bucket, and a prefix"),
        ("ftp://bucket/a", "local", "is no folder, and no bucket of s3://, gs://, abfss://"),
        ("s3://bucket/a", "databricks", "is a bucket, and with CHURN_DEPLOYMENT=databricks"),
        ("gs://bucket/a", "spark", "CHURN_DEPLOYMENT=spark reads only those of s3://"),
    ],
)
def test_what_cannot_be_a_lake_is_refused_in_one_line(
    root: str, deployment: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        bucket_settings("", tmp_path, lake_root=root, deployment=deployment)
    assert "\n" not in str(caught.value)


def test_artifacts_of_a_lake_whose_prefix_was_copied_are_found_in_the_copy(
    root: Path, bucket_server: BucketServer
) -> None:
    place = f"{root}/mlflow/artifacts"
    (root / "mlflow" / "artifacts" / "m-1" / "MLmodel").write_bytes(b"a model")
    there = f"{root}-copied/mlflow/artifacts"
    # Nothing has been copied yet, so the database alone was.
    assert moved_lake.place_now(f"{place}/m-1", there) == f"{place}/m-1"
    bucket_server.copy(str(root), f"{root}-copied")
    assert moved_lake.place_now(f"{place}/m-1", there) == f"{there}/m-1"
    folder = moved_lake.folder_of(f"{there}/m-1")
    assert folder is not None
    assert (folder / "MLmodel").read_bytes() == b"a model"
