"""The settings, read once from the environment and ``.env`` (the first wins). Nothing else reads either."""

import datetime as dt
import difflib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SkipValidation, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from churn_assets import bucket, plain_paths, postgres, ui_address
from churn_assets.errors import SettingsError

Deployment = Literal["local", "spark", "databricks"]

# What the name of a variable that holds a secret has in it, ours or another program's.
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|CONNECTION_STRING")

# Unity Catalog's rule for names that need no quoting, which the folder names of a local lake follow too.
CATALOG_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"

# What every reader of a bucket's paths takes as it is: some decode %, and some take * for a pattern.
BUCKET_URI = r"[a-z0-9]+://[A-Za-z0-9][A-Za-z0-9._@-]+(/[A-Za-z0-9_=.-]+)*/?"

SQLITE = "sqlite:///"
MLFLOW_DATABASE = "mlflow.db"


class Settings(BaseSettings):
    """One deployment's settings. Each field is read from the variable of its name, ``CHURN_`` in front.

    The standard variables ``MLFLOW_TRACKING_URI``, ``DATABRICKS_HOST``, ``DATABRICKS_TOKEN``,
    ``DATABRICKS_CLIENT_ID``, ``DATABRICKS_CLIENT_SECRET``, ``DATABRICKS_CONFIG_PROFILE``,
    ``DATABRICKS_AUTH_TYPE`` and ``DAGSTER_HOME`` keep their own names.
    Dates are UTC days; folders may be relative, and ``lake_root`` may be a URI of ``bucket.SCHEMES``.
    """

    model_config = SettingsConfigDict(
        env_prefix="CHURN_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        # The log of a failed command would have all values, secrets among them.
        hide_input_in_errors=True,
    )

    deployment: Deployment = "local"
    # Made a path, of a folder or of a bucket, before pydantic sees it.
    lake_root: Annotated[Path, SkipValidation] = Path("lake")
    state_root: Path | None = None
    landing_root: str = ""
    start_date: dt.date = dt.date(2026, 1, 1)
    end_date: dt.date | None = None
    # Not before the third: epoch zero, and what a time zone makes of it, is what broken clocks say.
    earliest_event: dt.date = Field(default=dt.date(2000, 1, 1), ge=dt.date(1970, 1, 3))
    horizon_days: int = Field(default=30, ge=1, le=365)
    label_event_types: str = ""
    label_min_active_share: float = Field(default=0.5, ge=0, le=1)
    raw_catalog: str = Field(default="raw_catalog", pattern=CATALOG_NAME)
    main_catalog: str = Field(default="main_catalog", pattern=CATALOG_NAME)
    database_url: str | None = Field(default=None, repr=False)
    spark_master: str = "local[*]"
    max_line_megabytes: int = Field(default=16, ge=1, le=256)
    endpoint_url: str = "http://127.0.0.1:8080"
    endpoint_token: str | None = Field(default=None, repr=False)
    endpoint_admin_token: str | None = Field(default=None, repr=False)
    endpoint_public_metrics: bool = False
    endpoint_workers: int = Field(default=2, ge=1, le=64)
    endpoint_idle_seconds: int = Field(default=1800, ge=0)
    endpoint_max_megabytes: int = Field(default=16, ge=1, le=1024)
    mlflow_tracking_uri: str = Field(
        default="", validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "mlflow_tracking_uri")
    )
    databricks_host: str | None = Field(
        default=None, validation_alias=AliasChoices("DATABRICKS_HOST", "databricks_host")
    )
    databricks_token: str | None = Field(
        default=None, repr=False, validation_alias=AliasChoices("DATABRICKS_TOKEN", "databricks_token")
    )
    databricks_client_id: str | None = Field(
        default=None, validation_alias=AliasChoices("DATABRICKS_CLIENT_ID", "databricks_client_id")
    )
    databricks_client_secret: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("DATABRICKS_CLIENT_SECRET", "databricks_client_secret"),
    )
    databricks_config_profile: str = Field(
        default="",
        validation_alias=AliasChoices("DATABRICKS_CONFIG_PROFILE", "databricks_config_profile"),
    )
    databricks_auth_type: str = Field(
        default="", validation_alias=AliasChoices("DATABRICKS_AUTH_TYPE", "databricks_auth_type")
    )
    training_rows: int = Field(default=25_000, ge=1_000, le=5_000_000)
    training_seconds: int = Field(default=30, ge=1, le=3600)
    contact_cost: float = Field(default=1.0, gt=0)
    saved_value: float = Field(default=50.0, gt=0)
    save_rate: float = Field(default=0.1, gt=0, le=1)
    contact_budget: int | None = Field(default=None, ge=0)
    contact_pause_days: int = Field(default=30, ge=0, le=3650)
    control_share: float = Field(default=0.1, ge=0, le=0.9)
    control_seed: str = ""
    delivery_webhook: str | None = Field(default=None, repr=False)
    delivery_secret: str | None = Field(default=None, repr=False)
    delivery_folder: str = ""
    save_rate_source: Literal["measured", "assumed"] = "measured"
    gate_slice_auc: float = Field(default=0.55, ge=0.5, le=1)
    drift_warn: float = Field(default=0.05, gt=0)
    drift_fail: float = Field(default=0.065, gt=0)
    auc_drop_warn: float = Field(default=0.03, gt=0, le=0.5)
    auc_drop_fail: float = Field(default=0.08, gt=0, le=0.5)
    calibration_warn: float = Field(default=0.05, gt=0, le=1)
    calibration_fail: float = Field(default=0.1, gt=0, le=1)
    databricks_secret_scope: str = ""
    databricks_volume: str = ""
    databricks_launcher: Literal["step", "pipes"] = "step"
    databricks_compute: Literal["serverless", "run", "step", "existing", "pool"] = "serverless"
    databricks_cluster_id: str = ""
    databricks_pool_id: str = ""
    databricks_spark_version: str = "17.3.x-scala2.13"
    databricks_node_type: str = "i3.xlarge"
    databricks_workers: int = Field(default=4, ge=0, le=1000)
    databricks_max_workers: int | None = Field(default=None, ge=1, le=1000)
    databricks_access_mode: Literal["dedicated", "standard"] = "dedicated"
    databricks_policy_id: str = ""
    databricks_spot: bool = False
    databricks_tags: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    databricks_job_compute: Literal["serverless", "cluster"] = "serverless"
    databricks_performance_target: Literal["standard", "performance_optimized"] = "standard"
    databricks_budget_policy_id: str = ""
    databricks_run_as: str = ""
    databricks_poll_seconds: float = Field(default=1.0, gt=0, le=60)
    databricks_dbu_rates: dict[str, float] = Field(default_factory=dict)
    databricks_warehouse_id: str = ""
    databricks_online_store: str = ""
    databricks_external_location: str = ""
    databricks_managed_location: str = ""
    databricks_engineers: str = ""
    databricks_owner: str = ""
    databricks_analysts: str = ""
    alert_emails: str = ""
    alert_webhook: str | None = Field(default=None, repr=False)
    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password: str | None = Field(default=None, repr=False)
    smtp_from: str = ""
    sla_minutes: int = Field(default=60, ge=1, le=1079)
    history_days: int = Field(default=90, ge=1, le=36_500)
    forget_landing: Literal["rewrite", "list"] = "rewrite"
    dagster_url: str = ui_address.url_of()
    dagster_home: Path | None = Field(
        default=None, validation_alias=AliasChoices("DAGSTER_HOME", "dagster_home")
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_what_follows_from_the_lake(cls, values: dict[str, Any]) -> dict[str, Any]:
        values["lake_root"] = lake = _lake_path(values.get("lake_root") or "lake")
        landing = str(values.get("landing_root") or lake / "landing" / "events")
        catalog = values.get("main_catalog") or "main_catalog"
        home = values.get("DAGSTER_HOME") or values.get("dagster_home")
        home = Path(home or _local_root(values.get("state_root"), lake) / "dagster")
        values["dagster_url"] = values.get("dagster_url") or ui_address.noted(home)
        values["databricks_volume"] = values.get("databricks_volume") or f"/Volumes/{catalog}/gold/churn"
        values["landing_root"] = landing if "://" in landing else str(Path(landing).expanduser().absolute())
        given = [name for name in ("MLFLOW_TRACKING_URI", "mlflow_tracking_uri") if values.get(name)]
        if (url := values.get("database_url")) and not postgres.problem(url):
            # MLflow exports what it was told, which has the password, to where these settings are read.
            ours = postgres.Postgres(url, postgres.MLFLOW_SCHEMA).for_sqlalchemy()
            values.update({name: "" for name in given if values[name] == ours})
        elif not url and not given and values.get("deployment", "local") != "databricks":
            local = _local_root(values.get("state_root"), lake)
            values["mlflow_tracking_uri"] = f"{SQLITE}{local / 'mlflow' / MLFLOW_DATABASE}"
        return values

    @field_validator("dagster_url", "endpoint_url")
    @classmethod
    def _paths_are_put_behind_them(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _the_database_can_be_named(cls, value: str | None) -> str | None:
        if value and (wrong := postgres.problem(value)):
            raise ValueError(wrong)
        return value

    @field_validator("label_event_types")
    @classmethod
    def _types_have_one_spelling(cls, value: str) -> str:
        # Compared as text with what labels were made with: neither order nor blanks may make a difference.
        return ",".join(sorted({name for one in value.split(",") if (name := one.strip())}))

    @field_validator("databricks_tags", mode="before")
    @classmethod
    def _tags_are_json_or_pairs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        expected = ValueError('should be JSON, or pairs such as "team=growth,cost_center=42"')
        if value.lstrip().startswith("{"):
            try:
                return json.loads(value)
            except ValueError as error:
                raise expected from error
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if any(not equals or not name.strip() for name, equals, _ in pairs):
            raise expected
        return {name.strip(): text.strip() for name, _, text in pairs}

    @model_validator(mode="after")
    def _more_workers_are_not_fewer(self) -> Self:
        most = self.databricks_max_workers
        if most is not None and most < max(self.databricks_workers, 1):
            raise ValueError(
                f"CHURN_DATABRICKS_MAX_WORKERS={most} is below CHURN_DATABRICKS_WORKERS="
                f"{self.databricks_workers}, from which a cluster grows"
            )
        return self

    @model_validator(mode="after")
    def _dates_are_in_order(self) -> Self:
        if self.end_date and self.end_date < self.start_date:
            raise ValueError(f"CHURN_END_DATE={self.end_date} is before CHURN_START_DATE={self.start_date}")
        return self

    @model_validator(mode="after")
    def _who_scores_does_not_manage(self) -> Self:
        if self.endpoint_token and self.endpoint_token == self.endpoint_admin_token:
            raise ValueError(
                "CHURN_ENDPOINT_ADMIN_TOKEN is CHURN_ENDPOINT_TOKEN, so whoever scores could serve another "
                "version. Give it another value, or leave it out, and one is made"
            )
        return self

    @model_validator(mode="after")
    def _what_is_delivered_is_signed(self) -> Self:
        if self.delivers and self.deployment == "databricks":
            raise ValueError(
                "CHURN_DELIVERY_WEBHOOK and CHURN_DELIVERY_FOLDER are for the deployments local and spark. "
                f"On databricks read {self.main_catalog}.gold.retention_list, or use churn export --at-risk"
            )
        if self.delivery_webhook and not self.delivery_webhook.startswith(("http://", "https://")):
            raise ValueError("CHURN_DELIVERY_WEBHOOK should be a URL that starts with https:// or http://")
        if self.delivery_webhook and not self.delivery_secret:
            raise ValueError(
                "CHURN_DELIVERY_WEBHOOK is set without CHURN_DELIVERY_SECRET, by which its receiver tells "
                "our lists from others'. Give it a random text that only the receiver knows as well"
            )
        return self

    @model_validator(mode="after")
    def _the_lake_can_be_named(self) -> Self:
        if self.is_in_bucket:
            return self._the_bucket_can_be_used()
        if self.deployment != "databricks" and (found := plain_paths.impossible(self.lake_root)):
            path = ascii(os.path.realpath(self.lake_root))[1:-1].replace("\\\\", "\\")
            raise ValueError(
                f"CHURN_LAKE_ROOT={path} has {found} in its path, which delta-rs reads as something else. "
                "Rename that folder, or use another"
            )
        return self

    def _the_bucket_can_be_used(self) -> Self:
        if self.deployment == "databricks":
            raise ValueError(
                f"CHURN_LAKE_ROOT={self.lake_root} is a bucket, and with CHURN_DEPLOYMENT=databricks the "
                "tables are in Unity Catalog. Leave it out, or set CHURN_DATABRICKS_MANAGED_LOCATION"
            )
        if self.deployment == "spark" and not str(self.lake_root).startswith("s3://"):
            raise ValueError(
                f"CHURN_LAKE_ROOT={self.lake_root} is a bucket, and CHURN_DEPLOYMENT=spark reads only those "
                "of s3:// so far. Use CHURN_DEPLOYMENT=local, or a folder that every worker mounts"
            )
        if not re.fullmatch(BUCKET_URI, str(self.lake_root)):
            raise ValueError(
                f"CHURN_LAKE_ROOT={self.lake_root} should be {'://, '.join(bucket.SCHEMES)}://, a bucket, "
                "and a prefix of letters, digits and _ . = - between slashes"
            )
        return self

    @model_validator(mode="after")
    def _a_warning_comes_before_a_failure(self) -> Self:
        for name in ("drift", "auc_drop", "calibration"):
            warn, fail = getattr(self, f"{name}_warn"), getattr(self, f"{name}_fail")
            if warn > fail:
                variable = f"CHURN_{name.upper()}"
                raise ValueError(f"{variable}_WARN={warn:g} is above {variable}_FAIL={fail:g}")
        return self

    @property
    def staying_types(self) -> tuple[str, ...]:
        """The types of the events that mean that a user stayed; empty where every event does."""
        return tuple(name for name in self.label_event_types.split(",") if name)

    @property
    def delivers(self) -> bool:
        """Whether lists of whom to contact are handed over to somebody."""
        return bool(self.delivery_webhook or self.delivery_folder)

    @property
    def is_in_bucket(self) -> bool:
        """Whether the lake is in a bucket, else in a folder."""
        return bucket.is_bucket(self.lake_root)

    @property
    def local_root(self) -> Path:
        """The folder for what only a file system can hold: databases, locks, and what a server maps.

        ``CHURN_STATE_ROOT``; without it a lake's own folder or, for one in a bucket, a folder of this user's.
        """
        return _local_root(self.state_root, self.lake_root)

    @property
    def dagster_home_folder(self) -> Path:
        """Where Dagster keeps its runs: ``DAGSTER_HOME``, or beside the tables, so that both go together."""
        return (self.dagster_home or self.local_root / "dagster").absolute()

    @property
    def database(self) -> postgres.Postgres | None:
        """What keeps Dagster's history and MLflow's runs and models; None: files of the lake do."""
        return postgres.Postgres(self.database_url) if self.database_url else None

    @property
    def mlflow_artifact_root(self) -> str:
        """Where the lake's own tracking database puts its artifacts: in the lake."""
        return (self.lake_root / "mlflow" / "artifacts").as_uri()

    @property
    def mlflow_folder(self) -> Path:
        """Where the lake's own MLflow database lies, unless ``MLFLOW_TRACKING_URI`` names another."""
        return self.local_root / "mlflow"

    def as_env(self) -> dict[str, str]:
        """The environment variables from which an equal ``Settings`` is read elsewhere, secrets left out."""
        env = {}
        for variable, name in type(self).variables().items():
            value = getattr(self, name)
            if value in (None, "", {}) or not type(self).model_fields[name].repr:
                continue
            env[variable] = json.dumps(value) if isinstance(value, dict) else str(value)
        return env

    @classmethod
    def variables(cls) -> dict[str, str]:
        """The environment variable of each field, and the field's name."""
        return {
            str(field.validation_alias.choices[0])
            if isinstance(field.validation_alias, AliasChoices)
            else f"CHURN_{name.upper()}": name
            for name, field in cls.model_fields.items()
        }


class Origins(NamedTuple):
    """The variables that were read from the environment, the file of others, and these."""

    environment: list[str]
    file: Path
    from_file: list[str]


def origins() -> Origins:
    """Return where the settings come from: all that are set, by their variables, and no values."""
    known = Settings.variables()
    file = _env_file()
    here = {name for name in known if os.environ.get(name)}
    there = {name for name, value in dotenv_values(file).items() if value and name in known}
    return Origins(sorted(here), file, sorted(there - here))


def secrets_in_environment() -> list[str]:
    """Return what the environment and ``.env`` have in variables that hold a secret, by their names."""
    given = {**dotenv_values(_env_file()), **os.environ}
    return [value for name, value in given.items() if value and SECRET_NAME.search(name.upper())]


def load(**overrides: Any) -> Settings:
    """Read the settings.

    Args:
        overrides: fields that win over the environment, as tests and command-line options give them.

    Raises:
        SettingsError: a value cannot be used; the message names the variable and what it may be.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_in_one_line(error)) from error


def without_a_setting() -> list[str]:
    """Return a line for each variable ``CHURN_…`` that is set and read by nothing, as a misspelt one is."""
    known = list(Settings.variables())
    # Windows knows no case, and pydantic-settings none anywhere.
    given = sorted({name.upper() for name in (*os.environ, *dotenv_values(_env_file()))})
    lines = []
    for name in (name for name in given if name.startswith("CHURN_") and name not in known):
        standard = name.removeprefix("CHURN_")
        near = [standard] if standard in known else difflib.get_close_matches(name, known, 1, 0.92)
        meant = f"did you mean {near[0]}?" if near else "see docs/reference/settings.md."
        lines.append(f"{name} is no setting and is ignored: {meant}")
    return lines


def _lake_path(place: str | Path) -> Path:
    if bucket.is_bucket(place):
        return bucket.path(str(place))
    if "://" in str(place):
        raise ValueError(
            f"CHURN_LAKE_ROOT={place} is no folder, and no bucket of {'://, '.join(bucket.SCHEMES)}://"
        )
    return Path(place).expanduser().absolute()


def _local_root(given: str | Path | None, lake: Path) -> Path:
    if given:
        return Path(given).expanduser().absolute()
    if not bucket.is_bucket(lake):
        return lake
    # Two lakes never share one, and a person recognises it.
    name = re.sub(r"[^A-Za-z0-9.]+", "-", str(lake))
    digest = hashlib.sha256(str(lake).encode()).hexdigest()[:8]
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "churn-assets" / f"{name}-{digest}"


def _env_file() -> Path:
    return Path(str(Settings.model_config.get("env_file"))).absolute()


def _in_one_line(error: ValidationError) -> str:
    problems = []
    for detail in error.errors():
        if not detail["loc"]:
            problems.append(detail["msg"].removeprefix("Value error, "))
            continue
        name = str(detail["loc"][0])
        variable = name if name.isupper() else f"CHURN_{name.upper()}"
        says = detail["msg"].removeprefix("Value error, ")
        shown = variable if _is_secret(variable) else f"{variable}={detail['input']!r}"
        problems.append(f"{shown}: {says[0].lower()}{says[1:]}")
    return "; ".join(problems) + ". Set it in the environment or in .env."


def _is_secret(variable: str) -> bool:
    name = Settings.variables().get(variable)
    return name is not None and not Settings.model_fields[name].repr
