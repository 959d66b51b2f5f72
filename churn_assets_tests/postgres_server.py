"""Debian's own PostgreSQL server in a temporary folder, as another account where the tests run as root."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest

USER, PASSWORD = "churn", "geheim%40 sehr/geheim"
QUOTED_PASSWORD = "geheim%2540%20sehr%2Fgeheim"
START_SECONDS = 60
# A server whose data nobody needs after a power cut.
AS_ON_A_SERVER = ("--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--no-sync")
UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB")


class PostgresServer:
    """A running server, with a user that owns each database it is asked for."""

    def __init__(self, port: int, process: subprocess.Popen[Any]) -> None:
        self.port = port
        self.process = process
        self._names = (f"lake_{number}" for number in count(1))

    def url(self, database: str, password: str = QUOTED_PASSWORD) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, like: str = "template1") -> str:
        """Make a database, empty or a copy of another, and return its URL."""
        name = next(self._names)
        self.execute("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        return self.url(name)

    def execute(self, database: str, statement: str) -> list[tuple]:
        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def programs() -> Path | None:
    """The folder of initdb and postgres, None where no server is installed."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *filter(None, [shutil.which("initdb")])]
    folders = [Path(one).resolve().parent for one in found]
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start one, or skip the test and say so."""
    folder, account = programs(), _account()
    if folder is None:
        pytest.skip("no PostgreSQL server is installed here (Debian: apt-get install postgresql)")
    if os.getuid() == 0 and account is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no account postgres or nobody")
    home = Path(tempfile.mkdtemp(prefix="churn-pg-"))
    try:
        (home / "password").write_text(PASSWORD)
        if account:
            for path in (home, home / "password"):
                os.chown(path, account.pw_uid, account.pw_gid)
        as_account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        data = home / "data"
        made = subprocess.run(
            [folder / "initdb", "-D", data, "-U", USER, f"--pwfile={home / 'password'}", *AS_ON_A_SERVER],
            cwd=home, capture_output=True, text=True, check=False, **as_account,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        port = _free_port()
        options = [option for setting in UNSAFE for option in ("-c", setting)]
        process = subprocess.Popen(
            [folder / "postgres", "-D", data, "-p", str(port), "-k", home, *options],
            cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_account,
        )  # fmt: skip
        server = PostgresServer(port, process)
        try:
            _wait_for(server)
            yield server
        finally:
            # At once: nobody needs the data.
            process.send_signal(signal.SIGQUIT)
            process.wait(START_SECONDS)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _account() -> pwd.struct_passwd | None:
    if os.getuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known.get("nobody")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_for(server: PostgresServer) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not _answers(server):
        assert server.process.poll() is None, "PostgreSQL ended while it started"
        assert time.monotonic() < give_up, "PostgreSQL does not answer"
        time.sleep(0.05)


def _answers(server: PostgresServer) -> bool:
    try:
        server.execute("postgres", "SELECT 1")
    except psycopg2.OperationalError:
        return False
    return True
