"""How fresh each asset has to be, and how fresh it is: what Dagster's UI, ``churn status`` and alerts say."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import Assets
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.lakehouse.freshness import DAILY_START, DATED_TABLES, LastDate, last_date
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, MODEL_PROMOTIONS, TABLES

FRESH, SOON_STALE, STALE, UNKNOWN = "fresh", "soon stale", "stale", "unknown"


@dataclass(frozen=True)
class EveryDay:
    """Written since midnight UTC by some minutes after it. Stale from then until it is written."""

    minutes: int

    @property
    def policy(self) -> dg.FreshnessPolicy:
        """As Dagster knows it."""
        hour, minute = divmod(self.minutes, 60)
        return dg.FreshnessPolicy.cron(
            deadline_cron=f"{minute} {hour} * * *", lower_bound_delta=dt.timedelta(minutes=self.minutes)
        )

    def state(self, written: dt.datetime, now: dt.datetime) -> str:
        """What Dagster's daemon would find now."""
        midnight = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if now < midnight + dt.timedelta(minutes=self.minutes):
            midnight -= dt.timedelta(days=1)
        return FRESH if written >= midnight else STALE


@dataclass(frozen=True)
class Within:
    """Written within a time; a shorter one is a warning."""

    warn: dt.timedelta
    fail: dt.timedelta

    @property
    def policy(self) -> dg.FreshnessPolicy:
        """As Dagster knows it."""
        return dg.FreshnessPolicy.time_window(fail_window=self.fail, warn_window=self.warn)

    def state(self, written: dt.datetime, now: dt.datetime) -> str:
        """What Dagster's daemon would find now."""
        age = now - written
        return STALE if age >= self.fail else SOON_STALE if age >= self.warn else FRESH


# A day, and two or twelve hours for a slow one.
DAILY = Within(warn=dt.timedelta(hours=26), fail=dt.timedelta(hours=36))
# It is trained when there are new labels; a gate may refuse some of its successors.
MODEL = Within(warn=dt.timedelta(days=3), fail=dt.timedelta(days=8))


def expectations(settings: Settings, now: dt.datetime) -> dict[dg.AssetKey, EveryDay | Within]:
    """What is expected of each asset; nothing of a history that has ended (``CHURN_END_DATE``)."""
    if settings.end_date and settings.end_date < now.astimezone(dt.UTC).date():
        return {}
    due = EveryDay(int(DAILY_START.total_seconds()) // 60 + settings.sla_minutes)
    return {
        **{asset_key(table): DAILY for table in TABLES},
        CHURN_PREDICTION_MODEL: MODEL,
        # Looked at whenever the model is trained; it gains no row where the champion stays.
        asset_key(MODEL_PROMOTIONS): MODEL,
        ONLINE_USER_FEATURES: DAILY,
        asset_key(CHURN_PREDICTIONS): due,
        CHURN_PREDICTION_ENDPOINT: due,
    }


def with_freshness(assets: Assets, settings: Settings) -> Assets:
    """The assets with their freshness policies."""
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
    """Every asset of which freshness is expected: by when it was written, and by the last date it holds."""
    expected = expectations(lake.settings, now)
    written = last_written(instance, list(expected))
    dates = {asset_key(table): last_date(lake, table, now) for table in DATED_TABLES}
    return [
        _of_one(key, expectation, written.get(key), dates.get(key), now)
        for key, expectation in expected.items()
    ]


def last_written(instance: dg.DagsterInstance, keys: list[dg.AssetKey]) -> Mapping[dg.AssetKey, dt.datetime]:
    """When each asset was materialised last; those that never were are left out."""
    found = instance.get_latest_materialization_events(keys)
    return {key: dt.datetime.fromtimestamp(entry.timestamp, dt.UTC) for key, entry in found.items() if entry}


def _of_one(
    key: dg.AssetKey,
    expectation: EveryDay | Within,
    written: dt.datetime | None,
    held: LastDate | None,
    now: dt.datetime,
) -> Freshness:
    name = ".".join(key.path)
    if written is None:
        return Freshness(name, UNKNOWN, None, "never materialised")
    state = expectation.state(written, now)
    says: list[Any] = []
    if state != FRESH:
        says.append(f"last written {written:%Y-%m-%d %H:%M} UTC")
    if held and not held.is_fresh:
        state = STALE
        says.append(held.says)
    return Freshness(name, state, written, "; ".join(says))
