"""``churn verify``: what of the lake is damaged, what depends on it, and the command that mends it."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out

if TYPE_CHECKING:
    from churn_assets.lakehouse.folder_lake import FolderLakehouse


def verify(
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every row: contracts, keys, each line, each model.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what of the lake is damaged, what depends on it, and what mends it; exit 1 if anything is."""
    from churn_assets.verification.verify import verify as look

    lake = folder_lake("verified")
    with console.steps() as step:
        # The steps of a deep look take seconds each, those of a quick one none.
        findings = list(look(lake, deep=deep, progress=step if deep else lambda _: None))
    if as_json:
        out.print_json(json.dumps([finding.as_dict() for finding in findings]))
    else:
        for finding in findings:
            mark = ("ok  ", "green") if finding.is_well else ("mend", "red")
            out.print(Text.assemble(mark, f" {finding.line()}"), soft_wrap=True)
    if any(not finding.is_well for finding in findings):
        raise typer.Exit(1)


def folder_lake(what: str) -> "FolderLakehouse":
    """Return the lake of the settings.

    Raises:
        LakeError: it is in Unity Catalog, where nothing can be ``what``; says how it is done there.
    """
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.errors import LakeError
    from churn_assets.lakehouse.folder_lake import FolderLakehouse

    lake = lakehouse(current_settings())
    if not isinstance(lake, FolderLakehouse):
        raise LakeError(
            f"Tables of Unity Catalog are not {what} from here: Databricks looks after their files. On a SQL "
            "warehouse: DESCRIBE HISTORY, RESTORE TABLE … TO VERSION AS OF, FSCK REPAIR TABLE."
        )
    return lake
