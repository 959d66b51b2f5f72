"""The cluster's session: Spark's own, Connect or classic, with Unity Catalog's statements and Auto Loader."""

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import billing, describe, upkeep
from .auto_loader import BinaryFiles, StreamReader
from .grammar import Statement, parse
from .unity import Unity, UnityError

# The workspace's folder, by which a process on the cluster finds its metastore.
FOLDER = "EMULATED_DATABRICKS"
# Set on serverless compute alone, as MLflow's databricks_utils.py says.
SERVERLESS = "DATABRICKS_ENV_VERSION"

# Set on dedicated clusters alone: their session is classic, and Apache Spark is in the process.
CLASSIC = "EMULATED_CLASSIC"

if TYPE_CHECKING or not os.environ.get(CLASSIC):
    from pyspark.sql.connect.session import SparkSession as PlainSession
else:
    from pyspark.sql.session import SparkSession as PlainSession

IN_CATALOG = re.compile(r"(?P<catalog>`\w+`|\w+)\.information_schema\.columns\b", re.IGNORECASE)


class ClusterSession(PlainSession):
    """A session of the emulated runtime.

    Names of tables are known to Sail by session, so each statement first makes known what is new.
    """

    unity: Unity
    is_slow = False

    def sql(self, sqlQuery: str, args: Any = None, **kwargs: Any) -> Any:  # noqa: N803 - Spark's name
        """Run a statement, as the cluster does."""
        frame = self.execute(sqlQuery, args, **kwargs)
        return self.createDataFrame([], "ok BOOLEAN").limit(0) if frame is None else frame

    def execute(self, sql: str, args: Any = None, **kwargs: Any) -> Any:
        """Run a statement: a DataFrame, or None where there is nothing to see."""
        statement = parse(sql)
        self._make_known(sql)
        if statement is not None:
            return self._run(statement)
        upkeep.require_readable(self.unity, sql)
        for table in sorted({match["table"].lower() for match in billing.TABLE.finditer(sql)}):
            billing.frame(self, self.unity.folder, table).createOrReplaceTempView(f"billing_{table}")
        sql = billing.TABLE.sub(r"billing_\g<table>", IN_CATALOG.sub(self._information_schema, sql))
        return super().sql(self.in_engine(sql), args, **kwargs)

    def table(self, tableName: str) -> Any:  # noqa: N803 - Spark's name
        """A table by its name."""
        self._make_known(tableName)
        return super().table(self.in_engine(tableName))

    def in_engine(self, text: str) -> str:
        """Names of tables as the engine knows them: here as they are."""
        return text

    @property
    def read(self) -> Any:
        """Files: those of ``binaryFile`` by paths in volumes, others as Sail reads them."""
        reader = super().read
        of_sail = reader.format
        reader.format = lambda source: BinaryFiles(self) if source == "binaryFile" else of_sail(source)  # type: ignore[method-assign]  # of this one reader
        return reader

    @property
    def readStream(self) -> Any:  # noqa: N802 - Spark's name
        """Streams: Auto Loader's."""
        return StreamReader(self)

    def _information_schema(self, query: re.Match[str]) -> str:
        """The columns of a catalog's tables, as a view of Sail's by the name that is given back."""
        catalog = query["catalog"].strip("`")
        tables = [table for table in self.unity.all("table") if table["name"].startswith(f"{catalog}.")]
        rows = [row for table in tables for row in describe.information_schema(table)]
        view = f"information_schema_columns_of_{catalog}"
        self.createDataFrame(rows, describe.INFORMATION_SCHEMA).createOrReplaceTempView(view)
        return view

    def _run(self, statement: Statement) -> Any:
        kind, name, values = statement.kind, statement.name, statement.values
        match statement.verb:
            case "create":
                self._create(kind, name, dict(values))
            case "drop":
                self._drop(name, missing_is_fine=values["exists"])
            case "comment":
                self.unity.update(kind, name, comment=values["comment"])
            case "set properties":
                upkeep.set_properties(self.unity, name, values["properties"])
            case "add columns":
                self._add_columns(name, values["columns"])
            case "drop not null":
                describe.drop_not_null(Path(self.unity.require(kind, name)["location"]), values["column"])
                self._forget(name)
            case "grant":
                self.unity.grant(kind, name, values["principal"], values["privileges"])
            case "revoke":
                self.unity.revoke(kind, name, values["principal"], values["privileges"])
            case "vacuum" | "optimize" as verb:
                upkeep.tidy(verb, self.unity.require(kind, name), values.get("retain"))
            case _:
                return self._shown(statement)
        return None

    def _shown(self, statement: Statement) -> Any:
        kind, name = statement.kind, statement.name
        securable = self.unity.require(kind, name)
        match statement.verb:
            case "history":
                rows = describe.history(Path(securable["location"]), statement.values.get("limit"))
                return self.createDataFrame(rows, describe.HISTORY)
            case "columns":
                return self.createDataFrame(describe.columns(Path(securable["location"])), describe.COLUMNS)
            case "detail":
                return self.createDataFrame([describe.detail(securable)], describe.DETAIL)
            case "show properties":
                return self.createDataFrame(
                    sorted(securable["properties"].items()), "key STRING, value STRING"
                )
            case "show grants":
                rows = [
                    (principal, privilege, kind.upper(), name)
                    for principal, privileges in self.unity.grants(kind, name).items()
                    for privilege in privileges
                ]
                return self.createDataFrame(
                    rows, "Principal STRING, ActionType STRING, ObjectType STRING, ObjectKey STRING"
                )
        return self.createDataFrame(
            [("Name", name), ("Comment", securable.get("comment"))], "info_name STRING, info_value STRING"
        )

    def _create(self, kind: str, name: str, values: dict[str, Any]) -> None:
        if_not_exists = values.pop("exists")
        if kind == "catalog" and name not in self._catalogs():
            raise UnityError(
                "NOT_EMULATED", f"the catalog {name}; the runtime was started for {self._catalogs()}"
            )
        if kind != "table":
            self.unity.create(kind, name, if_not_exists=if_not_exists, **values)
            if kind == "volume":
                self.unity.local("/Volumes/" + name.replace(".", "/")).mkdir(parents=True, exist_ok=True)
            return
        if self.unity.get("table", name):
            self.unity.create(kind, name, if_not_exists=if_not_exists)
            return
        self.unity.require("schema", name.rpartition(".")[0])
        if "location" in values or values.get("using", "delta") != "delta":
            raise UnityError("NOT_EMULATED", f"{name} as an external table or in another format than Delta")
        location = self.unity.managed_location(name)
        location.mkdir(parents=True, exist_ok=True)
        partitioned = ", ".join(f"`{column}`" for column in values.get("partitioned_by", []))
        engine_name = self.in_engine(name)
        super().sql(f"CREATE DATABASE IF NOT EXISTS {engine_name.rpartition('.')[0]}").collect()
        super().sql(
            f"CREATE TABLE {engine_name} ({values.pop('columns')}) USING delta "
            + (f"PARTITIONED BY ({partitioned}) " if partitioned else "")
            + (f"COMMENT {_quoted(values['comment'])} " if "comment" in values else "")
            + f"LOCATION {_quoted(str(location))}"
        ).collect()
        self._known.add(name)
        self.unity.create(kind, name, if_not_exists=if_not_exists, location=str(location), **values)

    def _add_columns(self, name: str, columns: list[tuple[str, str, str | None]]) -> None:
        location = Path(self.unity.require("table", name)["location"])
        describe.add_columns(location, columns)
        self._forget(name)

    def _forget(self, name: str) -> None:
        # Sail keeps the columns that a table was created with.
        super().sql(f"DROP TABLE IF EXISTS {self.in_engine(name)}").collect()
        self._known.discard(name)
        self._make_known(name)

    def _drop(self, name: str, *, missing_is_fine: bool) -> None:
        if missing_is_fine and not self.unity.get("table", name):
            return
        table = self.unity.require("table", name)
        super().sql(f"DROP TABLE IF EXISTS {self.in_engine(name)}").collect()
        self.unity.drop("table", name)
        self._known.discard(name)
        shutil.rmtree(table["location"])

    def _make_known(self, mentioned: str) -> None:
        """Let the engine know new tables: all of them, or where that costs much those that are mentioned."""
        for table in self.unity.all("table"):
            name = table["name"]
            if name not in self._known and (name in mentioned or not self.is_slow):
                engine_name = self.in_engine(name)
                super().sql(f"CREATE DATABASE IF NOT EXISTS {engine_name.rpartition('.')[0]}").collect()
                # Without columns: with them Sail compares by position, its own partition columns last.
                location = _quoted(table["location"])
                super().sql(
                    f"CREATE TABLE IF NOT EXISTS {engine_name} USING delta LOCATION {location}"
                ).collect()
                self._known.add(name)

    def _catalogs(self) -> list[str]:
        return sorted(
            row["catalog"] for row in super().sql("SHOW CATALOGS").collect() if row["catalog"] != "system"
        )

    @property
    def _known(self) -> set[str]:
        return self.__dict__.setdefault("_known_tables", set())


def attach(session: PlainSession, folder: Path, kind: type | None = None) -> ClusterSession:
    """Make one session of Spark Connect a session of the cluster; others stay as they are."""
    session.__class__ = kind or ClusterSession
    assert isinstance(session, ClusterSession)
    session.unity = Unity(folder)
    return session


def install() -> None:
    """Make every session of this process a session of the cluster, as on a cluster each one is."""
    plain = PlainSession.__init__
    of_driver: Any = None
    kind: type = ClusterSession
    if os.environ.get(SERVERLESS):
        from .serverless import ServerlessSession, refuse

        kind = ServerlessSession
        refuse()
    elif os.environ.get(CLASSIC):
        from .classic import ClassicSession, new_session

        kind, of_driver = ClassicSession, new_session

    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        if of_driver and len(args) == 1:
            kwargs.setdefault("jsparkSession", of_driver(args[0]))
        plain(self, *args, **kwargs)
        attach(self, Path(os.environ[FOLDER]), kind)

    PlainSession.__init__ = start  # type: ignore[method-assign]  # what the runtime itself does, in its own way


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
