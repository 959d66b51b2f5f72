"""The package as a zip archive named by its digest: unchanged code gives the same bytes, uploaded once."""

import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from churn_assets.errors import WorkspaceError

# Zip knows no year before 1980; a fixed one keeps the archive of unchanged code unchanged.
EPOCH = (1980, 1, 1, 0, 0, 0)
LEFT_OUT = ("__pycache__",)


@dataclass(frozen=True)
class Archive:
    """A zip file, and the digest of its content that names it."""

    content: bytes
    digest: str


def archive(folders: list[Path]) -> Archive:
    """Zip packages, each folder as a top-level one, without the files around it.

    Args:
        folders: of packages, each with an ``__init__.py``.

    Raises:
        WorkspaceError: a folder is no package.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for folder in folders:
            require_package(folder)
            for file in _files(folder):
                name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
                zipped.writestr(zipfile.ZipInfo(name, EPOCH), file.read_bytes(), zipfile.ZIP_DEFLATED)
    content = buffer.getvalue()
    return Archive(content, hashlib.sha256(content).hexdigest()[:16])


def require_package(folder: Path) -> None:
    """Fail unless a folder is a Python package.

    Raises:
        WorkspaceError: says what is there and what was expected.
    """
    if not (folder / "__init__.py").is_file():
        there = "is no package: it has no __init__.py" if folder.is_dir() else "does not exist"
        raise WorkspaceError(
            f"The code to stage, {folder}, {there}. Give the step launcher the folder of the package itself."
        )


def package_folder(package: str) -> Path:
    """Return the folder from which this process imports a package.

    Raises:
        WorkspaceError: it cannot be found.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WorkspaceError(f"There is no package {package} here to stage. Install it, or name another.")
    return Path(next(iter(spec.submodule_search_locations)))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the package's files in a fixed order, without caches and hidden files."""
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.is_file() and not any(part in LEFT_OUT or part.startswith(".") for part in parts):
            yield file
