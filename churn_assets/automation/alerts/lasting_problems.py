"""What is wrong as long as it is: stale assets and failed checks."""

import datetime as dt
from collections.abc import Collection
from typing import Any

import dagster as dg

from churn_assets.assets.checks.contract import LATEST_DATE
from churn_assets.automation.alerts.incidents import Incident
from churn_assets.automation.staleness.freshness import last_written
from churn_assets.settings import Settings

STALE, CHECK = "stale ", "check "


def standing_incidents(
    instance: dg.DagsterInstance,
    settings: Settings,
    assets: Collection[dg.AssetKey],
    checks: Collection[dg.AssetCheckKey],
    now: dt.datetime,
) -> dict[str, Incident]:
    """Everything of these two kinds that is wrong now, by id.

    An asset is stale when Dagster's freshness daemon says so, or when its last date is behind
    (``latest_date``): one incident, whichever is found first. Of checks only errors count, no warnings.
    """
    evaluated = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    results = {key: _last_result(instance, key, record) for key, record in evaluated.items()}
    failed = {
        key: record.evaluation
        for key, record in results.items()
        if record
        and record.evaluation
        and not record.evaluation.passed
        and record.evaluation.severity == dg.AssetCheckSeverity.ERROR
    }
    found = _stale(instance, settings, assets, failed, now)
    for key, evaluation in failed.items():
        if key.name == LATEST_DATE:
            continue
        asset = key.asset_key
        found[f"{CHECK}{key.to_user_string()}"] = Incident(
            id=f"{CHECK}{key.to_user_string()}",
            what=f"{'.'.join(asset.path)} fails its check {key.name}",
            says=evaluation.description or "see the check's metadata",
            url=f"{_page(settings, asset)}?view=checks&checkDetail={key.name}",
            since=_at(results[key]),
            asset=asset.to_user_string(),
            last_good=_last_passed(instance, key),
        )
    return found


def _stale(
    instance: dg.DagsterInstance,
    settings: Settings,
    assets: Collection[dg.AssetKey],
    failed: dict[dg.AssetCheckKey, dg.AssetCheckEvaluation],
    now: dt.datetime,
) -> dict[str, Incident]:
    behind = {key.asset_key: one.description or "" for key, one in failed.items() if key.name == LATEST_DATE}
    records = instance.get_freshness_state_records(list(assets))
    late = {key for key, record in records.items() if record.freshness_state.value == "FAIL"}
    written = last_written(instance, list(late | set(behind)))
    found = {}
    for asset in sorted(late | set(behind), key=lambda key: key.to_user_string()):
        says = behind.get(asset) or "its freshness policy says that it should have been written by now"
        one = Incident(
            id=f"{STALE}{asset.to_user_string()}",
            what=f"{'.'.join(asset.path)} is stale",
            says=says,
            url=_page(settings, asset),
            since=now,
            asset=asset.to_user_string(),
            last_good=written.get(asset),
        )
        found[one.id] = one
    return found


def _last_result(instance: dg.DagsterInstance, key: dg.AssetCheckKey, latest: Any) -> Any:
    """The result that stands: one that is planned or running has none yet."""
    if latest.status.value != "PLANNED":
        return latest
    done = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status={type(latest.status).SUCCEEDED, type(latest.status).FAILED}
    )
    return done[0] if done else None


def _last_passed(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> dt.datetime | None:
    latest = instance.get_latest_asset_check_evaluation_record(key)
    if latest is None:
        return None
    passed = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status={type(latest.status).SUCCEEDED}
    )
    return _at(passed[0]) if passed else None


def _at(record: Any) -> dt.datetime:
    return dt.datetime.fromtimestamp(record.create_timestamp, dt.UTC)


def _page(settings: Settings, asset: dg.AssetKey) -> str:
    return f"{settings.dagster_url.rstrip('/')}/assets/{'/'.join(asset.path)}"
