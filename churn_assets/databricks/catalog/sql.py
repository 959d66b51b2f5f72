"""The objects and grants that the deployment needs in Unity Catalog, as data and as SQL."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from churn_assets.errors import SettingsError
from churn_assets.lakehouse.ddl import create_managed_table, managed_tables, quoted, schemas
from churn_assets.settings import Settings

Kind = Literal["CATALOG", "SCHEMA", "VOLUME", "EXTERNAL LOCATION"]

COMMENTS = {
    "landing": "Bronze: what landed, as it landed.",
    "clean": "Silver: typed events, their quarantine, and users.",
    "gold": "Gold: activity, features, labels and predictions by day; the model.",
    "ops": "What the platform notes of itself: which dates are computed, from what.",
}

# To register it, to add a version to one that somebody else made, to tag versions, and to load them. None of
# these moves an alias, which is for the model's owners.
OF_THE_MODEL = ("CREATE MODEL", "CREATE MODEL VERSION", "APPLY TAG", "EXECUTE")

# What analysts may read.
READABLE = ("clean", "gold")

# What to do where neither the metastore nor the settings have a place for a new catalog's tables.
WITHOUT_STORAGE = (
    "the metastore has no storage of its own: set CHURN_DATABRICKS_MANAGED_LOCATION to a URL inside an "
    "external location, or create the catalog in the workspace's UI (Default Storage is for serverless "
    "compute only)"
)


class Statement(NamedTuple):
    """One SQL statement, its purpose, and the catalog that it creates, if it does."""

    sql: str
    purpose: str
    catalog: str = ""


@dataclass(frozen=True)
class Grant:
    """The privileges of one principal on one securable."""

    kind: Kind
    name: str
    privileges: tuple[str, ...]
    principal: str

    @property
    def sql(self) -> str:
        """The GRANT statement; running it twice changes nothing."""
        principal = self.principal.replace("`", "``")
        return f"GRANT {', '.join(self.privileges)} ON {self.kind} {self.name} TO `{principal}`"


@dataclass(frozen=True)
class ExternalLocation:
    """Cloud storage that is not Databricks' own, where the raw catalog lies and files may land.

    ``CHURN_DATABRICKS_EXTERNAL_LOCATION`` is its URL and, behind a space, the storage credential to create it
    with. Without one a location for the URL must exist, under whatever name, and its grants are not ours.
    """

    name: str
    url: str
    credential: str

    @property
    def managed_url(self) -> str:
        """Where Unity Catalog puts the raw catalog's tables: a folder that nobody reads by path."""
        return f"{self.url}/managed"


def external_location(settings: Settings) -> ExternalLocation | None:
    """Return the external location that the settings name, if any.

    Raises:
        SettingsError: the setting is no URL, or has more than two parts.
    """
    parts = settings.databricks_external_location.split()
    if not parts:
        return None
    if "://" not in parts[0] or len(parts) > 2:
        raise SettingsError(
            f"CHURN_DATABRICKS_EXTERNAL_LOCATION={settings.databricks_external_location!r} must be a URL "
            "and, to create the location, the name of a storage credential: s3://bucket/raw my_credential."
        )
    credential = parts[1] if len(parts) == 2 else ""
    return ExternalLocation(f"{settings.raw_catalog}_files", parts[0].rstrip("/"), credential)


def managed_location(settings: Settings, catalog: str) -> str:
    """Return where a catalog's managed tables lie; empty where the metastore has to have a place for them.

    Raises:
        SettingsError: a setting is no URL.
    """
    location = external_location(settings)
    if location and catalog == settings.raw_catalog:
        return location.managed_url
    root = settings.databricks_managed_location
    if root and ("://" not in root or " " in root):
        raise SettingsError(
            f"CHURN_DATABRICKS_MANAGED_LOCATION={root!r} must be a URL inside an external location of Unity "
            "Catalog, such as s3://bucket/churn."
        )
    return f"{root.rstrip('/')}/{catalog}" if root else ""


def volumes(settings: Settings) -> list[str]:
    """Return the full names of the volumes for staging, checkpoints and, if in a volume, the landing zone.

    Raises:
        SettingsError: ``CHURN_DATABRICKS_VOLUME`` is no path of a volume.
    """
    paths = [settings.databricks_volume]
    if settings.landing_root.startswith("/Volumes/"):
        paths.append(settings.landing_root)
    names = []
    for path in paths:
        parts = path.strip("/").split("/")
        if parts[0] != "Volumes" or len(parts) < 4:
            raise SettingsError(
                f"{path} is no path in a volume: expected /Volumes/catalog/schema/volume. "
                "Set CHURN_DATABRICKS_VOLUME and CHURN_LANDING_ROOT."
            )
        names.append(".".join(parts[1:4]))
    return list(dict.fromkeys(names))


def catalogs(settings: Settings) -> list[str]:
    """Return the names of the catalogs that hold the tables, without duplicates."""
    return list(dict.fromkeys(name.partition(".")[0] for name in schemas(settings)))


def grants(settings: Settings) -> list[Grant]:
    """Return the grants of engineers and analysts; each setting names principals separated by commas."""
    return [
        *(
            grant
            for who in principals(settings.databricks_engineers)
            for grant in _to_engineer(settings, who)
        ),
        *(grant for who in principals(settings.databricks_analysts) for grant in _to_analyst(settings, who)),
    ]


def create_statements(settings: Settings) -> Iterator[Statement]:
    """Yield the statements that create the objects, containers first; grants are separate."""
    location = external_location(settings)
    if location and location.credential:
        yield Statement(
            f"CREATE EXTERNAL LOCATION IF NOT EXISTS {location.name} URL {quoted(location.url)}\n"
            f"WITH (STORAGE CREDENTIAL `{location.credential}`)\n"
            f"COMMENT {quoted('Raw events and the tables of Bronze.')}",
            "lets Unity Catalog read and write the bucket",
        )
    for name in catalogs(settings):
        place = managed_location(settings, name)
        managed = f"\nMANAGED LOCATION {quoted(place)}" if place else ""
        yield Statement(
            f"CREATE CATALOG IF NOT EXISTS {name}{managed}\nCOMMENT {quoted('Churn platform.')}",
            "holds the schemas",
            catalog=name,
        )
    for name in schemas(settings):
        comment = COMMENTS[name.partition(".")[2]]
        yield Statement(f"CREATE SCHEMA IF NOT EXISTS {name}\nCOMMENT {quoted(comment)}", "holds the tables")
    for name in volumes(settings):
        yield Statement(
            f"CREATE VOLUME IF NOT EXISTS {name}\nCOMMENT {quoted('Files of the churn platform.')}",
            "holds staged code, checkpoints or event files",
        )
    for table in managed_tables(settings):
        name = f"{getattr(settings, table.catalog)}.{table.schema}.{table.name}"
        yield Statement(create_managed_table(table, name), table.comment)


def _to_engineer(settings: Settings, who: str) -> Iterator[Grant]:
    for catalog in catalogs(settings):
        yield Grant("CATALOG", catalog, ("USE CATALOG",), who)
    for schema in schemas(settings):
        privileges = ("USE SCHEMA", "SELECT", "MODIFY", "CREATE TABLE")
        # The model is registered beside the tables it comes from.
        is_gold = schema == f"{settings.main_catalog}.gold"
        yield Grant("SCHEMA", schema, (*privileges, *OF_THE_MODEL) if is_gold else privileges, who)
    for volume in volumes(settings):
        yield Grant("VOLUME", volume, ("READ VOLUME", "WRITE VOLUME"), who)
    location = external_location(settings)
    if location and location.credential:
        yield Grant("EXTERNAL LOCATION", location.name, ("READ FILES",), who)


def _to_analyst(settings: Settings, who: str) -> Iterator[Grant]:
    yield Grant("CATALOG", settings.main_catalog, ("USE CATALOG",), who)
    for schema in schemas(settings):
        if schema.partition(".")[2] in READABLE:
            yield Grant("SCHEMA", schema, ("USE SCHEMA", "SELECT"), who)


def principals(setting: str) -> list[str]:
    """Return the principals that a setting names, separated by commas."""
    return [name.strip() for name in setting.split(",") if name.strip()]
