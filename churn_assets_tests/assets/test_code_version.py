"""A code_version changes with what a transform computes, and with nothing else."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from churn_assets import tables
from churn_assets.asset_keys import asset_key
from churn_assets.assets import code_version as module
from churn_assets.assets.code_version import code_version
from churn_assets.graph import build_defs
from churn_assets.tables import DELIVERIES, EVENTS, MODEL_PROMOTIONS, TABLES, USERS
from churn_assets.transforms import activity
from churn_assets_tests.conftest import MakeSettings

SOURCE = '''
from partner import factor

LIMIT = 30
UNUSED = 1

def helper(x):
    return x < LIMIT

def transform(x):
    """Say what it does."""
    return helper(x) * factor(x)
'''
PARTNER = "def factor(x):\n    return 2\n"


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """The code_version of a module with this source, which imports a partner with that one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "COMPUTES", ("partner",))

    def of(source: str = SOURCE, partner: str = PARTNER, *parameters: object) -> str:
        (tmp_path / "computes.py").write_text(source)
        (tmp_path / "partner.py").write_text(partner)
        for name in ("computes", "partner"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        module._definitions.cache_clear()
        found = importlib.import_module("computes")
        try:
            return code_version(found.transform, *parameters)
        finally:
            module._definitions.cache_clear()

    yield of
    for name in ("computes", "partner"):
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def _no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    # Files of equal size written in one second would be taken for the compiled ones.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return helper(x)", "    # Why.\n    return helper(x)"),
        ("Say what it does.", "Say it better."),
        ("return helper(x) * factor(x)", "return (\n        helper(x) * factor(x)\n    )"),
        ("UNUSED = 1", "UNUSED = 2"),
    ],
    ids=["a comment", "a docstring", "a line break", "what it does not use"],
)
def test_what_computes_the_same_has_the_same_version(version: Callable[..., str], old: str, new: str) -> None:
    assert version() == version(SOURCE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(x) * factor(x)", "helper(x) + factor(x)"),
        ("x < LIMIT", "x <= LIMIT"),
        ("LIMIT = 30", "LIMIT = 31"),
    ],
    ids=["the function", "one that it calls", "a constant"],
)
def test_what_may_compute_something_else_has_another_version(
    version: Callable[..., str], old: str, new: str
) -> None:
    assert version() != version(SOURCE.replace(old, new))


def test_what_it_imports_from_another_transform_counts(version: Callable[..., str]) -> None:
    assert version() != version(SOURCE, PARTNER.replace("2", "3"))


def test_a_column_more_in_a_contract_that_it_names_counts_and_a_better_comment_does_not(
    version: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCE.replace("return helper(x)", "return tables.USERS.column_names, helper(x)")
    before = version(source)

    monkeypatch.setattr(tables, "USERS", replace(USERS, comment="Better.", rules=()))
    commented = version(source)
    monkeypatch.setattr(tables, "USERS", replace(USERS, columns=(*USERS.columns, EVENTS.columns[0])))

    assert commented == before
    assert version(source) != before


def test_a_setting_that_changes_results_counts(version: Callable[..., str]) -> None:
    assert version(SOURCE, PARTNER, 30) != version(SOURCE, PARTNER, 60)


def test_every_table_has_a_version_and_only_labels_depend_on_the_horizon(make_settings: MakeSettings) -> None:
    def versions(horizon: int) -> dict[str, str | None]:
        graph = build_defs(make_settings(horizon_days=horizon)).resolve_asset_graph()
        # Promotions and deliveries are noted as they happen, and nothing computes them again.
        computed = [table for table in TABLES if table not in (MODEL_PROMOTIONS, DELIVERIES)]
        return {table.name: graph.get(asset_key(table)).code_version for table in computed}

    month, fortnight = versions(30), versions(14)

    assert None not in month.values()
    assert {name for name in month if month[name] != fortnight[name]} == {"churn_labels"}


def test_a_second_transform_is_no_parameter() -> None:
    with pytest.raises(TypeError, match="give its code_version"):
        code_version(activity.users, activity.users_since)
