"""The session of serverless compute: what it refuses is refused, in its words.

https://docs.databricks.com/aws/en/compute/serverless/limitations says what is not there; where the text of a
refusal is known, its source is beside it. RDDs and ``sparkContext`` are refused by Spark Connect itself.
"""

import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql.connect.catalog import Catalog
from pyspark.sql.connect.dataframe import DataFrame

from .session import ClusterSession

# As docs.databricks.com/aws/en/spark/conf lists them for serverless notebooks and jobs.
CONFIGURABLE = {
    "spark.databricks.execution.timeout",
    "spark.sql.ansi.enabled",
    "spark.sql.files.maxPartitionBytes",
    "spark.sql.legacy.timeParserPolicy",
    "spark.sql.session.timeZone",
    "spark.sql.shuffle.partitions",
}
# Of MLflow's databricks_utils.py: what it asks, and an answer of the newer form that it quotes.
VERSION_QUERY, VERSION = "SELECT current_version().dbr_version", "18.x-aarch64-photon-scala2"
# github.com/capitalone/datacompy/issues/407 for persist, which cache is; unpersist is refused alike.
NOT_OF_A_FRAME = {
    "cache": "PERSIST TABLE",
    "persist": "PERSIST TABLE",
    "unpersist": "UNPERSIST TABLE",
    # The page above: "Global temp views are not supported."
    "createGlobalTempView": "GLOBAL TEMPORARY VIEW",
    "createOrReplaceGlobalTempView": "GLOBAL TEMPORARY VIEW",
}
# The same page: no "Spark cache APIs", nor their SQL.
NOT_SQL = {
    r"(UN)?CACHE\s+(LAZY\s+)?TABLE|CLEAR\s+CACHE": "CACHE TABLE",
    r"REFRESH\s+TABLE": "REFRESH TABLE",
    r"CREATE\s+(OR\s+REPLACE\s+)?GLOBAL\s+TEMP": "GLOBAL TEMPORARY VIEW",
}


def not_supported(what: str) -> AnalysisException:
    """The refusal, in the service's words."""
    return AnalysisException(
        f"[NOT_SUPPORTED_WITH_SERVERLESS] {what} is not supported on serverless compute. SQLSTATE: 0A000"
    )


def require_configurable(key: str) -> None:
    """Refuse a property of Spark that serverless compute does not have.

    Raises:
        AnalysisException: in the words that many quote of Databricks.
    """
    if key not in CONFIGURABLE:
        raise AnalysisException(
            f"[CONFIG_NOT_AVAILABLE] Configuration {key} is not available. SQLSTATE: 42K0I"
        )


def asked_by_spark() -> bool:
    """Whether the caller's caller is Spark's own client, which looks at properties of its own."""
    return sys._getframe(2).f_globals.get("__name__", "").startswith("pyspark.")


class Conf:
    """``spark.conf``, of which little is left to a user."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def set(self, key: str, value: Any) -> None:
        """Set one of the properties that can be."""
        if not asked_by_spark():
            require_configurable(key)
        self._conf.set(key, value)

    def get(self, key: str, *default: Any) -> Any:
        """Get one of the properties that are there; another is refused even with a default."""
        if not asked_by_spark():
            require_configurable(key)
        return self._conf.get(key, *default)

    def unset(self, key: str) -> None:
        """Set one of the properties back."""
        require_configurable(key)
        self._conf.unset(key)


class ServerlessSession(ClusterSession):
    """A session of serverless compute."""

    @property
    def conf(self) -> Any:
        """The few properties of Spark that can be set."""
        return Conf(super().conf)

    def execute(self, sql: str, args: Any = None, **kwargs: Any) -> Any:
        """Run a statement, unless serverless compute has none such."""
        for pattern, what in NOT_SQL.items():
            if re.match(rf"\s*({pattern})\b", sql, re.IGNORECASE):
                raise not_supported(what)
        if setting := re.match(r"\s*SET\s+([\w.]+)\s*=", sql, re.IGNORECASE):
            require_configurable(setting[1])
        if sql == VERSION_QUERY:
            return self.createDataFrame([(VERSION,)], "dbr_version STRING")
        return super().execute(sql, args, **kwargs)

    def addArtifact(self, *path: str, archive: bool = False, **kinds: bool) -> None:  # noqa: N802 - Spark's name
        """Send an archive along, which is unpacked where functions run: Sail has no artifacts."""
        if not archive or any(kinds.values()):
            raise not_supported("addArtifact of other than archives, which is not emulated,")
        for file in map(Path, path):
            with tarfile.open(file) as content:
                content.extractall(self.unity.folder / "engine" / file.name, filter="data")


def refuse() -> None:
    """Take from DataFrames of this process what those of serverless compute do not have."""

    def refusing(what: str) -> Callable[..., Any]:
        def refused(*_: Any, **__: Any) -> Any:
            raise not_supported(what)

        return refused

    for name, what in NOT_OF_A_FRAME.items():
        setattr(DataFrame, name, refusing(what))
    for name in ("cacheTable", "uncacheTable", "clearCache"):
        setattr(Catalog, name, refusing("CACHE TABLE"))
