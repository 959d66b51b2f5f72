"""How fresh each asset has to be, and is, for Dagster's UI, ``churn status`` and alerts."""

import datetime as dt
from dataclasses import dataclass

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import Assets
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.history.log_reader import written_at
from churn_assets.lakehouse.freshness import DAILY_START, DATED_TABLES, LastDate, last_date
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, MODEL_PROMOTIONS, TABLES

FRESH, SOON_STALE, STALE, UNKNOWN = "fresh", "soon stale", "stale", "unknown"


@dataclass(frozen=True)
class EveryDay:
    """A daily deadline, in minutes after midnight UTC, to have been written since midnight."""

    minutes: int

    @property
    def policy(self) -> dg.FreshnessPolicy:
        """The same as one of Dagster's policies."""
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
    def policy(self) -> dg.FreshnessPolicy:
        """The same as one of Dagster's policies."""
        return dg.FreshnessPolicy.time_window(fail_window=self.fail, warn_window=self.warn)

    def state(self, written: dt.datetime, now: dt.datetime) -> str:
        """Return the state that Dagster's daemon would report now."""
        age = now - written
        return STALE if age >= self.fail else SOON_STALE if age >= self.warn else FRESH


# A day, and two or twelve hours for a slow one.
DAILY = Within(warn=dt.timedelta(hours=26), fail=dt.timedelta(hours=36))
# It is trained when there are new labels, and the gate may refuse some versions.
MODEL = Within(warn=dt.timedelta(days=3), fail=dt.timedelta(days=8))


def expectations(settings: Settings, now: dt.datetime) -> dict[dg.AssetKey, EveryDay | Within]:
    """Return what is expected of each asset, nothing if the history has ended (``CHURN_END_DATE``)."""
    if settings.end_date and settings.end_date < now.astimezone(dt.UTC).date():
        return {}
    due = EveryDay(int(DAILY_START.total_seconds()) // 60 + settings.sla_minutes)
    return {
        **{asset_key(table): DAILY for table in TABLES},
        CHURN_PREDICTION_MODEL: MODEL,
        # Materialised whenever the model is trained, though it gains no row if the champion stays.
        asset_key(MODEL_PROMOTIONS): MODEL,
        ONLINE_USER_FEATURES: DAILY,
        asset_key(CHURN_PREDICTIONS): due,
        CHURN_PREDICTION_ENDPOINT: due,
    }


def with_freshness(assets: Assets, settings: Settings) -> Assets:
    """Return the assets with their freshness policies."""
    expected = expectations(settings, dt.datetime.now(dt.UTC))

    def add(spec: dg.AssetSpec) -> dg.AssetSpec:
        expectation = expected.get(spec.key)
        return spec.replace_attributes(freshness_policy=expectation.policy) if expectation else spec

    return list(dg.map_asset_specs(add, assets))


@dataclass(frozen=True)
class Freshness:
    """One asset: "fresh", "soon stale", "stale" or "unknown", when it was written last (UTC), and why."""

    asset: str
    state: str
    written_at: dt.datetime | None
    says: str


def freshness(lake: Lakehouse, instance: dg.DagsterInstance, now: dt.datetime) -> list[Freshness]:
    """Return the state of every asset with a policy, by its last write and the last date that it holds."""
    expected = expectations(lake.settings, now)
    written = written_at(instance, list(expected))
    dates = {asset_key(table): last_date(lake, table, now) for table in DATED_TABLES}
    return [
        _state_of(key, expectation, written.get(key), dates.get(key), now)
        for key, expectation in expected.items()
    ]


def _state_of(
    key: dg.AssetKey,
    expectation: EveryDay | Within,
    written: dt.datetime | None,
    last: LastDate | None,
    now: dt.datetime,
) -> Freshness:
    name = ".".join(key.path)
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
