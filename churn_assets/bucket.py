"""A lake in a bucket: its paths, the objects that are written only where nobody else has, and its errors.

Object stores are reached through obstore, which is the same library below delta-rs and Sail: one set of
environment variables says to all of them where the bucket is and who asks. Paths are those of
universal-pathlib, which behave as ``pathlib``'s do, but for what no bucket has: folders, links, and renaming.
"""

import os
import shutil
from collections.abc import Collection
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from churn_assets.errors import EnvironmentNotReadyError, LakeError, one_line

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "abfss")
PACKAGES = "churn-assets[bucket]"

# What stores answer, as delta-rs, Sail, obstore, boto3 and pyarrow quote it, and its meaning, in this order.
ANSWERS = {
    "169.254.169.254": "cannot be asked without credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "NoSuchBucket": "does not exist. Make it, or set CHURN_LAKE_ROOT to another",
    "BucketNotFound": "does not exist. Make it, or set CHURN_LAKE_ROOT to another",
    "InvalidAccessKeyId": "knows no such access key. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "SignatureDoesNotMatch": "refuses the secret key. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "says that the credentials have expired. Get new ones",
    "AccessDenied": "refuses this account. It needs to list, read, write and delete below the lake's prefix",
    "403 Forbidden": "refuses this account. It needs to list, read, write and delete below the lake's prefix",
    "401 Unauthorized": "refuses these credentials",
    "SlowDown": "asks for fewer requests, and went on doing so. Try again later",
    "503 Service Unavailable": "was not available, and went on so. Try again later",
    "Status Code: 503": "was not available, and went on so. Try again later",
    "500 Internal Server Error": "failed, and went on so. Try again later",
    "Status Code: 500": "failed, and went on so. Try again later",
    "error sending request": "cannot be reached. Look at the network and at AWS_ENDPOINT_URL",
}
# The library's own go on for three minutes, and a person waits.
RETRIES: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=30)}
STORES = (
    "Generic S3 error",
    "Generic GCS error",
    "Generic MicrosoftAzure error",
    "Error performing ",
    "AWS Error",
    # Hadoop's S3A, by Amazon's SDK for Java.
    "Service: S3",
)


def is_bucket(place: str | os.PathLike[str]) -> bool:
    """Whether a place is in a bucket: a URI of one of ``SCHEMES``."""
    scheme, separator, _ = str(place).partition("://")
    return bool(separator) and scheme in SCHEMES


def path(place: str) -> Path:
    """Return the path of a place in a bucket; nothing is asked of the bucket yet.

    Raises:
        EnvironmentNotReadyError: the packages for buckets are not installed.
    """
    try:
        from upath import UPath

        _register()
    except ImportError as error:
        raise EnvironmentNotReadyError(
            f"A lake in a bucket needs packages that are not installed ({error.name}): "
            f"uv pip install '{PACKAGES}'"
        ) from error
    _allow_plain_http()
    # Typed as what it behaves as. UPath's own types would make every path of the lake one of two.
    return cast("Path", UPath(place.rstrip("/")))


@cache
def _register() -> None:
    """Let universal-pathlib reach buckets through obstore."""
    import fsspec
    from obstore.fsspec import FsspecStore

    class Store(FsspecStore):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{"retry_config": RETRIES, **options})

        def _open(self, path: str, mode: Any = "rb", *args: Any, **options: Any) -> Any:
            if mode == "rb":
                # A reader of what is not there complains once more when it is collected.
                self.info(path)
            return super()._open(path, mode, *args, **options)

    for scheme in SCHEMES:
        kind = type(f"Store_{scheme}", (Store,), {"protocol": scheme})
        fsspec.register_implementation(scheme, kind, clobber=True)


def _allow_plain_http() -> None:
    """Say so to the object stores' library, which without TLS wants to be told twice."""
    if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        os.environ.setdefault("AWS_ALLOW_HTTP", "true")


class Stored(NamedTuple):
    """An object: its content, its tag, which other content changes, and when it was written (seconds, UTC).

    The time is the store's: the clocks of two machines are never compared. ``attributes`` are its type and
    whatever its writer has said of it.
    """

    content: bytes
    tag: str
    written_at: float
    attributes: Any = None


def create(place: Path, content: bytes) -> str | None:
    """Write an object that is not there yet; return its tag, None where there is one already."""
    import obstore
    from obstore.exceptions import AlreadyExistsError

    store, name = _store_of(place)
    try:
        return str(obstore.put(store, name, content, mode="create")["e_tag"])
    except AlreadyExistsError:
        return None


def replace(place: Path, content: bytes, tag: str, attributes: Any = None) -> str | None:
    """Write an object in the place of the one with this tag; return the new tag, None where it is another."""
    import obstore
    from obstore.exceptions import NotFoundError, PreconditionError

    store, name = _store_of(place)
    try:
        # In one piece, as only that can have a condition.
        put = obstore.put(
            store, name, content, mode={"e_tag": tag}, attributes=attributes, use_multipart=False
        )
        return str(put["e_tag"])
    except (PreconditionError, NotFoundError):
        return None


def read(place: Path) -> Stored | None:
    """Return an object; None where there is none."""
    import obstore

    store, name = _store_of(place)
    try:
        found = obstore.get(store, name)
    # As obstore raises it: Python's own, which its class for it is not.
    except FileNotFoundError:
        return None
    meta = found.meta
    return Stored(
        bytes(found.bytes()), str(meta["e_tag"]), meta["last_modified"].timestamp(), found.attributes
    )


def now(place: Path) -> float:
    """Return the store's clock: when an object, which is written for that, was written."""
    import obstore

    store, name = _store_of(place)
    obstore.put(store, name, b"")
    return obstore.head(store, name)["last_modified"].timestamp()


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every object below a prefix, by name within it: one request a thousand."""
    import obstore

    store, name = _store_of(folder)
    listed = obstore.list(store, prefix=f"{name}/")
    return {
        str(one["path"]).removeprefix(f"{name}/"): int(one["size"]) for objects in listed for one in objects
    }


class LastName(NamedTuple):
    """The last object of a prefix by name, and what tells it from another of the same name."""

    name: str
    tag: str
    size: int


def last_numbered(folder: Path, after: str = "") -> LastName | None:
    """Return the last object directly below a prefix whose name begins with twenty digits.

    Args:
        folder: the prefix.
        after: look only at names that come after this text.
    """
    import obstore

    store, prefix = _store_of(folder)
    last = None
    for objects in obstore.list(store, prefix=f"{prefix}/", offset=f"{prefix}/{after}" if after else None):
        for one in objects:
            name = str(one["path"]).rpartition("/")[2]
            if name[:20].isdigit() and (last is None or name > last.name):
                last = LastName(name, str(one["e_tag"]), int(one["size"]))
    return last


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder; in a bucket copy it to its other name, and remove it once all is copied."""
    if not is_bucket(source):
        source.rename(target)
        return
    import obstore

    store, name = _store_of(source)
    to, names = _store_of(target)[1], _names(source)
    for one in names:
        obstore.copy(store, one, to + one.removeprefix(name))
    obstore.delete(store, names)


def copy(source: Path, target: Path) -> None:
    """Copy one object within its bucket."""
    import obstore

    store, name = _store_of(source)
    obstore.copy(store, name, _store_of(target)[1])


def remove(place: Path) -> None:
    """Remove a file or a folder; in a bucket an object, or all objects below a prefix."""
    if is_bucket(place):
        import obstore

        if names := _names(place):
            obstore.delete(_store_of(place)[0], names)
    elif place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def remove_below(folder: Path, names: Collection[str]) -> None:
    """Remove objects below a prefix, by their names within it."""
    import obstore

    if names:
        store, prefix = _store_of(folder)
        obstore.delete(store, [f"{prefix}/{name}" for name in names])


def require_writable(root: Path) -> None:
    """Write an object where the lake is, and take it away again.

    Raises:
        LakeError: it cannot be written; says why, and what to do.
    """
    probe = root / ".locks" / f"probe-{os.getpid()}"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except Exception as error:  # each store and each refusal has a class of its own
        problem = in_words(error) or f"cannot be written: {one_line(error, max_length=160)}"
        raise LakeError(f"The bucket of {root} {problem}.") from error


def in_words(error: BaseException) -> str | None:
    """Return what is wrong with a bucket, as what stands after its name; None for other errors.

    Told by the words of all that reach a bucket: delta-rs and Sail, for instance, have no class for it.
    """
    text = str(error)
    if not any(sign in text for sign in STORES):
        return None
    return next((says for sign, says in ANSWERS.items() if sign in text), None)


def _names(place: Path) -> list[str]:
    name = _store_of(place)[1]
    return [name] if place.is_file() else [f"{name}/{inner}" for inner in sizes(place)]


def _store_of(place: Path) -> "tuple[ObjectStore, str]":
    root, _, name = str(place).partition("://")[2].partition("/")
    return _store(f"{str(place).partition('://')[0]}://{root}"), name


@cache
def _store(bucket: str) -> "ObjectStore":
    from obstore.store import from_url

    return from_url(bucket, retry_config=RETRIES)
