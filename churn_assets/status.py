"""The state of the lake, from its tables' metadata and the model registry; a folder lake needs no engine."""

import datetime as dt
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from churn_assets.errors import LakeError, LandingError
from churn_assets.lakehouse import coverage
from churn_assets.lakehouse.file_ledger import ahead_of
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_notes import LandingNotes
from churn_assets.serving.rollout.endpoint_status import EndpointStatus, endpoint_status
from churn_assets.tables import ASSET_TABLES, CHURN_PREDICTIONS, RETENTION_LIST, Table


@dataclass(frozen=True)
class TableStatus:
    """One table: rows, first and last partition date, Delta version, bytes, and last change (UTC)."""

    table: str
    rows: int
    first_date: dt.date | None
    last_date: dt.date | None
    version: int
    bytes: int
    changed_at: dt.datetime


@dataclass(frozen=True)
class ModelStatus:
    """The Production model: its version, when it was registered, its holdout metrics and its report.

    ``horizon_days`` is the horizon of its labels in days, and ``label_event_types`` are the events that
    counted; None if its training did not record them. ``report`` is a file of this lake, or a URI in MLflow.
    """

    version: str
    created_at: dt.datetime
    metrics: dict[str, float]
    report: str = ""
    horizon_days: int | None = None
    label_event_types: str | None = None


@dataclass(frozen=True)
class ScoreStatus:
    """The predictions of the latest feature_date.

    ``predicted_churn`` counts users with a probability of at least 0.5, ``expected_churn`` is the sum of all
    probabilities, and ``worth_contacting`` are the users at or above ``contact_threshold``: the probability
    from which on a contact pays, by CHURN_CONTACT_COST, CHURN_SAVED_VALUE and ``save_rate``: the measured
    one, or CHURN_SAVE_RATE. So does the gate count, to which every user is worth the same; the list of whom
    to contact values each by what they spent, and so names others. ``save_rate_says`` says which save rate
    it is, and ``has_outcomes`` whether contacts are known.
    """

    feature_date: dt.date
    users: int
    predicted_churn: int
    mean_churn_probability: float
    expected_churn: float
    worth_contacting: int
    contact_threshold: float
    save_rate: float
    save_rate_says: str
    has_outcomes: bool


@dataclass(frozen=True)
class ListStatus:
    """The last list of whom to contact: users of both groups, and a line for each list not delivered."""

    feature_date: dt.date
    users: int
    undelivered: list[str]


@dataclass(frozen=True)
class Status:
    """Everything that ``churn status`` shows; ``days`` are warnings about the days of the events."""

    tables: list[TableStatus] = field(default_factory=list)
    model: ModelStatus | None = None
    scores: ScoreStatus | None = None
    retention: ListStatus | None = None
    endpoint: EndpointStatus | None = None
    landing: LandingNotes | None = None
    days: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def lake_status(lake: Lakehouse, now: dt.datetime | None = None, last: LandingNotes | None = None) -> Status:
    """Return the state of all tables, the Production model, the latest scores and the landing zone.

    Args:
        lake: the lake.
        now: the clock; without it, Bronze's timestamps are not compared with it.
        last: the last ingestion's notes on the landing zone, if known.

    Raises:
        LakeError: the lake is no folder.
    """
    root = lake.settings.lake_root
    if root.exists() and not root.is_dir():
        raise LakeError(f"The lake {root} is a file. Move it away, or set CHURN_LAKE_ROOT to a folder.")
    return Status(
        tables=[_table_status(lake, table) for table in ASSET_TABLES if lake.version(table) >= 0],
        model=_model_status(lake),
        scores=_score_status(lake),
        retention=_list_status(lake),
        endpoint=endpoint_status(lake.settings) if not lake.is_remote else None,
        landing=_landing_notes(lake, now, last),
        days=coverage.in_words(coverage.covered_days(lake, now or dt.datetime.now(dt.UTC)), lake.settings),
    )


def _landing_notes(
    lake: Lakehouse, now: dt.datetime | None, last: LandingNotes | None
) -> LandingNotes | None:
    """Return notes on the landing zone of now, with files that only the last ingestion knew as unreadable."""
    ahead = ahead_of(lake, now) if now else dt.timedelta()
    if lake.finds_files_by == "auto loader":
        return LandingNotes.of(None, ahead)
    try:
        listing = list_files(lake.settings.landing_root)
    except LandingError:
        return LandingNotes.of(None, ahead) if ahead else None
    landed = set(listing.files)
    unread = {name: reason for name, reason in (last.left_out if last else {}).items() if name in landed}
    return LandingNotes.of(replace(listing, left_out=unread | listing.left_out), ahead)


def _table_status(lake: Lakehouse, table: Table) -> TableStatus:
    return TableStatus(table=lake.table_name(table), **asdict(lake.details(table)))


def _model_status(lake: Lakehouse) -> ModelStatus | None:
    from churn_assets.model.data.churn_definition import ChurnDefinition
    from churn_assets.model.registry import registry
    from churn_assets.model.report import location

    found = registry.production(lake.settings)
    if found is None:
        return None
    definition = ChurnDefinition.from_tags(found.tags)
    return ModelStatus(
        version=found.version,
        created_at=found.created_at,
        metrics=found.metrics,
        report=location.report_location(lake.settings, found.version, found.run_id),
        **(definition._asdict() if definition else {}),
    )


def _score_status(lake: Lakehouse) -> ScoreStatus | None:
    if lake.version(CHURN_PREDICTIONS) < 1:
        return None
    days = lake.partition_rows(CHURN_PREDICTIONS)
    if not days:
        return None
    return _scores_of(lake, max(days))


def _list_status(lake: Lakehouse) -> ListStatus | None:
    if lake.version(RETENTION_LIST) < 1:
        return None
    from churn_assets.retention.lists import computed_dates

    dates = computed_dates(lake)
    if not dates:
        return None
    late: list[str] = []
    if lake.settings.delivers:
        from churn_assets.retention.deliveries import undelivered

        late = undelivered(lake)
    return ListStatus(dates[-1], lake.partition_rows(RETENTION_LIST).get(dates[-1], 0), late)


def score_metadata(lake: Lakehouse, day: dt.date) -> dict[str, Any]:
    """Return a date's scores as metadata of its materialisation, empty if it has none."""
    scores = _scores_of(lake, day)
    if scores is None:
        return {}
    names = ("predicted_churn", "expected_churn", "worth_contacting", "contact_threshold", "save_rate_says")
    return {name: getattr(scores, name) for name in names}


def _scores_of(lake: Lakehouse, day: dt.date) -> ScoreStatus | None:
    from churn_assets.model.metrics.evaluation import CostMatrix
    from churn_assets.retention.save_rate import save_rate_of

    users, sums = lake.totals(CHURN_PREDICTIONS, day, ["churn_probability", "predicted_churn"])
    if not users:
        return None
    save_rate = save_rate_of(lake)
    costs = CostMatrix.of(lake.settings, save_rate.rate)
    pays = (
        lake.count_at_least(CHURN_PREDICTIONS, day, "churn_probability", costs.threshold)
        if costs.can_pay
        else 0
    )
    return ScoreStatus(
        feature_date=day,
        users=users,
        predicted_churn=int(sums["predicted_churn"]),
        mean_churn_probability=sums["churn_probability"] / users,
        expected_churn=sums["churn_probability"],
        worth_contacting=pays,
        contact_threshold=costs.threshold,
        save_rate=save_rate.rate,
        save_rate_says=save_rate.says,
        has_outcomes=save_rate.has_outcomes,
    )
