"""Files that a loss of power leaves as they were or as they were meant: on disk before they are relied on."""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file, its content on disk; its name is only after ``sync`` of its folder."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Write a file or folder to disk: only then do the names of a folder's new files survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
