"""How the lake is, read from its tables' metadata and the model registry: of folders, without an engine."""

import datetime as dt
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from churn_assets.errors import LakeError, LandingError
from churn_assets.lakehouse import coverage
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_notes import LandingNotes
from churn_assets.lakehouse.ledger import ahead_of
from churn_assets.serving.rollout.endpoint_status import EndpointStatus, endpoint_status
from churn_assets.tables import CHURN_PREDICTIONS, TABLES, Table


@dataclass(frozen=True)
class TableStatus:
    """One table: rows, first and last date of its partition column, version, bytes, last change (UTC)."""

    table: str
    rows: int
    first_date: dt.date | None
    last_date: dt.date | None
    version: int
    bytes: int
    changed_at: dt.datetime


@dataclass(frozen=True)
class ModelStatus:
    """The Production model: its version, when it was registered, its metrics on the holdout, its report.

    ``horizon_days`` is how far ahead its labels looked, ``label_event_types`` the events that counted; None
    where nobody noted it. ``report`` is a file of this lake, or a URI in MLflow.
    """

    version: str
    created_at: dt.datetime
    metrics: dict[str, float]
    report: str = ""
    horizon_days: int | None = None
    label_event_types: str | None = None


@dataclass(frozen=True)
class ScoreStatus:
    """The latest feature_date's predictions.

    ``predicted_churn`` are the users with a probability of at least 0.5, ``expected_churn`` is the sum of all
    probabilities, and ``worth_contacting`` are the users at or above ``contact_threshold``: the probability
    from which on a contact pays, by CHURN_CONTACT_COST, CHURN_SAVED_VALUE and CHURN_SAVE_RATE.
    """

    feature_date: dt.date
    users: int
    predicted_churn: int
    mean_churn_probability: float
    expected_churn: float
    worth_contacting: int
    contact_threshold: float


@dataclass(frozen=True)
class Status:
    """Everything that ``churn status`` shows; ``days`` is what is odd about the days of the events."""

    tables: list[TableStatus] = field(default_factory=list)
    model: ModelStatus | None = None
    scores: ScoreStatus | None = None
    endpoint: EndpointStatus | None = None
    landing: LandingNotes | None = None
    days: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def lake_status(lake: Lakehouse, now: dt.datetime | None = None, last: LandingNotes | None = None) -> Status:
    """Look at every table that exists, the Production model, the latest scores and the landing zone.

    Args:
        lake: what is looked at.
        now: the clock; without it Bronze's stamps are not compared with it.
        last: what the last ingestion said of the landing zone, if that is known.

    Raises:
        LakeError: the lake is no folder.
    """
    root = lake.settings.lake_root
    if root.exists() and not root.is_dir():
        raise LakeError(f"The lake {root} is a file. Move it away, or set CHURN_LAKE_ROOT to a folder.")
    return Status(
        tables=[_table_status(lake, table) for table in TABLES if lake.version(table) >= 0],
        model=_model_status(lake),
        scores=_score_status(lake),
        endpoint=endpoint_status(lake.settings) if lake.settings.deployment != "databricks" else None,
        landing=_landing_notes(lake, now, last),
        days=coverage.in_words(coverage.judged(lake, now or dt.datetime.now(dt.UTC)), lake.settings),
    )


def _landing_notes(
    lake: Lakehouse, now: dt.datetime | None, last: LandingNotes | None
) -> LandingNotes | None:
    """The landing zone as it is now, with what only an ingestion could find unreadable."""
    ahead = ahead_of(lake, now) if now else dt.timedelta()
    if lake.finds_files_by == "auto loader":
        return LandingNotes.of(None, ahead)
    try:
        listing = list_files(lake.settings.landing_root)
    except LandingError:
        return LandingNotes.of(None, ahead) if ahead else None
    there = set(listing.files)
    unread = {name: reason for name, reason in (last.left_out if last else {}).items() if name in there}
    return LandingNotes.of(replace(listing, left_out=unread | listing.left_out), ahead)


def _table_status(lake: Lakehouse, table: Table) -> TableStatus:
    return TableStatus(table=lake.table_name(table), **asdict(lake.details(table)))


def _model_status(lake: Lakehouse) -> ModelStatus | None:
    from churn_assets.model.registry import registry
    from churn_assets.model.registry.quiet import quieten
    from churn_assets.model.report import place

    # Not configure first: it makes the database where there is none, and looking must leave no trace.
    quieten()
    version = registry.production_version(lake.settings)
    if version is None:
        return None
    registry.configure(lake.settings)
    import mlflow

    from churn_assets.model.data.churn_definition import ChurnDefinition

    run = mlflow.get_run(version.run_id) if version.run_id else None
    definition = ChurnDefinition.noted_in(run.data.tags) if run else None
    return ModelStatus(
        version=str(version.version),
        created_at=dt.datetime.fromtimestamp(version.creation_timestamp / 1000, dt.UTC),
        metrics=dict(run.data.metrics) if run else {},
        report=place.where(lake.settings, str(version.version), version.run_id),
        **(definition._asdict() if definition else {}),
    )


def _score_status(lake: Lakehouse) -> ScoreStatus | None:
    if lake.version(CHURN_PREDICTIONS) < 1:
        return None
    days = lake.partition_rows(CHURN_PREDICTIONS)
    if not days:
        return None
    return _scores_of(lake, max(days))


def score_metadata(lake: Lakehouse, day: dt.date) -> dict[str, Any]:
    """The scores of a date, as Dagster shows them beside its materialisation; none where there are none."""
    found = _scores_of(lake, day)
    if found is None:
        return {}
    names = ("predicted_churn", "expected_churn", "worth_contacting", "contact_threshold")
    return {name: getattr(found, name) for name in names}


def _scores_of(lake: Lakehouse, day: dt.date) -> ScoreStatus | None:
    from churn_assets.model.gate import judging

    users, sums = lake.totals(CHURN_PREDICTIONS, day, ["churn_probability", "predicted_churn"])
    if not users:
        return None
    costs = judging.costs(lake.settings)
    pays = (
        lake.rows_from(CHURN_PREDICTIONS, day, "churn_probability", costs.threshold) if costs.can_pay else 0
    )
    return ScoreStatus(
        feature_date=day,
        users=users,
        predicted_churn=int(sums["predicted_churn"]),
        mean_churn_probability=sums["churn_probability"] / users,
        expected_churn=sums["churn_probability"],
        worth_contacting=pays,
        contact_threshold=costs.threshold,
    )
