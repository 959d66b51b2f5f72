"""``churn forget``: remove everything of a user, and leave a receipt that does not say of whom."""

import csv
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out
from churn_assets.errors import LakeError

if TYPE_CHECKING:
    from churn_assets.erasure.forget import Done, Wanted
    from churn_assets.erasure.request import Request
    from churn_assets.lakehouse.folder_lake import FolderLakehouse

USER_ID = re.compile(r"0|-?[1-9][0-9]*")


def forget(  # noqa: PLR0913, PLR0917 - the options of a command
    user_id: Annotated[int | None, typer.Option("--user-id", help="The user, by user_id.")] = None,
    source_user_id: Annotated[
        str, typer.Option("--source-user-id", help="The user, by the id as its owner knows it.")
    ] = "",
    users: Annotated[
        Path | None,
        typer.Option("--users", metavar="FILE", help="Users: a CSV file with user_id or source_user_id."),
    ] = None,
    finish: Annotated[bool, typer.Option("--finish", help="Finish an erasure that was interrupted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove all data of a user, old versions included, for good; events that come again are refused."""
    given = [user_id is not None, bool(source_user_id.strip()), users is not None, finish]
    if sum(given) != 1:
        raise typer.BadParameter("give one of --user-id, --source-user-id, --users and --finish")
    lake = _lake()
    if finish:
        _finish(lake)
        return
    from churn_assets.erasure.forget import Wanted

    wanted = _read(users) if users else [Wanted(user_id, source_user_id.strip() or None)]
    _forget(lake, wanted, dry_run=dry_run, yes=yes)


def _forget(lake: "FolderLakehouse", wanted: "list[Wanted]", *, dry_run: bool, yes: bool) -> None:
    from churn_assets.erasure import forget as erasure
    from churn_assets.errors import BusyError
    from churn_assets.lakehouse.erased_users import HOW_TO_FINISH, unfinished

    with erasure.alone(lake):
        if unfinished(lake.settings):
            raise BusyError(HOW_TO_FINISH)
        with console.steps() as step:
            planned = erasure.plan(lake, wanted, step)
        if not planned.found:
            raise LakeError(
                f"Nothing of {_whom(wanted)} was found in {lake.settings.lake_root}. Nothing was changed, "
                "and nobody is refused."
            )
        _show(planned)
        if dry_run:
            out.print("Nothing was changed.")
            return
        _ask(yes=yes)
        with console.steps() as step:
            done = erasure.carry_out(lake, planned, step)
    _say(done)


def _whom(wanted: "list[Wanted]") -> str:
    return "this user" if len(wanted) == 1 else f"these {len(wanted)} users"


def _finish(lake: "FolderLakehouse") -> None:
    from churn_assets.erasure import forget as erasure
    from churn_assets.erasure.request import Request
    from churn_assets.lakehouse.erased_users import unfinished

    with erasure.alone(lake):
        path = unfinished(lake.settings)
        if path is None:
            out.print("No erasure is unfinished.")
            return
        with console.steps() as step:
            done = erasure.carry_out(lake, Request.read(path), step)
    _show(done.request)
    _say(done)


def _lake() -> "FolderLakehouse":
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.lakehouse.folder_lake import FolderLakehouse

    lake = lakehouse(current_settings())
    if not isinstance(lake, FolderLakehouse):
        raise LakeError(
            "Nobody is erased from Unity Catalog from here. On a SQL warehouse, for each table with "
            "user_id or source_user_id: DELETE FROM …, REORG TABLE … APPLY (PURGE), and VACUUM."
        )
    settings = lake.settings
    if settings.is_in_bucket and not str(settings.lake_root).startswith("s3://"):
        raise LakeError(
            f"Nobody is erased from {settings.lake_root}: older versions of its objects would keep the user. "
            "These are removed from s3:// only. Copy the lake into a folder (docs/how-to/bucket.md), "
            "erase the user there, copy it back under another prefix, and empty the old one."
        )
    if not settings.lake_root.is_dir():
        raise LakeError(f"There is no lake at {settings.lake_root}. Set CHURN_LAKE_ROOT.")
    return lake


def _read(path: Path) -> "list[Wanted]":
    from churn_assets.erasure.forget import Wanted

    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            if not {"user_id", "source_user_id"} & set(reader.fieldnames or ()):
                raise LakeError(
                    f"{path} has neither a column user_id nor source_user_id. Name its columns so."
                )
            rows = [
                ((row.get("user_id") or "").strip(), (row.get("source_user_id") or "").strip())
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LakeError(
            f"{path} cannot be read: {error}. Give a CSV file with user_id or source_user_id."
        ) from error
    for place, (number, source) in enumerate(rows, start=2):
        if number and not USER_ID.fullmatch(number):
            raise LakeError(
                f"{path}, line {place}: {number} is no user_id, which is a whole number. Nothing was changed."
            )
        if not number and not source:
            raise LakeError(f"{path}, line {place}: it names nobody. Nothing was changed.")
    return [Wanted(int(number) if number else None, source or None) for number, source in rows]


def _show(request: "Request") -> None:
    for where, count in request.found.items():
        out.print(f"  {count:>9,}  {where}", markup=False, soft_wrap=True)
    if request.model_versions:
        listed = ", ".join(map(str, request.model_versions))
        out.print(
            f"Model versions whose training dates have labels of these users: {listed}.", soft_wrap=True
        )
    for remark in request.remarks:
        out.print(f"Note: {remark}.", markup=False, soft_wrap=True)


def _ask(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise LakeError(
            "Nothing was changed: nobody can be asked here. To remove all this for good, give --yes."
        )
    typer.confirm("All this, and all past versions of these tables, go for good. Go on?", abort=True)


def _say(done: "Done") -> None:
    for remark in done.remarks:
        out.print(f"Note: {remark}.", markup=False, soft_wrap=True)
    out.print(f"Erased. Receipt: {done.receipt}", markup=False, soft_wrap=True)
    if done.request.model_versions:
        out.print(
            "These models stay until others take their place: a model holds no rows, and was made of some."
        )
    out.print("Backups are copies that nobody here knows of: erase these users there as well.")
