"""The session of dedicated access mode: classic, in the one Spark application of the cluster's driver.

Open-source Spark has one catalog for Delta tables: ``catalog.schema.table`` is ``catalog__schema.table``.
Nothing is kept of it: each process gets to know tables from the metastore, when first mentioned.
"""

import re
from typing import Any

from pyspark.core.context import SparkContext
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


def new_session(context: SparkContext) -> Any:
    """The process's own session in the driver's JVM: temporary views and settings of others are not in it."""
    jvm = context._jvm
    sessions = getattr(jvm, "org.apache.spark.sql.classic.SparkSession")
    others = sessions.getDefaultSession()
    return others.get().newSession() if others.isDefined() else None


def _context_of_the_driver(context: Any, jconf: Any) -> Any:
    # The first process makes it, as nothing before asks for it.
    spark = getattr(context._jvm, "org.apache.spark.SparkContext")
    return context._jvm.JavaSparkContext(spark.getOrCreate(jconf))


def _write_to(frame: Any, table: str) -> Any:
    session = frame.sparkSession
    if isinstance(session, ClassicSession):
        session._make_known(table)
        table = session.in_engine(table)
    return _plain_write_to(frame, table)


SparkContext._initialize_context = _context_of_the_driver  # type: ignore[method-assign]  # as a driver's own REPL
DataFrame.writeTo = _write_to  # type: ignore[method-assign]  # a name as the cluster knows it
