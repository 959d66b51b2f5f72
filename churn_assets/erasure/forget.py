"""Plan an erasure, and carry it out under the lake's locks: each step can be done again after a kill."""

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from churn_assets import advice, bucket
from churn_assets.automation.history import stored_history
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.history.lake_lock import LakeLock
from churn_assets.erasure import databases, files, landing, models, old_versions, page, tables
from churn_assets.erasure.people import SOURCE_USER_ID, USER_ID, People
from churn_assets.erasure.request import Request, new_name
from churn_assets.errors import BusyError, LandingError
from churn_assets.lakehouse import erased_users
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.registry import shared_database
from churn_assets.tables import EVENTS, LANDED_EVENTS, USERS

Progress = Callable[[str], None]

LANDING, ONLINE, EXAMPLES = "lines of event files", "users of the online features", "rows of models' examples"
DATABASES, TEXTS = "values in databases of Dagster and MLflow", "lines of logs, pages and samples"
PAGE = "users of the page"
PUT_ASIDE = "files put aside by repairs"
KEPT = "what the bucket keeps"
OLD_VERSIONS = "older versions, marks of deletions and unfinished uploads in the bucket, whosever"
OTHER_MACHINES = (
    "other machines that have run or served this lake keep histories, logs and copies of models of their "
    "own: forget the user there, too, with --users and both ids"
)

SHOWN = 5


class Wanted(NamedTuple):
    """One user, by either id."""

    user_id: int | None = None
    source_user_id: str | None = None


class Done(NamedTuple):
    """A finished erasure, and where its receipt is."""

    request: Request
    receipt: Path
    remarks: tuple[str, ...]


@contextmanager
def alone(lake: FolderLakehouse) -> Iterator[None]:
    """Keep all other commands and runs away.

    Raises:
        BusyError: another command or a run is at work on the lake.
    """
    settings = lake.settings
    with ExitStack() as stack:
        if stored_history.is_there(settings):
            # Closed before its databases are made anew.
            with dagster_instance(settings) as instance:
                stack.enter_context(LakeLock(settings, instance, to_finish=True))
                filters = dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))
                if running := instance.get_runs(filters, limit=1):
                    raise BusyError(
                        f"A run of Dagster is at work on this lake ({running[0].run_id[:8]}). Wait for it, "
                        f"or cancel it: {advice.start('dev')}."
                    )
        else:
            stack.enter_context(LakeLock(settings, None, to_finish=True))
        yield


def plan(lake: FolderLakehouse, wanted: Collection[Wanted], progress: Progress) -> Request:
    """Find all that there is of these users. Nothing is changed."""
    settings, there = lake.settings, tables.there(lake)
    progress("who they are")
    people = _resolved(lake, wanted)
    found: dict[str, int] = {}
    for table in there:
        progress(table.name)
        found[lake.table_name(table)] = tables.count(lake, table, people)
    progress("event files")
    remarks = list(_others_of_the_same_source(lake, people))
    if mentions := tables.mentions(lake, people):
        remarks.append(f"{mentions} lines of other users have the source_user_id in another field, and stay")
    landed = _landed(lake, people)
    found[LANDING] = sum(landed.lines.values())
    remarks += _of_landing(lake, landed)
    progress("models and endpoint")
    trained, examples = models.trained_with(lake, people), models.examples(lake, people)
    found[EXAMPLES] = sum(len(example.rows) for example in examples)
    found[ONLINE] = models.online_users(settings, people)
    found[PAGE] = page.count(settings, people)
    progress("histories, logs and pages")
    places, texts = databases.databases(settings), files.texts(settings)
    found[DATABASES] = sum(databases.clean_database(place, people, dry_run=True) for place in places)
    found[TEXTS] = sum(files.clean_text(path, people, dry_run=True) for path in texts)
    if settings.database:
        remarks.append(databases.KEPT_BY_THE_SERVER)
    if settings.is_in_bucket:
        remarks.append(OTHER_MACHINES)
    if old_versions.may_be_there(settings):
        progress(KEPT)
    old = old_versions.count(settings)
    found = {where: count for where, count in found.items() if count}
    if found:
        found |= {PUT_ASIDE: count} if (count := len(tables.leftovers(lake))) else {}
        found |= {OLD_VERSIONS: old} if old else {}
    return Request(
        name=new_name(dt.datetime.now(dt.UTC)),
        people=people,
        users=len(wanted),
        found=found,
        known_tables=tuple(map(str, tables.are_known_to_the_ledger(lake, there))),
        model_versions=tuple(trained),
        examples=tuple(examples),
        remarks=tuple(remarks),
    )


def carry_out(lake: FolderLakehouse, request: Request, progress: Progress) -> Done:
    """Remove what was planned, and whatever else there is of these users by now; see ``alone``.

    A request that has begun may be carried out again, from its beginning.

    Raises:
        LakeError: a bucket would keep, or has kept, the users in older versions of its objects.
    """
    settings, people = lake.settings, request.people
    old_versions.require_rights(settings)
    # Made first: without a key there would be no receipt.
    erased_users.key(settings)
    request.begin(settings)
    progress("models' examples")
    models.replace_examples(lake, people, request.examples)
    there = tables.there(lake)
    with ExitStack() as locks:
        for table in there:
            locks.enter_context(lake.lock(table))
        for table in there:
            progress(table.name)
            tables.erase(lake, table, people, is_known=str(table) in request.known_tables)
        if _has_landing(lake) and landing.can_rewrite(settings):
            progress("event files")
            landing.rewrite(settings, people)
    progress("online features and page")
    models.clean_online_store(settings, people)
    page.clean(settings, people)
    progress("histories, logs and pages")
    for place in databases.databases(settings):
        databases.clean_database(place, people)
    shared_database.send(settings, always=True)
    for path in files.texts(settings):
        files.clean_text(path, people)
    for path in tables.leftovers(lake):
        bucket.remove(path)
    progress("what is left")
    left = [path for path in files.still_named(settings, people) if erased_users.UNFINISHED not in path.name]
    remarks = (f"{len(left)} files still have the source_user_id ({_some(left)})",) if left else ()
    # After the last object was written anew.
    if old_versions.may_be_there(settings):
        progress(KEPT)
    old_versions.remove(settings)
    return Done(request, request.end(settings, remarks), remarks)


def _resolved(lake: FolderLakehouse, wanted: Collection[Wanted]) -> People:
    """Return all ids of the users: Silver says which source_user_id a user_id has."""
    user_ids = {one.user_id for one in wanted if one.user_id is not None}
    source_ids = {one.source_user_id for one in wanted if one.source_user_id is not None}
    silver = [table for table in (USERS, EVENTS) if lake.version(table) >= 0]
    for table in silver:
        user_ids |= tables.known_ids(lake, table, USER_ID, source_ids, SOURCE_USER_ID)
    for table in silver:
        source_ids |= tables.known_ids(lake, table, SOURCE_USER_ID, user_ids, USER_ID)
    return People(frozenset(user_ids), frozenset(source_ids))


def _others_of_the_same_source(lake: FolderLakehouse, people: People) -> Iterator[str]:
    if lake.version(USERS) >= 0:
        same = tables.known_ids(lake, USERS, USER_ID, people.source_ids, SOURCE_USER_ID) - people.user_ids
        if same:
            yield (
                f"{len(same)} other users have the same source_user_id, and stay: to erase them as well, "
                "give --source-user-id"
            )


def _has_landing(lake: FolderLakehouse) -> bool:
    try:
        lake.list_landing()
    except LandingError:
        return False
    return True


def _landed(lake: FolderLakehouse, people: People) -> landing.FoundLines:
    if not _has_landing(lake):
        return landing.FoundLines({}, {})
    return landing.find(lake.settings, people)


def _of_landing(lake: FolderLakehouse, landed: landing.FoundLines) -> Iterator[str]:
    if landed.unreadable:
        yield f"{len(landed.unreadable)} event files cannot be read to their end ({_some(landed.unreadable)})"
    if landed.lines and not landing.can_rewrite(lake.settings):
        yield f"{len(landed.lines)} event files keep their lines ({_some(landed.lines)}): remove them there"
    if lake.version(LANDED_EVENTS) < 0:
        yield "no event file has been taken in yet"


def _some(names: Collection[object]) -> str:
    shown = ", ".join(map(str, list(names)[:SHOWN]))
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
