"""``churn doctor``: what this machine lacks, and what of it belongs into an issue."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from churn_assets.commands.current import current_settings
from churn_assets.console import err, out

if TYPE_CHECKING:
    from churn_assets.doctor import Finding
    from churn_assets.settings import Settings


def doctor(
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Print what to attach to an issue: versions, settings, findings and the last failure, "
            "without secrets, names and paths of this machine.",
        ),
    ] = False,
) -> None:
    """Say what this machine lacks, and how to mend it."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.doctor import examine

    settings = current_settings()
    if not report:
        out.print(f"deployment {settings.deployment}, lake {settings.lake_root}", soft_wrap=True)
    findings = []
    for finding in examine(lakehouse(settings)):
        findings.append(finding)
        if not report:
            mark = ("ok  ", "green") if finding.is_well else ("mend", "red")
            out.print(Text.assemble(mark, f" {finding.name}: {finding.says}"), soft_wrap=True)
    if report:
        _print_report(settings, findings)
    elif not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


def _print_report(settings: "Settings", findings: "list[Finding]") -> None:
    from churn_assets.automation.history.last_failure import last_failure
    from churn_assets.issue_report import issue_report

    out.print(issue_report(settings, findings, last_failure(settings)), soft_wrap=True)
    err.print("Look it over before you attach it: error messages may quote what they are about.")
