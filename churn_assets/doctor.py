"""Checks of what a deployment needs on this machine, each with the way to fix what is missing."""

import datetime as dt
import os
import platform
import re
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

from pyspark.errors import PySparkException

from churn_assets import postgres
from churn_assets.errors import (
    ChurnError,
    EnvironmentNotReadyError,
    LakeError,
    LandingError,
    SettingsError,
    WorkspaceError,
    one_line,
)
from churn_assets.lakehouse import other_accounts
from churn_assets.lakehouse.engines import require_java
from churn_assets.lakehouse.file_ledger import ahead_of, require_ledger
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_notes import LandingNotes
from churn_assets.postgres import Postgres
from churn_assets.settings import Settings, origins
from churn_assets.tables import ASSET_TABLES, TABLES
from churn_assets.verification.tables import OTHER_COLUMNS
from churn_assets.verification.verify import LANDING, verify

OLDEST_JAVA = 17


@dataclass(frozen=True)
class Finding:
    """The result of one check: whether all is well, and what was found or has to be done."""

    name: str
    is_well: bool
    says: str


def examine(lake: Lakehouse) -> Iterator[Finding]:
    """Check everything that the deployment needs, in the order in which a run needs it."""
    yield Finding("Python", is_well=True, says=platform.python_version())
    packages = ", ".join(f"{name} {version(name)}" for name in ("dagster", "pyspark", "pysail", "mlflow"))
    yield Finding("packages", is_well=True, says=packages)
    yield _finding("settings", _origins)
    if lake.settings.database:
        yield _finding("database", lambda: _database(lake.settings.database))
    if not isinstance(lake, FolderLakehouse):
        from churn_assets.databricks import preflight

        # The workspace can be queried from here; engine, files and tables are over there.
        for name, check in preflight.questions(lake.settings).items():
            yield _finding(name, check)
        yield _finding("Unity Catalog", lambda: _catalog(lake.settings))
    else:
        yield _finding("engine", lambda: _engine(lake))
        if not lake.engine.needs_java:
            says = other_accounts.warning() or "none of them has a shell on this machine"
            yield Finding("other accounts", is_well=True, says=says)
        yield _finding("lake", lake.require_writable)
        yield _finding("landing zone", lambda: _landing(lake))
        yield _finding("tables", lambda: _contracts(lake))
        yield _finding("ledger", lambda: _ledger(lake))
        yield from _damage(lake)
    yield _finding("alerts", lambda: _alerts(lake.settings))


def _damage(lake: FolderLakehouse) -> Iterator[Finding]:
    """Look at the files of the lake, as ``churn verify`` does; what is told above is not told again."""
    found = [one for one in verify(lake) if not one.is_well and one.subject != LANDING]
    contracts = [one for one in found if one.says == OTHER_COLUMNS]
    for one in found:
        if one not in contracts:
            yield Finding("files", is_well=False, says=one.line())
    if found == contracts:
        yield Finding(
            "files", is_well=True, says="as logs, ledger and registry say; every row: churn verify --deep"
        )


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, is_well=True, says=check())
    except ChurnError as error:
        return Finding(name, is_well=False, says=str(error))


def _origins() -> str:
    """Say from where settings were read: whoever writes them decides where models and tables come from."""
    environment, file, from_file = origins()
    if from_file:
        status = file.stat()
        if status.st_uid not in (0, os.getuid()) or stat.S_IMODE(status.st_mode) & stat.S_IWOTH:
            raise SettingsError(
                f"{file} can be written by others, and says {', '.join(from_file)}: they decide what runs. "
                "Make it yours alone (chown, chmod 600), or run from another folder."
            )
    here = f"{', '.join(environment)} from the environment" if environment else "none from the environment"
    there = f"{', '.join(from_file)} from {file}" if from_file else f"none from {file}"
    return f"{here}; {there}; all others are defaults"


def _database(database: Postgres | None) -> str:
    """Say whether Dagster and MLflow may make their tables there."""
    if database is None:
        return "files of the lake"
    with postgres.connected(database) as look:
        may = look.execute("SELECT has_database_privilege(current_database(), 'CREATE')").fetchone()
        version_number = look.execute("SHOW server_version").fetchone()
    if may != (True,):
        raise EnvironmentNotReadyError(
            f"The user of CHURN_DATABASE_URL may not make a schema in {database}. Make that user the "
            "database's owner: ALTER DATABASE … OWNER TO …"
        )
    return f"PostgreSQL {version_number[0] if version_number else ''} at {database} answers"


def _engine(lake: FolderLakehouse) -> str:
    if lake.engine.needs_java:
        java = java_version(require_java())
        if java and java < OLDEST_JAVA:
            raise EnvironmentNotReadyError(
                f"Java {java} is installed; Apache Spark 4 needs Java {OLDEST_JAVA} or newer. "
                "Install one, or use CHURN_DEPLOYMENT=local, which needs none."
            )
    try:
        answer = lake.spark.sql("SELECT 1 AS one").first()
    except PySparkException as error:
        raise EnvironmentNotReadyError(
            f"The engine does not start: {one_line(error)}. Check JAVA_HOME and CHURN_SPARK_MASTER."
        ) from error
    return f"{lake.engine.name} answers {answer['one'] if answer else 'nothing'}"


def _catalog(settings: Settings) -> str:
    from churn_assets.databricks.catalog import catalog_check
    from churn_assets.databricks.client import workspace_client

    lacking = catalog_check.missing(workspace_client(settings), settings)
    if lacking:
        raise WorkspaceError(f"{'; '.join(lacking)}. Create it: churn setup --databricks")
    return "catalogs, schemas, volume, tables and grants are there"


def java_version(java: str) -> int | None:
    """Return the major version of a Java executable, None if it cannot be read."""
    process = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    match = re.search(r'version "(?:1\.)?(\d+)', process.stderr)
    return int(match.group(1)) if match else None


def _alerts(settings: Settings) -> str:
    if bool(settings.alert_emails) != bool(settings.smtp_host):
        is_set, missing = "CHURN_ALERT_EMAILS", "CHURN_SMTP_HOST"
        if settings.smtp_host:
            is_set, missing = missing, is_set
        raise SettingsError(
            f"{is_set} is set and {missing} is not, so no mail is sent. Set both, or neither."
        )
    receivers = ["a webhook"] if settings.alert_webhook else []
    if settings.smtp_host:
        server = (settings.smtp_host, settings.smtp_port)
        try:
            socket.create_connection(server, timeout=5).close()
        except OSError as error:
            raise EnvironmentNotReadyError(
                f"The mail server {server[0]}:{server[1]} does not answer ({error}). "
                "Check CHURN_SMTP_HOST and CHURN_SMTP_PORT."
            ) from error
        receivers.insert(0, f"{settings.alert_emails} by {server[0]}:{server[1]}")
    if not receivers:
        return (
            "off: set CHURN_ALERT_EMAILS and CHURN_SMTP_HOST, or CHURN_ALERT_WEBHOOK, to be told of failures"
        )
    return f"to {' and '.join(receivers)}"


def _landing(lake: Lakehouse) -> str:
    if lake.finds_files_by == "auto loader":
        return f"{lake.settings.landing_root} is listed on the cluster, by Auto Loader"
    listing = list_files(lake.settings.landing_root)
    others = f", {listing.ignored} others ignored" if listing.ignored else ""
    contents = f"{lake.settings.landing_root} has {len(listing.files)} event files{others}"
    if listing.left_out:
        refused = "; ".join(f"{name} {reason}" for name, reason in listing.left_out.items())
        raise LandingError(f"{contents}, and what cannot be taken in: {refused}. Mend or move it.")
    return contents


def _ledger(lake: Lakehouse) -> str:
    require_ledger(lake)
    ahead = ahead_of(lake, dt.datetime.now(dt.UTC))
    for line in LandingNotes.of(None, ahead).lines():
        raise LakeError(line)
    return "Bronze holds what Silver was made from, and is not ahead of the clock"


def _contracts(lake: Lakehouse) -> str:
    existing = {table for table in ASSET_TABLES if lake.version(table) >= 0}
    for table in existing:
        lake.require_contract(table)
    return f"{len(existing & {*TABLES})} of {len(TABLES)} exist, all as their contracts say"
