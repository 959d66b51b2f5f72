"""How fresh each asset has to be, by its last write and the last date that it holds.

Without Dagster, whose import takes a second, so that ``churn status`` need not wait for it.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.asset_paths import ENDPOINT, MODEL, ONLINE_FEATURES, AssetPath, asset_path
from churn_assets.lakehouse.freshness import DAILY_START, DATED_TABLES, LastDate, last_date
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, DELIVERIES, MODEL_PROMOTIONS, TABLES

if TYPE_CHECKING:
    import dagster as dg

FRESH, SOON_STALE, STALE, UNKNOWN = "fresh", "soon stale", "stale", "unknown"


@dataclass(frozen=True)
class EveryDay:
    """A daily deadline, in minutes after midnight UTC, to have been written since midnight."""

    minutes: int

    @property
    def policy(self) -> "dg.FreshnessPolicy":
        """The same as one of Dagster's policies."""
        import dagster as dg

        hour, minute = divmod(self.minutes, 60)
        return dg.FreshnessPolicy.cron(
            deadline_cron=f"{minute} {hour} * * *", lower_bound_delta=dt.timedelta(minutes=self.minutes)
        )

    def state(self, written: dt.datetime, now: dt.datetime) -> str:
        """Return the state that Dagster's daemon would report now."""
        midnight = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if now < midnight + dt.timedelta(minutes=self.minutes):
            midnight -= dt.timedelta(days=1)
        return FRESH if written >= midnight else STALE


@dataclass(frozen=True)
class Within:
    """The longest time since an asset was written: stale from ``fail`` on, a warning from ``warn`` on."""

    warn: dt.timedelta
    fail: dt.timedelta

    @property
    def policy(self) -> "dg.FreshnessPolicy":
        """The same as one of Dagster's policies."""
        import dagster as dg

        return dg.FreshnessPolicy.time_window(fail_window=self.fail, warn_window=self.warn)

    def state(self, written: dt.datetime, now: dt.datetime) -> str:
        """Return the state that Dagster's daemon would report now."""
        age = now - written
        return STALE if age >= self.fail else SOON_STALE if age >= self.warn else FRESH


# A day, and two or twelve hours for a slow one.
DAILY = Within(warn=dt.timedelta(hours=26), fail=dt.timedelta(hours=36))
# It is trained when there are new labels, and the gate may refuse some versions.
MODEL_OF_THE_WEEK = Within(warn=dt.timedelta(days=3), fail=dt.timedelta(days=8))


def expected_freshness(settings: Settings, now: dt.datetime) -> dict[AssetPath, EveryDay | Within]:
    """Return what is expected of each asset, nothing if the history has ended (``CHURN_END_DATE``)."""
    if settings.end_date and settings.end_date < now.astimezone(dt.UTC).date():
        return {}
    due = EveryDay(int(DAILY_START.total_seconds()) // 60 + settings.sla_minutes)
    # Nobody expects lists to be handed over where nobody is to get them.
    tables = [table for table in TABLES if table is not DELIVERIES or settings.delivers]
    return {
        **{asset_path(table): DAILY for table in tables},
        MODEL: MODEL_OF_THE_WEEK,
        # Materialised whenever the model is trained, though it gains no row if the champion stays.
        asset_path(MODEL_PROMOTIONS): MODEL_OF_THE_WEEK,
        ONLINE_FEATURES: DAILY,
        asset_path(CHURN_PREDICTIONS): due,
        ENDPOINT: due,
    }


@dataclass(frozen=True)
class Freshness:
    """One asset: "fresh", "soon stale", "stale" or "unknown", when it was written last (UTC), and why."""

    asset: str
    state: str
    written_at: dt.datetime | None
    says: str


def found_freshness(
    lake: Lakehouse, written: Mapping[AssetPath, dt.datetime], now: dt.datetime
) -> list[Freshness]:
    """Return the state of every asset of which something is expected.

    Args:
        lake: for the last date that each table holds.
        written: when each asset was last materialised.
        now: the clock.
    """
    dates = {asset_path(table): last_date(lake, table, now) for table in DATED_TABLES}
    return [
        _state_of(path, expectation, written.get(path), dates.get(path), now)
        for path, expectation in expected_freshness(lake.settings, now).items()
    ]


def _state_of(
    path: AssetPath,
    expectation: EveryDay | Within,
    written: dt.datetime | None,
    last: LastDate | None,
    now: dt.datetime,
) -> Freshness:
    name = ".".join(path)
    if written is None:
        return Freshness(name, UNKNOWN, None, "never materialised")
    state = expectation.state(written, now)
    reasons: list[str] = []
    if state != FRESH:
        reasons.append(f"last written {written:%Y-%m-%d %H:%M} UTC")
    if last and not last.is_fresh:
        state = STALE
        reasons.append(last.says)
    return Freshness(name, state, written, "; ".join(reasons))
