"""What a bucket keeps of what is gone: older versions of objects, and uploads that nobody has finished.

All of them below the lake's prefix and its landing zone go: nobody can tell who is in one without reading it.
By boto3, which the extra ``bucket`` brings for MLflow, as obstore knows no versions.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from churn_assets import bucket
from churn_assets.erasure import landing
from churn_assets.errors import LakeError, one_line
from churn_assets.lakehouse.erased_users import FINISH
from churn_assets.settings import Settings

RIGHTS = (
    "s3:GetBucketVersioning, s3:ListBucketVersions, s3:DeleteObjectVersion, s3:ListBucketMultipartUploads "
    "and s3:AbortMultipartUpload"
)
NOTHING_YET = "Nothing was changed."
ALL_BUT_THAT = f"All else is done. Then: {FINISH}"
TO_ITS_OWNER = " Or leave its event files to their owner: CHURN_FORGET_LANDING=list."
# So many are deleted by one request.
MOST = 1000

# A version of an object: its name in the bucket, and its id.
Version = tuple[str, str]


class Old(NamedTuple):
    """Versions that are no object's current one, marks of deletions, and unfinished uploads."""

    versions: list[Version]
    marks: list[Version]
    uploads: list[Version]


class _Place(NamedTuple):
    """A prefix of a bucket, one in it that is not looked at, and what to do if it cannot be cleaned."""

    bucket: str
    prefix: str
    left_out: str = ""
    advice: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def may_be_there(settings: Settings) -> bool:
    """Whether lake or event files are in a bucket from which they are to go."""
    return any(True for _ in _places(settings))


def count(settings: Settings) -> int:
    """Count older versions, marks of deletions and unfinished uploads.

    Raises:
        LakeError: the bucket does not say.
    """
    total = 0
    for place in _places(settings):
        with _asking(place, NOTHING_YET) as client:
            total += sum(map(len, _old(client, place)))
    return total


def require_rights(settings: Settings) -> None:
    """Write an object twice where older versions are to go, and remove both versions.

    Raises:
        LakeError: older versions cannot be removed; says why, and what to do.
    """
    for place in _places(settings):
        # Hidden, as the landing zone may be a place.
        key = f"{place.prefix}.erasing-{uuid.uuid4().hex}"
        with _asking(place, NOTHING_YET) as client:
            _require_no_retention(client, place)
            for _ in range(2):
                client.put_object(Bucket=place.bucket, Key=key, Body=b"")
            _remove_object(client, place, key, NOTHING_YET)


def remove(settings: Settings) -> None:
    """Remove older versions, marks of deletions and unfinished uploads.

    Raises:
        LakeError: some cannot be removed; says why, and what to do.
    """
    for place in _places(settings):
        with _asking(place, ALL_BUT_THAT) as client:
            old = _old(client, place)
            _delete(client, place, old.versions, ALL_BUT_THAT)
            # Last: a version that is no longer hidden by its mark would be the object again.
            _delete(client, place, old.marks, ALL_BUT_THAT)
            for key, upload in old.uploads:
                # It may have been finished meanwhile.
                with suppress(client.exceptions.NoSuchUpload):
                    client.abort_multipart_upload(Bucket=place.bucket, Key=key, UploadId=upload)


def remove_for_good(path: Path) -> None:
    """Remove a file, if it is there; an object with all its versions."""
    if not bucket.is_bucket(path):
        path.unlink(missing_ok=True)
        return
    place = _place(str(path))
    with _asking(place, ALL_BUT_THAT) as client:
        _remove_object(client, place, place.prefix.rstrip("/"), ALL_BUT_THAT)


def _places(settings: Settings) -> Iterator[_Place]:
    lake, root = str(settings.lake_root), settings.landing_root.rstrip("/")
    is_inside = root.startswith(f"{lake}/")
    if settings.is_in_bucket:
        left_out = _place(root).prefix if is_inside and settings.forget_landing != "rewrite" else ""
        yield _place(lake)._replace(left_out=left_out)
    if not is_inside and settings.forget_landing == "rewrite" and landing.is_in_bucket(settings):
        yield _place(root)._replace(advice=TO_ITS_OWNER)


def _place(uri: str) -> _Place:
    name, _, prefix = uri.partition("://")[2].partition("/")
    return _Place(name, f"{prefix}/" if prefix else "")


@contextmanager
def _asking(place: _Place, then: str) -> Iterator[Any]:
    """Give boto3's client, told what obstore is told."""
    # So that what is missing is said in one line.
    bucket.path(str(place))
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise LakeError(
            f"Older versions in {place} are removed by boto3, which is not installed: "
            f"uv pip install '{bucket.PACKAGES}'"
        ) from error
    try:
        yield boto3.client("s3", region_name=os.environ.get("AWS_REGION"))
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "?")
        raise LakeError(
            f"{place} answers {error.operation_name} with {code}. To remove what a bucket keeps of a user, "
            f"this account needs {RIGHTS}.{place.advice} {then}"
        ) from error
    except BotoCoreError as error:
        raise LakeError(f"{place} cannot be asked for older versions: {one_line(error)}. {then}") from error


def _require_no_retention(client: Any, place: _Place) -> None:
    from botocore.exceptions import ClientError

    try:
        lock = client.get_object_lock_configuration(Bucket=place.bucket)["ObjectLockConfiguration"]
    except ClientError:
        # No such thing in this bucket or store, or not for this account: whoever removes a version sees.
        return
    if retention := lock.get("Rule", {}).get("DefaultRetention"):
        span = f"{retention['Days']} days" if "Days" in retention else f"{retention['Years']} years"
        raise LakeError(
            f"The bucket of {place} keeps each version of an object for {span} (Object Lock, "
            f"{retention['Mode'].lower()}), so nobody can be erased from it. Remove that rule, or copy the "
            f"lake to a bucket without one.{place.advice} {NOTHING_YET}"
        )


def _old(client: Any, place: _Place) -> Old:
    old = Old([], [], [])
    where = {"Bucket": place.bucket, "Prefix": place.prefix}
    if _is_versioned(client, place):
        for page in client.get_paginator("list_object_versions").paginate(**where):
            versions = (one for one in page.get("Versions", []) if not one["IsLatest"])
            old.versions.extend((one["Key"], one["VersionId"]) for one in versions)
            old.marks.extend((one["Key"], one["VersionId"]) for one in page.get("DeleteMarkers", []))
    for page in client.get_paginator("list_multipart_uploads").paginate(**where):
        old.uploads.extend((one["Key"], one["UploadId"]) for one in page.get("Uploads", []))
    if not place.left_out:
        return old
    return Old(*([one for one in kind if not one[0].startswith(place.left_out)] for kind in old))


def _is_versioned(client: Any, place: _Place) -> bool:
    """Whether the bucket keeps older versions, or did once."""
    from botocore.exceptions import ClientError

    try:
        return "Status" in client.get_bucket_versioning(Bucket=place.bucket)
    except ClientError as error:
        # A store that knows no versions.
        if error.response.get("Error", {}).get("Code") in ("NotImplemented", "MethodNotAllowed"):
            return False
        raise


def _remove_object(client: Any, place: _Place, key: str, then: str) -> None:
    """Remove all versions of one object, the current one last: until then the object is there."""
    if not _is_versioned(client, place):
        client.delete_object(Bucket=place.bucket, Key=key)
        return
    found = client.list_object_versions(Bucket=place.bucket, Prefix=key)
    for kind in (found.get("Versions", []), found.get("DeleteMarkers", [])):
        own = sorted((one for one in kind if one["Key"] == key), key=lambda one: one["IsLatest"])
        for one in own:
            _delete(client, place, [(key, one["VersionId"])], then)


def _delete(client: Any, place: _Place, versions: Sequence[Version], then: str) -> None:
    refused: list[dict[str, str]] = []
    for first in range(0, len(versions), MOST):
        objects = [{"Key": key, "VersionId": one} for key, one in versions[first : first + MOST]]
        said = client.delete_objects(Bucket=place.bucket, Delete={"Objects": objects, "Quiet": True})
        refused += said.get("Errors", [])
    if refused:
        raise LakeError(
            f"{len(refused)} older versions of objects in {place} cannot be removed, and may hold the user "
            f"({refused[0]['Key']}: {one_line(refused[0].get('Message') or refused[0]['Code'])}). Let this "
            f"account remove them (s3:DeleteObjectVersion), or lift their lock.{place.advice} {then}"
        )
