"""The session of dedicated access mode: classic, Apache Spark and Delta Lake in the driver's own process.

Open-source Spark has one catalog for Delta tables: ``catalog.schema.table`` is ``catalog__schema.table``.
Nothing is kept of it: each process gets to know tables from the metastore, when first mentioned.
"""

import re
from typing import Any

from pyspark.sql.classic.dataframe import DataFrame

from .session import ClusterSession

_plain_write_to = DataFrame.writeTo


class ClassicSession(ClusterSession):
    """A classic session of the emulated runtime."""

    is_slow = True

    def in_engine(self, text: str) -> str:
        """Names of three parts as names of two."""
        catalogs = "|".join(catalog["name"] for catalog in self.unity.all("catalog"))
        part = r"\s*\.\s*`?(\w+)`?"
        return re.sub(rf"`?\b({catalogs})\b`?{part}{part}", r"\1__\2.\3", text) if catalogs else text

    def _catalogs(self) -> list[str]:
        return ["main_catalog", "raw_catalog"]


def _write_to(frame: Any, table: str) -> Any:
    session = frame.sparkSession
    if isinstance(session, ClassicSession):
        session._make_known(table)
        table = session.in_engine(table)
    return _plain_write_to(frame, table)


DataFrame.writeTo = _write_to  # type: ignore[method-assign]  # a name as the cluster knows it
