"""The database of ``CHURN_DATABASE_URL``: its address as libraries take it, and looks into it without them.

Nothing here shows a password: names and messages are made without it.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from churn_assets.errors import EnvironmentNotReadyError, one_line

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
EXPECTED = "postgresql://user:password@host/database"
# MLflow and Dagster both keep their revision in a table alembic_version, so each has a schema of its own.
MLFLOW_SCHEMA = "mlflow"
CONNECT_SECONDS = 5


class DatabaseUnavailableError(EnvironmentNotReadyError):
    """The server does not answer, refuses the user, or has no such database."""


@dataclass(frozen=True)
class Postgres:
    """A database, and the schema in it that statements mean; by default the user's own search path."""

    url: str = field(repr=False)
    schema: str = ""

    def __str__(self) -> str:
        """Return host and database, for messages."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "localhost")
        return f"{host}{parts.path}"

    def of_schema(self, schema: str) -> "Postgres":
        """Return the same database with another schema."""
        return replace(self, schema=schema)

    def for_libpq(self) -> str:
        """Return the URL for PostgreSQL's own client library."""
        return self._with_scheme("postgresql")

    def for_sqlalchemy(self) -> str:
        """Return the URL for SQLAlchemy, which by itself would look for another driver."""
        return self._with_scheme("postgresql+psycopg2")

    def without_secrets(self, text: str) -> str:
        """Return a text without the password, which a library may have quoted."""
        parts = urlsplit(self.url)
        for secret in filter(None, (parts.password, dict(parse_qsl(parts.query)).get("password"))):
            for spelling in (secret, unquote(secret)):
                text = text.replace(spelling, "***")
        return text

    def _with_scheme(self, scheme: str) -> str:
        parts = urlsplit(self.url)
        query = dict(parse_qsl(parts.query))
        if self.schema:
            query["options"] = f"{query.get('options', '')} -csearch_path={self.schema}".strip()
        # Not urlunsplit for the scheme: it would drop the slashes of an empty host.
        rest = urlunsplit(("", "", parts.path, urlencode(query, quote_via=quote), ""))
        return f"{scheme}://{parts.netloc}{rest}"


class Look:
    """An open connection, with the one method of ``sqlite3.Connection`` that readers here use."""

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> "Cursor":
        """Run a statement whose parameters are question marks, as in SQLite."""
        cursor = self.connection.cursor()
        cursor.execute(statement.replace("%", "%%").replace("?", "%s"), tuple(parameters))
        return cursor

    def has_table(self, name: str) -> bool:
        """Whether the search path has a table of this name."""
        found = self.execute("SELECT to_regclass(?)", (name,)).fetchone()
        return found is not None and found[0] is not None


def problem(url: str) -> str | None:
    """Return what is wrong with a URL, without the URL; None where it can be one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"cannot be read; expected {EXPECTED}, with special characters in percent-encoding"
    if parts.scheme not in SCHEMES:
        return f"has the scheme {parts.scheme or 'none'!r}; expected {EXPECTED}"
    if not re.fullmatch(r"/[^/]+", parts.path):
        return f"names no database; expected {EXPECTED}"
    if parts.fragment or port == 0:
        return f"has a part that means nothing there; expected {EXPECTED}, with # as %23 in a password"
    return None


@contextmanager
def connected(database: Postgres, **parameters: str) -> Iterator[Look]:
    """Connect; each statement commits.

    Args:
        database: where.
        parameters: of the server, for this session.

    Raises:
        DatabaseUnavailableError: there is no connection; one line without the password.
    """
    import psycopg2

    try:
        connection = psycopg2.connect(database.for_libpq(), connect_timeout=CONNECT_SECONDS)
    except psycopg2.Error as error:
        raise DatabaseUnavailableError(_unavailable(database, error)) from None
    try:
        connection.autocommit = True
        look = Look(connection)
        for name, value in parameters.items():
            look.execute("SELECT set_config(?, ?, false)", (name, value))
        yield look
    finally:
        connection.close()


def _unavailable(database: Postgres, error: Exception) -> str:
    # What is indented asks whether the server runs; of several addresses the last is as good as any.
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    said = one_line(database.without_secrets(lines[-1] if lines else ""))
    return (
        f"The database {database} of CHURN_DATABASE_URL cannot be used: {said}. Start the server, or correct "
        "user, password, host and database there"
    )
