"""The expected freshness as Dagster's policies, and the found one by Dagster's history."""

import datetime as dt

import dagster as dg

from churn_assets.assets.common import Assets
from churn_assets.automation.history.log_reader import written_at
from churn_assets.automation.staleness.expectations import (
    DAILY,
    FRESH,
    SOON_STALE,
    STALE,
    UNKNOWN,
    EveryDay,
    Freshness,
    Within,
    expected_freshness,
    found_freshness,
)
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings

__all__ = [
    "DAILY",
    "FRESH",
    "SOON_STALE",
    "STALE",
    "UNKNOWN",
    "EveryDay",
    "Freshness",
    "Within",
    "expectations",
    "freshness",
    "with_freshness",
]


def expectations(settings: Settings, now: dt.datetime) -> dict[dg.AssetKey, EveryDay | Within]:
    """Return what is expected of each asset, by its key."""
    return {dg.AssetKey(path): expected for path, expected in expected_freshness(settings, now).items()}


def with_freshness(assets: Assets, settings: Settings) -> Assets:
    """Return the assets with their freshness policies."""
    expected = expectations(settings, dt.datetime.now(dt.UTC))

    def add(spec: dg.AssetSpec) -> dg.AssetSpec:
        expectation = expected.get(spec.key)
        return spec.replace_attributes(freshness_policy=expectation.policy) if expectation else spec

    return list(dg.map_asset_specs(add, assets))


def freshness(lake: Lakehouse, instance: dg.DagsterInstance, now: dt.datetime) -> list[Freshness]:
    """Return the state of every asset with a policy, by its last write and the last date that it holds."""
    keys = list(expectations(lake.settings, now))
    written = {tuple(key.path): when for key, when in written_at(instance, keys).items()}
    return found_freshness(lake, written, now)
