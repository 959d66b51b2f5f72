"""The ledger as a managed table of Unity Catalog, by SQL: on a cluster, or on a warehouse."""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from churn_assets.lakehouse import ddl
from churn_assets.lakehouse.computed_dates.rows import NOW, Known, Row
from churn_assets.tables import COMPUTED_DATES

NAMES = ", ".join(f"`{column}`" for column in Row._fields)


class UnityStore:
    """Keeps the rows in the table of this name.

    Args:
        table: its three-level name.
        run_sql: runs a statement, again where another commit came first, and gives its rows as plain values.
        make: creates the table where there is none.
        exists: whether there is one.
    """

    def __init__(
        self,
        table: str,
        run_sql: Callable[[str], list[dict[str, Any]]],
        make: Callable[[], object],
        exists: Callable[[], bool],
    ) -> None:
        self._table = table
        self._run_sql = run_sql
        self._make = make
        self._exists = exists

    def known(self) -> Known:
        """What it holds now; nothing where there is no ledger."""
        if not self._exists():
            return Known()
        return Known(_row(row) for row in self._run_sql(f"SELECT {NAMES} FROM {self._table}"))  # noqa: S608 - names of a contract

    def put(self, rows: Iterable[Row]) -> None:
        """Put rows down as one note: a merge that counts the notes before it, so that two cannot both win."""
        self._make()
        values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
        if not values:
            return
        number = f"(SELECT coalesce(max(`noted`), 0) + 1 FROM {self._table})"  # noqa: S608 - as above
        fields = ", ".join(
            {
                "noted": f"{number} AS `noted`",
                "changed": f"CASE WHEN `changed` = {NOW} THEN {number} ELSE `changed` END AS `changed`",
            }.get(field, f"CAST(`{field}` AS {kind}) AS `{field}`")
            for field, kind in ((column.name, column.type.upper()) for column in COMPUTED_DATES.columns)
        )
        self._run_sql(
            f"MERGE INTO {self._table} t USING (SELECT {fields} FROM VALUES {values} AS v({NAMES})) s "  # noqa: S608 - as above
            "ON t.`table_name` = s.`table_name` AND t.`computed_date` <=> s.`computed_date` "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        )


def _literal(value: Any) -> str:
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


def _row(found: dict[str, Any]) -> Row:
    """A warehouse gives numbers as they are, and so does a session."""
    return Row(**{field: found[field] for field in Row._fields})
