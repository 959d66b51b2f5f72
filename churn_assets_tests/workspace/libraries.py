"""Libraries of a task: wheels and requirements files are installed, what PyPI has must be there already."""

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from churn_assets_tests.workspace.dbfs import in_root
from churn_assets_tests.workspace.environment import UV, InstallationError, installed
from churn_assets_tests.workspace.routing import Violation

LIST_INSTALLED = (
    "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
)
# SDK, ``Library.requirements``: "Only Workspace paths and Unity Catalog Volumes paths are supported."
REQUIREMENTS_LIE_IN = ("/Workspace/", "/Volumes/")


class LibraryError(Exception):
    """A library could not be installed; the message is the service's."""


def install(libraries: list[dict[str, Any]], python: Path, target: Path, local: Any) -> list[Path]:
    """Install a task's libraries, and say in which folders they are besides the one for wheels.

    Args:
        libraries: as the Jobs API has them: ``whl``, ``pypi`` or ``requirements``.
        python: the cluster's interpreter.
        target: the folder that wheels go to.
        local: from a path of the workspace to the real one.

    Raises:
        LibraryError: a file is missing or broken, or lies where none is taken from, or a requirement is not
            met.
        Violation: another kind of library.
    """
    folders = []
    for library in libraries:
        if "pypi" in library:
            _must_be_there(library["pypi"]["package"], python, library)
        elif "requirements" in library:
            folders.append(_install_requirements(library, local))
        elif "whl" in library:
            _refuse_dbfs(library["whl"], library)
            _install_wheel(local(library["whl"]), python, target, library)
        else:
            raise Violation(f"Libraries of the kind {sorted(library)} are not emulated.")
    return folders


@functools.cache
def _packages_of(python: Path) -> dict[str, str]:
    """What an interpreter's environment holds: versions by canonical name."""
    listing = subprocess.run(
        [python, "-I", "-c", LIST_INSTALLED], capture_output=True, text=True, check=True, timeout=60
    )
    return {canonicalize_name(name): version for name, version in json.loads(listing.stdout).items() if name}


def _must_be_there(text: str, python: Path, library: dict[str, Any]) -> None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise _failure(library, f"Invalid requirement: {error}") from error
    if requirement.marker and not requirement.marker.evaluate():
        return
    version = _packages_of(python).get(canonicalize_name(requirement.name))
    if version is None or not requirement.specifier.contains(version, prereleases=True):
        raise _failure(
            library, f"Could not find a version that satisfies the requirement {text} (found: {version})"
        )


def _install_requirements(library: dict[str, Any], local: Any) -> Path:
    path = library["requirements"]
    if not path.startswith(REQUIREMENTS_LIE_IN):
        raise _failure(library, f"A requirements file lies in one of {', '.join(REQUIREMENTS_LIE_IN)}.")
    file = local(path)
    if not file.is_file():
        raise _failure(library, f"Could not find the file {path}")
    try:
        return installed(file.read_bytes())
    except InstallationError as error:
        raise _failure(library, str(error)) from error


def _refuse_dbfs(path: str, library: dict[str, Any]) -> None:
    """Refuse the DBFS root.

    https://docs.databricks.com/en/libraries/index.html: "storing library files in the DBFS root is deprecated
    and disabled by default in Databricks Runtime 15.1 and above".
    """
    if in_root(path):
        raise _failure(library, "Libraries in the DBFS root are disabled.")


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
