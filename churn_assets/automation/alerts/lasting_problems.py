"""Incidents that last until something is written: stale assets and failed checks."""

import datetime as dt
from collections.abc import Collection, Mapping

import dagster as dg

from churn_assets.assets.checks.contract import LATEST_DATE
from churn_assets.automation.alerts.incidents import Incident
from churn_assets.automation.history.log_reader import (
    PASSED,
    PLANNED,
    CheckRecord,
    latest_check_records,
    latest_check_result,
    utc,
    written_at,
)
from churn_assets.settings import Settings

STALE, CHECK = "stale ", "check "


def lasting_incidents(
    instance: dg.DagsterInstance,
    settings: Settings,
    assets: Collection[dg.AssetKey],
    checks: Collection[dg.AssetCheckKey],
    now: dt.datetime,
) -> dict[str, Incident]:
    """Return the stale assets and failed checks of now, by incident id.

    An asset is stale when Dagster's freshness daemon says so or when its last date is behind
    (``latest_date``), which together are one incident. A check counts if it failed as an error, not as a
    warning.
    """
    latest = latest_check_records(instance, checks)
    results = {key: _last_result(instance, key, record) for key, record in latest.items()}
    failed = {
        key: (record, record.evaluation)
        for key, record in results.items()
        if record
        and record.evaluation
        and not record.evaluation.passed
        and record.evaluation.severity == dg.AssetCheckSeverity.ERROR
    }
    incidents = _stale(instance, settings, assets, failed, now)
    for key, (record, evaluation) in failed.items():
        if key.name == LATEST_DATE:
            continue
        asset = key.asset_key
        id_ = f"{CHECK}{key.to_user_string()}"
        incidents[id_] = Incident(
            id=id_,
            what=f"{'.'.join(asset.path)} fails its check {key.name}",
            says=evaluation.description or "see the check's metadata",
            url=f"{_page(settings, asset)}?view=checks&checkDetail={key.name}",
            since=utc(record.create_timestamp),
            asset=asset.to_user_string(),
            last_good=_last_passed(instance, key),
        )
    return incidents


def _stale(
    instance: dg.DagsterInstance,
    settings: Settings,
    assets: Collection[dg.AssetKey],
    failed: Mapping[dg.AssetCheckKey, tuple[CheckRecord, dg.AssetCheckEvaluation]],
    now: dt.datetime,
) -> dict[str, Incident]:
    behind = {
        key.asset_key: evaluation.description or ""
        for key, (_, evaluation) in failed.items()
        if key.name == LATEST_DATE
    }
    records = instance.get_freshness_state_records(list(assets))
    late = {key for key, record in records.items() if record.freshness_state.value == "FAIL"}
    written = written_at(instance, late | set(behind))
    incidents = {}
    for asset in sorted(late | set(behind), key=lambda key: key.to_user_string()):
        says = behind.get(asset) or "its freshness policy says that it should have been written by now"
        incident = Incident(
            id=f"{STALE}{asset.to_user_string()}",
            what=f"{'.'.join(asset.path)} is stale",
            says=says,
            url=_page(settings, asset),
            since=now,
            asset=asset.to_user_string(),
            last_good=written.get(asset),
        )
        incidents[incident.id] = incident
    return incidents


def _last_result(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, latest: CheckRecord
) -> CheckRecord | None:
    """Return the last record that has a result: a check that is planned or running has none yet."""
    return latest if latest.status != PLANNED else latest_check_result(instance, check)


def _last_passed(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> dt.datetime | None:
    passed = latest_check_result(instance, check, [PASSED])
    return utc(passed.create_timestamp) if passed else None


def _page(settings: Settings, asset: dg.AssetKey) -> str:
    return f"{settings.dagster_url}/assets/{'/'.join(asset.path)}"
