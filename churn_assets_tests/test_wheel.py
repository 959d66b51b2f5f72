"""What a wheel has, by the rules that build it: the package whole, and no test."""

import re
import tomllib
from fnmatch import fnmatch
from itertools import pairwise

from churn_assets.advice import CHECKOUT
from churn_assets.release import release

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PACKAGE = CHECKOUT / "churn_assets"


def test_every_file_that_is_no_module_is_package_data() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["churn_assets"]
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    others = [str(path.relative_to(PACKAGE)) for path in files if path.suffix != ".py"]

    assert "dagster.yaml" in others
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}

    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_tests_and_benchmarks_are_in_no_wheel() -> None:
    packed = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]

    assert [name for name in ("churn_assets", "churn_assets.model") if not matches(name, packed)] == []
    assert [name for name in ("churn_assets_tests", "bench", "docs") if matches(name, packed)] == []


def matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def test_every_requirement_has_bounds() -> None:
    required = PROJECT["project"]["dependencies"]

    assert len(required) > 30
    assert [one for one in required if ">=" not in one or "<" not in one.partition(";")[0]] == []


def test_the_image_that_is_deployed_is_of_this_release() -> None:
    assert f"\n    tag: {release()}\n" in (CHECKOUT / "deploy" / "values.yaml").read_text()


def test_the_changelog_begins_with_the_release_or_what_comes_after_it() -> None:
    headings = re.findall(r"^## (.+)$", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert PROJECT["project"]["version"] == release() in headings[:2]
    numbers = [tuple(map(int, one.split("."))) for one in headings if one != "Unreleased"]
    assert all(later > earlier for later, earlier in pairwise(numbers))
