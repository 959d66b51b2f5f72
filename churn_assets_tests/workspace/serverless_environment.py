"""What a serverless environment installs: its dependencies, each a line of a requirements file.

SDK, ``Environment.dependencies``: "Each dependency is a valid pip requirements file line per
https://pip.pypa.io/en/stable/reference/requirements-file-format/." Taken together they are one such file.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from churn_assets_tests.workspace import libraries
from churn_assets_tests.workspace.environment import InstallationError, installed, logical_lines
from churn_assets_tests.workspace.libraries import LibraryError
from churn_assets_tests.workspace.routing import Violation

# https://docs.databricks.com/aws/en/compute/serverless/dependencies: "Do not install PySpark or any library
# that installs PySpark as a dependency on your serverless notebooks. Doing so will cause your session to stop
# and result in an error."
STOPS_THE_SESSION = {"pyspark", "pyspark-client", "pyspark-connect", "databricks-connect"}
HASH = re.compile(r"\s+--hash=sha256:([0-9a-f]{64})")


def install(dependencies: list[str], python: Path, target: Path, local: Callable[[str], Path]) -> list[Path]:
    """Install them, and return the folders that come before the environment's own packages.

    Args:
        dependencies: as the Jobs API has them.
        python: the environment's interpreter.
        target: the folder that wheels go to.
        local: from a path of the workspace to the real one.

    Raises:
        LibraryError: as pip fails.
        Violation: a line of a kind that is not emulated.
    """
    lines = list(_lines(dependencies, local))
    _require_all_hashes_or_none(lines)
    wheels = [line for line in lines if line.startswith("/")]
    pinned = [line for line in lines if not line.startswith("/")]
    for line in pinned:
        _check_pin(line)
    folders = [target]
    target.mkdir(parents=True, exist_ok=True)
    for line in wheels:
        path = HASH.sub("", line).strip()
        file = local(path)
        if not file.is_file():
            raise _failure(f"Could not install requirement {path}: no such file")
        _check_hash(line, file)
        libraries.install([{"whl": path}], python, target, local)
    if pinned:
        try:
            folders.append(installed("\n".join(pinned).encode(), hashed=bool(HASH.search(pinned[0]))))
        except InstallationError as error:
            raise _failure(str(error)) from error
    return folders


def _lines(dependencies: list[str], local: Callable[[str], Path]) -> Iterator[str]:
    """The requirements, one a line, without comments."""
    for dependency in dependencies:
        if not dependency.startswith("-r "):
            yield from _logical(dependency)
            continue
        path = dependency.removeprefix("-r ").strip()
        if not path.startswith(libraries.REQUIREMENTS_LIE_IN):
            raise _failure(f"Could not open requirements file: {path}")
        file = local(path)
        if not file.is_file():
            raise _failure(f"Could not open requirements file: [Errno 2] No such file or directory: '{path}'")
        yield from _logical(file.read_text())


def _logical(text: str) -> list[str]:
    lines = logical_lines(text)
    if options := [line for line in lines if line.startswith("-")]:
        raise Violation(f"{options[0]!r} in a serverless environment is not emulated.")
    return lines


def _require_all_hashes_or_none(lines: list[str]) -> None:
    """Refuse a file with hashes for some requirements only.

    https://pip.pypa.io/en/stable/topics/secure-installs/: "Hash-checking mode is an all-or-nothing
    proposition", and it turns on by itself. The text is pip's own.
    """
    without = [line for line in lines if not HASH.search(line)]
    if without and len(without) < len(lines):
        raise _failure(
            "Hashes are required in --require-hashes mode, but they are missing from some requirements: "
            + ", ".join(without)
        )


def _check_pin(line: str) -> None:
    text = HASH.sub("", line)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise _failure(f"Invalid requirement: {text!r}: {error}") from error
    if canonicalize_name(requirement.name) in STOPS_THE_SESSION:
        raise _failure(f"{requirement.name} takes the place of the environment's own, and stops the session.")
    if not re.fullmatch(r"==[^*,]+", str(requirement.specifier)):
        raise Violation(f"{text!r} is not pinned; what it would be here changes from day to day.")


def _check_hash(line: str, file: Path) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    expected = HASH.findall(line)
    if expected and found not in expected:
        raise _failure(
            "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. "
            f"{file.name}: expected sha256 {expected[0]}, got {found}"
        )


def _failure(why: str) -> LibraryError:
    return LibraryError(f"Library installation failed: ERROR: {why}")
