"""An import of treatments as Dagster shows it: a materialisation of the table, with its counts."""

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.lakehouse.io_manager import DATA_VERSION_TAG
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.sample.treatment_import import TreatmentReport
from churn_assets.tables import QUARANTINED_TREATMENTS, TREATMENTS, Table


def note_import(lake: Lakehouse, instance: dg.DagsterInstance, report: TreatmentReport) -> None:
    """Record what an import added: whatever reads the tables follows it."""
    counts = {
        "files": report.files,
        "rows_read": report.rows,
        "rows_known_before": report.known,
        "rows_quarantined": report.quarantined.total(),
    }
    _note(lake, instance, TREATMENTS, {"rows_written": report.new, **counts})
    if report.quarantined:
        _note(lake, instance, QUARANTINED_TREATMENTS, dict(report.quarantined))


def _note(lake: Lakehouse, instance: dg.DagsterInstance, table: Table, metadata: dict[str, int]) -> None:
    version = str(lake.version(table))
    instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key(table), metadata=metadata, tags={DATA_VERSION_TAG: version})
    )
