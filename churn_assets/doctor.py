"""What this machine lacks for a deployment, and how to mend it."""

import datetime as dt
import platform
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

from pyspark.errors import PySparkException

from churn_assets.errors import (
    ChurnError,
    EnvironmentNotReadyError,
    LakeError,
    LandingError,
    SettingsError,
    WorkspaceError,
    one_line,
)
from churn_assets.lakehouse.engines import require_java
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_notes import LandingNotes
from churn_assets.lakehouse.ledger import ahead_of, require_ledger
from churn_assets.settings import Settings
from churn_assets.tables import TABLES

OLDEST_JAVA = 17


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it is well, and what was found or is to be done."""

    name: str
    is_well: bool
    says: str


def examine(lake: Lakehouse) -> Iterator[Finding]:
    """Look at everything that the deployment needs, in the order in which a run needs it."""
    yield Finding("Python", is_well=True, says=platform.python_version())
    packages = ", ".join(f"{name} {version(name)}" for name in ("dagster", "pyspark", "pysail", "mlflow"))
    yield Finding("packages", is_well=True, says=packages)
    if lake.settings.deployment == "databricks":
        from churn_assets.databricks import preflight

        # What is on the other side can be asked from here; engine, files and tables are there.
        for name, question in preflight.questions(lake.settings).items():
            yield _asked(name, question)
        yield _asked("Unity Catalog", lambda: _catalog(lake.settings))
    else:
        yield _asked("engine", lambda: _engine(lake))
        yield _asked("lake", lake.require_writable)
        yield _asked("landing zone", lambda: _landing(lake))
        yield _asked("tables", lambda: _contracts(lake))
        yield _asked("ledger", lambda: _ledger(lake))
    yield _asked("alerts", lambda: _alerts(lake.settings))


def _asked(name: str, question: Callable[[], str]) -> Finding:
    try:
        return Finding(name, is_well=True, says=question())
    except ChurnError as error:
        return Finding(name, is_well=False, says=str(error))


def _engine(lake: Lakehouse) -> str:
    if lake.settings.deployment == "spark":
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
    engine = (
        "Sail" if lake.settings.deployment == "local" else f"Apache Spark at {lake.settings.spark_master}"
    )
    return f"{engine} answers {answer['one'] if answer else 'nothing'}"


def _catalog(settings: Settings) -> str:
    from churn_assets.databricks.catalog import catalog_check
    from churn_assets.databricks.client import workspace_client

    lacking = catalog_check.missing(workspace_client(settings), settings)
    if lacking:
        raise WorkspaceError(f"{'; '.join(lacking)}. Create it: churn setup --databricks")
    return "catalogs, schemas, volume, tables and grants are there"


def java_version(java: str) -> int | None:
    """The major version of a java, None where it cannot be read."""
    asked = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    found = re.search(r'version "(?:1\.)?(\d+)', asked.stderr)
    return int(found.group(1)) if found else None


def _alerts(settings: Settings) -> str:
    if bool(settings.alert_emails) != bool(settings.smtp_host):
        given, missing = "CHURN_ALERT_EMAILS", "CHURN_SMTP_HOST"
        if settings.smtp_host:
            given, missing = missing, given
        raise SettingsError(f"{given} is set and {missing} is not, so no mail is sent. Set both, or neither.")
    told = ["a webhook"] if settings.alert_webhook else []
    if settings.smtp_host:
        server = (settings.smtp_host, settings.smtp_port)
        try:
            socket.create_connection(server, timeout=5).close()
        except OSError as error:
            raise EnvironmentNotReadyError(
                f"The mail server {server[0]}:{server[1]} does not answer ({error}). "
                "Check CHURN_SMTP_HOST and CHURN_SMTP_PORT."
            ) from error
        told.insert(0, f"{settings.alert_emails} by {server[0]}:{server[1]}")
    if not told:
        return (
            "off: set CHURN_ALERT_EMAILS and CHURN_SMTP_HOST, or CHURN_ALERT_WEBHOOK, to be told of failures"
        )
    return f"to {' and '.join(told)}"


def _landing(lake: Lakehouse) -> str:
    if lake.finds_files_by == "auto loader":
        return f"{lake.settings.landing_root} is listed on the cluster, by Auto Loader"
    listing = list_files(lake.settings.landing_root)
    others = f", {listing.ignored} others ignored" if listing.ignored else ""
    found = f"{lake.settings.landing_root} has {len(listing.files)} event files{others}"
    if listing.left_out:
        cannot = "; ".join(f"{name} {reason}" for name, reason in listing.left_out.items())
        raise LandingError(f"{found}, and what cannot be taken in: {cannot}. Mend or move it.")
    return found


def _ledger(lake: Lakehouse) -> str:
    require_ledger(lake)
    ahead = ahead_of(lake, dt.datetime.now(dt.UTC))
    for line in LandingNotes.of(None, ahead).lines():
        raise LakeError(line)
    return "Bronze holds what Silver was made from, and is not ahead of the clock"


def _contracts(lake: Lakehouse) -> str:
    there = [table for table in TABLES if lake.version(table) >= 0]
    for table in there:
        lake.require_contract(table)
    return f"{len(there)} of {len(TABLES)} exist, all as their contracts say"
