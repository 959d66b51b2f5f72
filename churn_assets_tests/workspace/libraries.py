"""Libraries of a task: wheels are installed for its cluster, PyPI requirements must be there already."""

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from churn_assets_tests.workspace.routing import Violation

LIST_INSTALLED = (
    "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
)
UV = Path(sys.executable).parent / "uv"


class LibraryError(Exception):
    """A library could not be installed; the message is the service's."""


@functools.cache
def installed(python: Path) -> dict[str, str]:
    """What an interpreter's environment holds: versions by canonical name."""
    listing = subprocess.run(
        [python, "-I", "-c", LIST_INSTALLED], capture_output=True, text=True, check=True, timeout=60
    )
    return {canonicalize_name(name): version for name, version in json.loads(listing.stdout).items() if name}


def install(libraries: list[dict[str, Any]], python: Path, target: Path, local: Any) -> None:
    """Install a task's libraries.

    Args:
        libraries: as the Jobs API has them: ``whl``, ``pypi`` or ``requirements``.
        python: the cluster's interpreter.
        target: the folder that wheels go to.
        local: from a path of the workspace to the real one.

    Raises:
        LibraryError: a wheel is missing or broken, or a requirement is not met.
        Violation: another kind of library.
    """
    for library in libraries:
        if "pypi" in library:
            _must_be_there(library["pypi"]["package"], python, library)
        elif "requirements" in library:
            for line in local(library["requirements"]).read_text().splitlines():
                text = line.split(" \\")[0].split(" #")[0].strip()
                if text and not text.startswith(("#", "--")):
                    _must_be_there(text, python, library)
        elif "whl" in library:
            _install_wheel(local(library["whl"]), python, target, library)
        else:
            raise Violation(f"Libraries of the kind {sorted(library)} are not emulated.")


def _must_be_there(text: str, python: Path, library: dict[str, Any]) -> None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise _failure(library, f"Invalid requirement: {error}") from error
    if requirement.marker and not requirement.marker.evaluate():
        return
    version = installed(python).get(canonicalize_name(requirement.name))
    if version is None or not requirement.specifier.contains(version, prereleases=True):
        raise _failure(
            library, f"Could not find a version that satisfies the requirement {text} (found: {version})"
        )


def _install_wheel(wheel: Path, python: Path, target: Path, library: dict[str, Any]) -> None:
    if not wheel.is_file():
        raise _failure(library, f"Could not find the file {library['whl']}")
    done = subprocess.run(
        [
            UV,
            "pip",
            "install",
            "--offline",
            "--no-index",
            "--no-deps",
            "--target",
            target,
            "--python",
            python,
            wheel,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise _failure(library, done.stderr.strip())


def _failure(library: dict[str, Any], why: str) -> LibraryError:
    kind, what = next(iter(library.items()))
    return LibraryError(f"Library installation failed for library due to user error for {kind} {what}. {why}")
