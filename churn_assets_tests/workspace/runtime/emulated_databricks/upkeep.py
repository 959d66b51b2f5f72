"""Properties, VACUUM, OPTIMIZE and the past that can be read, as from Delta 4.1 on (Runtime 18, warehouses).

Seen in Delta 4.4.0, whose messages these are, with ``spark.databricks.delta.vacuum.…`` as it is delivered:

* ``retentionWindowIgnore.enabled``: "Vacuum with retention threshold other than 0 hours is ignored.", and 0
  is refused by the check of ``retentionDurationCheck.enabled``.
* ``enforceTimeTravelWithinDeletedFileRetentionDuration``: a version is refused by the age of its own commit,
  even where the next one is seconds old; the latest version is never refused.
* ``enforceDeletedFileAndLogRetentionDurationCompatibility``: compares the two durations of one statement, and
  with the log's default where the statement does not name it, whatever the table says.
"""

import re
import time
from typing import Any

from .unity import Unity, UnityError

DELETED_FILES, LOG = "delta.deletedFileRetentionDuration", "delta.logRetentionDuration"
DEFAULTS = {DELETED_FILES: "interval 7 days", LOG: "interval 30 days"}
HOURS = {"hour": 1, "day": 24, "week": 168}

NAME = r"(?:`[^`]+`|\w+)(?:\s*\.\s*(?:`[^`]+`|\w+)){2}"
AS_OF = re.compile(rf"(?P<name>{NAME})\s+VERSION\s+AS\s+OF\s+(?P<version>\d+)", re.IGNORECASE)


def hours(properties: dict[str, str], key: str) -> int:
    """How long a property says, or its default."""
    match = re.fullmatch(r"interval (\d+) (hour|day|week)s?", properties.get(key, DEFAULTS[key]).lower())
    if not match:
        raise UnityError("DELTA_INVALID_INTERVAL", f"{properties[key]} is not a valid INTERVAL.")
    return int(match[1]) * HOURS[match[2]]


def set_properties(unity: Unity, name: str, properties: dict[str, str]) -> None:
    """Change properties, which is a commit."""
    from deltalake import DeltaTable

    table = unity.require("table", name)
    if DELETED_FILES in properties and hours(properties, DELETED_FILES) > hours(properties, LOG):
        raise UnityError(
            "UNSUPPORTED_TABLE_CHANGE",
            f"Unsupported table change: requirement failed: The table property {DELETED_FILES}"
            f"({properties[DELETED_FILES]}) needs to be less than or equal to {LOG}({hours(properties, LOG)} "
            "hours). SQLSTATE: 0A000",
        )
    unity.update("table", name, properties=table["properties"] | properties)
    # What the properties do is emulated, where it is; the log only has the commit.
    touched = {"emulated.set": str(time.time_ns())}
    DeltaTable(table["location"]).alter.set_table_properties(touched, raise_if_not_exists=False)


def require_readable(unity: Unity, sql: str) -> None:
    """Refuse a query of versions that are too old.

    Raises:
        UnityError: one is.
    """
    from deltalake import DeltaTable

    for asked in AS_OF.finditer(sql):
        table = unity.require("table", re.sub(r"[`\s]", "", asked["name"]))
        delta, kept = DeltaTable(table["location"]), hours(table["properties"], DELETED_FILES)
        oldest = (time.time() - kept * 3600) * 1000
        commits = {commit["version"]: commit["timestamp"] for commit in delta.history()}
        version = int(asked["version"])
        if version < delta.version() and commits.get(version, 0) < oldest:
            raise UnityError(
                "DELTA_UNSUPPORTED_TIME_TRAVEL_BEYOND_DELETED_FILE_RETENTION_DURATION",
                f"Cannot time travel beyond {DELETED_FILES} ({kept} HOURS) set on the table. SQLSTATE: 0AKDC",
            )


def tidy(verb: str, table: dict[str, Any], retain: int | None) -> None:
    """Delete files that were unused for as long as the table's property says, or merge small ones."""
    from deltalake import DeltaTable

    if verb == "optimize":
        DeltaTable(table["location"]).optimize.compact()
        return
    if retain == 0:
        raise UnityError(
            "DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT",
            "The specified VACUUM retention period is too low and may corrupt this Delta table if any writes "
            "are in progress.",
        )
    DeltaTable(table["location"]).vacuum(
        hours(table["properties"], DELETED_FILES), dry_run=False, enforce_retention_duration=False
    )
