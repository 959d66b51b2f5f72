"""What commands import: heavy packages only where they are used."""

import subprocess
import sys

HEAVY = ("dagster", "mlflow", "pyspark", "pandas", "sklearn", "numpy", "pyarrow", "deltalake", "pydantic_settings")

SCRIPT = """
import sys
from churn_assets.cli import main
sys.argv = ["churn", *{arguments}]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("imported:", *sorted({heavy} & sys.modules.keys()))
"""


def imported(*arguments: str) -> list[str]:
    """The heavy packages that a process has imported by the end of a command."""
    script = SCRIPT.format(arguments=list(arguments), heavy=set(HEAVY))
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1].split()[1:]


def test_help_imports_no_heavy_package() -> None:
    assert imported("--help") == []


def test_the_help_of_a_command_imports_no_heavy_package() -> None:
    assert imported("run", "--help") == []


def test_the_status_of_a_lake_imports_neither_dagster_nor_mlflow_nor_pandas(tmp_path: Path) -> None:
    settings = local_settings(tmp_path)
    with dagster_instance(settings) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(USERS)))
    registry.configure(settings)

    assert {"dagster", "mlflow", "pandas", "sklearn"}.isdisjoint(imported("status", settings=settings))
