"""Files in folders: what the Files API, DBFS and workspace files have in common."""

import email.utils
import uuid
from pathlib import Path

from churn_assets_tests.workspace.routing import ApiError


def modified_ms(path: Path) -> int:
    """When a file was last written, in milliseconds since 1970."""
    return int(path.stat().st_mtime * 1000)


def http_date(path: Path) -> str:
    """When a file was last written, as the ``Last-Modified`` header says it."""
    return email.utils.formatdate(path.stat().st_mtime, usegmt=True)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file at once, so that a reader sees the old content or the new. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target would show up in listings for a moment; the name says what it is if it stays.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    part.write_bytes(content)
    part.replace(path)


def below(root: Path, path: str) -> Path:
    """The real path of an absolute path of the workspace, below a root.

    Raises:
        ApiError: the path is not absolute, or leads elsewhere.
    """
    parts = path.split("/")
    if not path.startswith("/") or any(part in (".", "..") for part in parts):
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Path must be absolute: {path}")
    return root.joinpath(*[part for part in parts if part])
