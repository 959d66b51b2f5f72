"""Secrets that a lake makes for itself: one file each, made once, which only its owner may read.

In a bucket who may read one is for the bucket's own rules to say.
Every worker of the scoring server imports this module, so it imports nothing heavy.
"""

import os
import secrets
import stat
from pathlib import Path

from churn_assets import bucket
from churn_assets.errors import SettingsError


def own_secret(path: Path, what: str, advice: str) -> str:
    """Return the secret in a file, which is made first if there is none.

    Args:
        path: of the file.
        what: the secret's name, for messages.
        advice: what to do where the file cannot be used, for messages.

    Raises:
        SettingsError: the file is readable by others, is empty, or cannot be written.
    """
    if bucket.is_bucket(path):
        return _shared_secret(path, what)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_once(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{what} {path} cannot be used: {error.strerror}. {advice}") from error
    if mode & 0o077:
        raise SettingsError(
            f"{what} {path} has mode {mode:o}, so others can read it; expected 600. "
            f"Delete it, and a new one is made, or: chmod 600 {path}"
        )
    if not secret:
        raise SettingsError(f"{what} {path} is empty. Delete it, and a new one is made.")
    return secret


def _shared_secret(path: Path, what: str) -> str:
    found = bucket.read(path)
    if found is None:
        # Of two that make one at the same time, the second gets the first's.
        bucket.create(path, secrets.token_urlsafe(32).encode())
        found = bucket.read(path)
    secret = found.content.decode().strip() if found else ""
    if not secret:
        raise SettingsError(f"{what} {path} is empty. Delete it, and a new one is made.")
    return secret


def _write_once(path: Path) -> None:
    if path.exists():
        return
    # Written in full under another name, then linked if there is no secret yet: two processes that start at
    # the same time end with the same one, and neither reads a part of it.
    draft = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
