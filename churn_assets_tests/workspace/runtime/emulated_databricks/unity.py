"""What the metastore knows: securables, grants, where managed tables lie. One file, many processes."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pyspark.errors import AnalysisException

KINDS = ("catalog", "schema", "volume", "table", "external location")

PRIVILEGES = {
    "catalog": {
        *("ALL PRIVILEGES", "USE CATALOG", "USE SCHEMA", "CREATE SCHEMA", "SELECT", "MODIFY", "BROWSE"),
        *("APPLY TAG", "CREATE MODEL", "CREATE MODEL VERSION"),
    },
    "schema": {
        *("ALL PRIVILEGES", "USE SCHEMA", "SELECT", "MODIFY", "EXECUTE", "READ VOLUME", "WRITE VOLUME"),
        *("CREATE TABLE", "CREATE VOLUME", "CREATE FUNCTION", "CREATE MODEL", "CREATE MODEL VERSION"),
        "APPLY TAG",
    },
    "volume": {"ALL PRIVILEGES", "READ VOLUME", "WRITE VOLUME"},
    "table": {"ALL PRIVILEGES", "SELECT", "MODIFY"},
    "external location": {
        *("ALL PRIVILEGES", "READ FILES", "WRITE FILES", "CREATE MANAGED STORAGE"),
        *("CREATE EXTERNAL TABLE", "CREATE EXTERNAL VOLUME", "BROWSE"),
    },
}

# What the service answers (400 INVALID_STATE; databricks/cli#4513) where neither the metastore nor the new
# catalog has a place for managed tables, as in newer accounts. It looks there before it looks
# whether the catalog exists: IF NOT EXISTS does not help (databricks-industry-solutions/
# lakehouse-industry-data-models#5).
NO_STORAGE_ROOT = (
    "Metastore storage root URL does not exist. Please provide a storage location for the catalog (for "
    "example 'CREATE CATALOG myCatalog MANAGED LOCATION '<location-path>'). Alternatively set up a metastore "
    "root storage location to provide a storage location for all catalogs in the metastore."
)


class UnityError(AnalysisException):
    """An error with the code that Databricks gives it, as Spark raises it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message=f"[{code}] {message}")
        self.code = code


class Unity:
    """The metastore of one emulated workspace.

    Args:
        folder: the workspace's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "unity.sqlite"
        with self._connected() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS securable (kind, name, fields, PRIMARY KEY (kind, name))"
            )
            database.execute(
                "CREATE TABLE IF NOT EXISTS granted "
                "(kind, name, principal, privilege, PRIMARY KEY (kind, name, principal, privilege))"
            )

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The fields of a securable, its kind and name among them."""
        rows = self._rows("SELECT fields FROM securable WHERE kind = ? AND name = ?", kind, name)
        return {"kind": kind, "name": name, **json.loads(rows[0][0])} if rows else None

    def require(self, kind: str, name: str) -> dict[str, Any]:
        """The fields of a securable.

        Raises:
            UnityError: there is none, or what it lies in is not there.
        """
        securable = self.get(kind, name)
        if securable:
            return securable
        if kind in ("schema", "table", "volume"):
            self.require(*self._parent(kind, name))
        codes = {"table": "TABLE_OR_VIEW_NOT_FOUND", "catalog": "NO_SUCH_CATALOG_EXCEPTION"}
        code = codes.get(kind, f"{kind.upper().replace(' ', '_')}_NOT_FOUND")
        raise UnityError(code, f"The {kind} {name} cannot be found.")

    def all(self, kind: str, parent: str = "") -> list[dict[str, Any]]:
        """All securables of a kind, or those of a catalog or schema, by name."""
        rows = self._rows("SELECT name, fields FROM securable WHERE kind = ? ORDER BY name", kind)
        return [
            {"kind": kind, "name": name, **json.loads(fields)}
            for name, fields in rows
            if not parent or name.rpartition(".")[0] == parent
        ]

    def create(self, kind: str, name: str, *, if_not_exists: bool, **fields: Any) -> bool:
        """Remember a new securable; False where it was there.

        Raises:
            UnityError: it exists, or what it is to lie in does not, or a catalog has no place.
        """
        if kind == "catalog" and not fields.get("managed_location"):
            raise UnityError("INVALID_STATE", NO_STORAGE_ROOT)
        if kind in ("schema", "table", "volume"):
            self.require(*self._parent(kind, name))
        fields["created_at"] = int(time.time() * 1000)
        try:
            self._change("INSERT INTO securable VALUES (?, ?, ?)", kind, name, json.dumps(fields))
        except sqlite3.IntegrityError:
            if if_not_exists:
                return False
            code = f"{kind.upper().replace(' ', '_')}_ALREADY_EXISTS"
            raise UnityError(code, f"The {kind} {name} already exists.") from None
        return True

    def update(self, kind: str, name: str, **fields: Any) -> None:
        """Change fields of a securable."""
        securable = self.require(kind, name)
        kept = {key: value for key, value in securable.items() if key not in ("kind", "name")}
        self._change(
            "UPDATE securable SET fields = ? WHERE kind = ? AND name = ?",
            json.dumps(kept | fields),
            kind,
            name,
        )

    def drop(self, kind: str, name: str) -> None:
        """Forget a securable and its grants."""
        self._change("DELETE FROM securable WHERE kind = ? AND name = ?", kind, name)
        self._change("DELETE FROM granted WHERE kind = ? AND name = ?", kind, name)

    def grant(self, kind: str, name: str, principal: str, privileges: set[str]) -> None:
        """Remember grants.

        Raises:
            UnityError: no such securable, or the privilege is not one of its kind.
        """
        self.require(kind, name)
        if unknown := privileges - PRIVILEGES[kind]:
            raise UnityError("INVALID_PARAMETER_VALUE", f"{sorted(unknown)} cannot be granted on a {kind}.")
        for privilege in privileges:
            self._change(
                "INSERT OR IGNORE INTO granted VALUES (?, ?, ?, ?)", kind, name, principal, privilege
            )

    def revoke(self, kind: str, name: str, principal: str, privileges: set[str]) -> None:
        """Forget grants."""
        self.require(kind, name)
        for privilege in privileges:
            self._change(
                "DELETE FROM granted WHERE kind = ? AND name = ? AND principal = ? AND privilege = ?",
                *(kind, name, principal, privilege),
            )

    def grants(self, kind: str, name: str) -> dict[str, list[str]]:
        """The privileges of each principal, sorted."""
        self.require(kind, name)
        privileges: dict[str, list[str]] = {}
        for principal, privilege in self._rows(
            "SELECT principal, privilege FROM granted WHERE kind = ? AND name = ? ORDER BY 1, 2", kind, name
        ):
            privileges.setdefault(principal, []).append(privilege)
        return privileges

    def allows(self, principals: set[str], privilege: str, schema: str) -> bool:
        """Whether one of the principals has a privilege on a schema, there or on its catalog."""
        wanted = {privilege, "ALL PRIVILEGES"}
        return any(
            who in principals and wanted & set(privileges)
            for kind, name in (("schema", schema), ("catalog", schema.partition(".")[0]))
            if self.get(kind, name)
            for who, privileges in self.grants(kind, name).items()
        )

    def managed_location(self, name: str) -> Path:
        """Where a managed table of this name lies."""
        return self.folder.joinpath("managed", *name.split("."))

    def local(self, path: str) -> Path:
        """The real path of ``/Volumes/…``; other paths are real already.

        Raises:
            UnityError: the volume does not exist.
        """
        plain = path.removeprefix("dbfs:").removeprefix("file:")
        if not plain.startswith("/Volumes/"):
            return Path(plain)
        self.require("volume", ".".join(plain.split("/")[2:5]))
        return self.folder / plain.lstrip("/")

    @staticmethod
    def _parent(kind: str, name: str) -> tuple[str, str]:
        return ("catalog" if kind == "schema" else "schema"), name.rpartition(".")[0]

    def _rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        with self._connected() as database:
            return database.execute(sql, values).fetchall()

    def _change(self, sql: str, *values: str) -> None:
        with self._connected() as database:
            database.execute(sql, values)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        # A connection each time: sessions are used from several threads.
        with closing(sqlite3.connect(self._file, timeout=30)) as database, database:
            # What it holds is worth no more than the test that made it.
            database.execute("PRAGMA synchronous = OFF")
            yield database
