"""``churn report``: who is at risk and why, as one file to look at without a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets.commands.current import current_settings
from churn_assets.commands.output import write_output
from churn_assets.console import err
from churn_assets.errors import LakeError

if TYPE_CHECKING:
    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.serving.page.store import Snapshot


def report(
    at_risk: Annotated[
        bool,
        typer.Option(
            "--at-risk",
            help="Whom to contact and why, the trend, how long users stay, and what contacting has brought.",
        ),
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="No more users than so many.")] = 1000,
    output: Annotated[
        Path | None, typer.Option(help="The file; without it, at-risk-DATE.html in the current folder.")
    ] = None,
) -> None:
    """Write what the page of churn serve shows as one HTML file, which asks no server for anything."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.serving.server.pages.one_file import one_file

    if not at_risk:
        raise typer.BadParameter("say which report: --at-risk", param_hint="churn report")
    snapshot = _published(lakehouse(current_settings()).read_only())
    about = snapshot.about
    file = output or Path(f"at-risk-{about.overview.feature_date}.html")
    write_output(file, one_file(snapshot, top).encode())
    snapshot.close()
    shown = min(top, about.contacts)
    of_all = f" of {about.contacts:,}" if shown < about.contacts else ""
    users = "user" if about.contacts == 1 else "users"
    err.print(
        f"{shown:,}{of_all} {users} to contact after {about.overview.feature_date} in {file}.", soft_wrap=True
    )


def _published(lake: "Lakehouse") -> "Snapshot":
    """Open what the page shows, and say on stderr where that is not the last list.

    Raises:
        LakeError: nothing is published, as there is no list yet, or on Databricks.
    """
    from churn_assets.retention.lists import last_list
    from churn_assets.serving.endpoint import page_folder
    from churn_assets.serving.page.store import opened
    from churn_assets.tables import RETENTION_LIST

    if lake.settings.deployment == "databricks":
        raise LakeError(
            "This report is what the page of churn serve shows, which a lake on Databricks does not have. "
            f"There the list is the table {lake.table_name(RETENTION_LIST)}."
        )
    day = last_list(lake)
    snapshot = opened(page_folder(lake.settings))
    if snapshot is None:
        raise LakeError(f"The list of {day} is not published for a page on this machine yet: churn run")
    shown = snapshot.about.overview.feature_date
    if shown != day:
        err.print(
            f"This is the list of {shown}; that of {day} is not published yet: churn run", soft_wrap=True
        )
    return snapshot
