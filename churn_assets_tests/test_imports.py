"""What commands import: heavy packages only where they are used."""

import subprocess
import sys
from collections.abc import Mapping

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.model.registry import registry
from churn_assets.tables import USERS
from churn_assets_tests.conftest import MakeSettings

HEAVY = frozenset(
    [
        "dagster",
        "mlflow",
        "pyspark",
        "pandas",
        "sklearn",
        "numpy",
        "pyarrow",
        "deltalake",
        "pydantic_settings",
    ]
)

SCRIPT = """
import sys
from churn_assets.cli import main
sys.argv = ["churn", *{arguments}]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("imported:", *({heavy} & sys.modules.keys()))
"""


def imported(*arguments: str, env: Mapping[str, str] | None = None) -> set[str]:
    """The heavy packages that a process has imported by the end of a command."""
    script = SCRIPT.format(arguments=list(arguments), heavy=set(HEAVY))
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("command", [(), ("run",), ("status",), ("simulate",), ("workflow",)])
def test_help_imports_no_heavy_package(command: tuple[str, ...]) -> None:
    assert imported(*command, "--help") == set()


def test_the_status_of_a_lake_imports_neither_dagster_nor_mlflow_nor_pandas(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home_folder))
    with dagster_instance(settings) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(USERS)))
    registry.configure(settings)

    found = imported("status", env=settings.as_env())

    assert "deltalake" in found
    assert found.isdisjoint({"dagster", "mlflow", "pandas", "sklearn"})
