"""What a cluster installs: one requirements file with hashes, shipped with the package.

``make lock`` makes it for the runtime's Python, from the group ``databricks-cluster`` of ``pyproject.toml``
and around what the runtime brings: nothing in it replaces Spark, or what Spark passes data through.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Under this name wherever it is staged: the service takes requirements files by their URI.
FILE = "requirements.txt"
# The same without hashes, for where no hash can stand beside the wheel.
PINS = "pins.txt"


@dataclass(frozen=True)
class Requirements:
    """A requirements file, and the digest of its content that names its folder."""

    content: bytes
    digest: str


@cache
def cluster_requirements() -> Requirements:
    """Return what a cluster installs for steps and tasks."""
    content = Path(__file__).with_name(FILE).read_bytes()
    return Requirements(content, hashlib.sha256(content).hexdigest()[:16])


def pins() -> bytes:
    """Return what a cluster installs, one version a line and without hashes."""
    lines = cluster_requirements().content.decode().splitlines()
    versions = [line.partition(" ")[0] for line in lines if line[:1].strip() and line[0] not in "#-"]
    return ("\n".join(versions) + "\n").encode()
