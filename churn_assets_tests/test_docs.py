"""The documentation names everything that there is, and nothing of the machine that it was written on."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import AliasChoices

from churn_assets.cli import app
from churn_assets.graph import build_defs
from churn_assets.settings import Settings
from churn_assets.tables import QUARANTINE_REASONS, QUARANTINED_EVENTS
from churn_assets_tests.conftest import MakeSettings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ENV_EXAMPLE = (ROOT / ".env.example").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

# In pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = tuple("/" + folder + "/" for folder in ("work", "root"))


def variables() -> list[str]:
    fields = Settings.model_fields.items()
    aliases = {name: field.validation_alias for name, field in fields}
    return [
        str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"CHURN_{name.upper()}"
        for name, alias in aliases.items()
    ]


def table_in(page: str) -> dict[str, str]:
    """The rows of a page's tables, by the name in backticks that each starts with."""
    return dict(re.findall(r"^\| `([^`]+)` \|(.*)\|$", (DOCS / page).read_text(), re.MULTILINE))


def test_the_reference_has_each_setting_and_no_other() -> None:
    assert set(table_in("reference/settings.md")) == set(variables())


def test_the_example_of_env_has_each_setting_commented_out() -> None:
    assert sorted(re.findall(r"^#([A-Z_]+)=", ENV_EXAMPLE, re.MULTILINE)) == sorted(variables())
    assert all(line.startswith("#") or not line for line in ENV_EXAMPLE.splitlines())


def test_the_reference_has_the_defaults_of_the_code() -> None:
    rows = table_in("reference/settings.md")
    plain = ("deployment", "start_date", "horizon_days", "raw_catalog", "main_catalog", "spark_master")

    for name in (*plain, "endpoint_url"):
        default = rows[f"CHURN_{name.upper()}"].split("|")[0].strip()
        assert default == f"`{Settings.model_fields[name].default}`", name


def test_the_reference_is_what_the_code_says() -> None:
    made = [sys.executable, ROOT / "docs/site/reference.py", "--check"]

    assert subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=False).stdout == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_of_a_page_is_one_with_these_options(page: Path) -> None:
    def options_of(command: Any, words: list[str]) -> set[str]:
        for word in words:
            command = getattr(command, "commands", {}).get(word, command)
        return {"--help", "--debug", *(name for one in command.params for name in one.opts)}

    group: Any = typer.main.get_command(app)
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    said = [line.split("churn ", 1)[1] for line in lines if re.match(r"\$ (?:[\w./]*/)?churn ", line)]

    for command in said:
        words = re.split(r" (?:&&|[|;]) ", command)[0].split()
        assert words[0] in group.commands or words[0].startswith("-"), command
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options_of(group, words) | {"--version"}, command


def test_the_reference_has_each_asset_and_no_other(make_settings: MakeSettings) -> None:
    graph = build_defs(make_settings(deployment="local")).resolve_asset_graph()

    assert set(table_in("reference/graph.md")) == {key.to_user_string() for key in graph.get_all_asset_keys()}


def test_the_page_on_own_data_has_each_reason_for_quarantine_and_no_other() -> None:
    comment = next(column.comment for column in QUARANTINED_EVENTS.columns if column.name == "reason")
    reasons = re.findall(r"[a-z]+(?:_[a-z]+)+|corrupt", comment)

    assert len(reasons) == len(QUARANTINE_REASONS)
    assert set(table_in("how-to/own-data.md")) == set(reasons)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_file_that_a_page_links_to_is_there(page: Path) -> None:
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    files = [target for target in targets if target and "://" not in target]

    assert [target for target in files if not (page.parent / target).exists()] == []


def test_each_decision_is_in_the_list_of_decisions() -> None:
    listed = re.findall(r"\]\((\d{4}-[^)]+\.md)\)", (ROOT / "docs/adr/README.md").read_text())

    assert listed == sorted(path.name for path in (ROOT / "docs/adr").glob("0*.md"))


def test_no_tracked_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    tracked = [ROOT / name for name in listed.stdout.split("\0") if name]
    texts = {path: path.read_bytes() for path in tracked if path.is_file()}

    found = [
        str(path.relative_to(ROOT))
        for path, content in texts.items()
        if b"\0" not in content and any(machine.encode() in content for machine in MACHINE_PATHS)
    ]
    assert texts
    assert found == []
