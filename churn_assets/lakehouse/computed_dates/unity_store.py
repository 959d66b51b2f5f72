"""The ledger as a managed table of Unity Catalog, by SQL: on a cluster, or on a warehouse."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from churn_assets.lakehouse import ddl
from churn_assets.lakehouse.computed_dates.rows import THIS_NOTE, LedgerRows, Row
from churn_assets.tables import COMPUTED_DATES

COLUMNS = ", ".join(f"`{column}`" for column in Row._fields)


class UnityStore:
    """Keeps the rows in a table of Unity Catalog.

    Args:
        table_name: its three-level name.
        run_sql: runs a statement, again where another commit came first, and returns plain rows.
        create: creates the table where there is none.
        exists: whether there is one.
    """

    def __init__(
        self,
        table_name: str,
        run_sql: Callable[[str], list[dict[str, Any]]],
        create: Callable[[], object],
        exists: Callable[[], bool],
    ) -> None:
        self._table_name = table_name
        self._run_sql = run_sql
        self._create = create
        self._exists = exists

    def read(self) -> LedgerRows:
        """Return the current rows; none where there is no ledger yet."""
        if not self._exists():
            return LedgerRows()
        rows = self._run_sql(f"SELECT {COLUMNS} FROM {self._table_name}")  # noqa: S608 - names of a contract
        return LedgerRows(Row(**{column: row[column] for column in Row._fields}) for row in rows)

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows as one note: a merge that counts the notes before it, so that two cannot both succeed."""
        self._create()
        values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
        if not values:
            return
        number = f"(SELECT coalesce(max(`noted`), 0) + 1 FROM {self._table_name})"  # noqa: S608 - as above
        fields = ", ".join(
            {
                "noted": f"{number} AS `noted`",
                "changed": f"CASE WHEN `changed` = {THIS_NOTE} THEN {number} ELSE `changed` END AS `changed`",
            }.get(column.name, f"CAST(`{column.name}` AS {column.type.upper()}) AS `{column.name}`")
            for column in COMPUTED_DATES.columns
        )
        self._run_sql(
            f"MERGE INTO {self._table_name} t USING (SELECT {fields} FROM VALUES {values} AS v({COLUMNS})) s "  # noqa: S608 - as above
            "ON t.`table_name` = s.`table_name` AND t.`computed_date` <=> s.`computed_date` "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        )


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case dt.date():
            return f"date'{value}'"
        case str():
            return ddl.quoted(value)
        case _:
            return str(value)
