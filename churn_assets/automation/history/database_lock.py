"""The lake's lock in PostgreSQL, for commands on several machines; it ends with its holder's connection."""

from contextlib import AbstractContextManager

from churn_assets import postgres
from churn_assets.postgres import Look, Postgres

# Any number: advisory locks of a database mean what its users agree on. One database is one lake's.
_LAKE = 0x4C414B45
# A machine that lost its power says no goodbye; the server would wait two hours for it.
_SILENCE = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}


class DatabaseLock:
    """The lock of one lake, held by one connection."""

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._connection: AbstractContextManager[Look] | None = None

    def acquire(self) -> bool:
        """Take the lock, and return whether nobody else holds it.

        Raises:
            DatabaseUnavailableError: there is no connection.
        """
        connection = postgres.connected(self._database, **_SILENCE)
        answer = connection.__enter__().execute("SELECT pg_try_advisory_lock(?)", (_LAKE,)).fetchone()
        if answer != (True,):
            connection.__exit__(None, None, None)
            return False
        self._connection = connection
        return True

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._connection:
            self._connection.__exit__(None, None, None)
            self._connection = None
