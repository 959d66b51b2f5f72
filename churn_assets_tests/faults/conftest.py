"""What a fault does to the platform, counted: the table of ``docs/reliability.md`` is made of these tests."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from churn_assets_tests.faults import lakes
from churn_assets_tests.faults.lakes import Undisturbed
from churn_assets_tests.forked import churn

FAULT = "fault"
TABLE = re.compile(r"(?<=<!-- faults -->\n).*(?=<!-- /faults -->)", re.DOTALL)

Count = Callable[[str, int, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-faults", type=Path, help="a page whose table of faults to write anew")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was counted; write it down only where every test has passed."""
    passed = terminalreporter.stats.get("passed", [])
    rows = [
        (value, report.nodeid) for report in passed for name, value in report.user_properties if name == FAULT
    ]
    lines = ["| fault | tries | outcome | test |", "|---|---:|---|---|"]
    for (fault, tries, outcome), test in sorted(rows):
        lines.append(f"| {fault} | {tries:,} | {outcome} | `{test.removeprefix('churn_assets_tests/')}` |")
    for line in lines if rows else ():
        terminalreporter.write_line(line)
    page: Path | None = config.getoption("--write-faults", None)
    if page and not terminalreporter.stats.get("failed") and not terminalreporter.stats.get("error"):
        text = "\n".join(lines) + "\n"
        page.write_text(TABLE.sub(lambda _: text, page.read_text()))


@pytest.fixture(scope="session", autouse=True)
def _on_sail_only(deployment: str) -> None:
    if deployment != "local":
        pytest.skip("each command would start a Spark of its own; what is disturbed is the same code on both")


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Count:
    """Notes a fault, how often it happened, and how it ended; the test has asserted it by then."""
    return lambda fault, tries, outcome: record_property(FAULT, (fault, tries, outcome))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A lake with a model, from files to the endpoint, made by one run that nothing disturbed."""
    return _made(tmp_path_factory.mktemp("undisturbed"), lakes.WITH_A_MODEL)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A lake with too few users for a model, which a run makes in seconds."""
    return _made(tmp_path_factory.mktemp("small"), lakes.WITHOUT_A_MODEL)


def _made(folder: Path, users: int) -> Undisturbed:
    settings = lakes.simulated(folder, users)
    ended = churn(settings, "run")
    assert ended.exit_code == 0, ended.err
    return Undisturbed(settings)
