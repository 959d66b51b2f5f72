"""``churn import --treatments``: who was contacted, when and how."""

from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.console import out

if TYPE_CHECKING:
    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.sample.csv_dialect import CsvOptions
    from churn_assets.sample.treatment_import import TreatmentMapping, TreatmentReport


def import_treatments(
    lake: "Lakehouse",
    files: list[Path],
    mapping: "TreatmentMapping",
    written: "CsvOptions",
    *,
    dry_run: bool,
) -> None:
    """Import files of treatments, record that in Dagster's history, and print the counts."""
    from churn_assets.sample import treatment_import

    report = treatment_import.import_treatments(lake, files, mapping, written=written, dry_run=dry_run)
    if not dry_run and (report.new or report.quarantined):
        from churn_assets.automation.history.imported_treatments import note_import
        from churn_assets.automation.history.instance import dagster_instance

        with dagster_instance(lake.settings) as instance:
            note_import(lake, instance, report)
    _print(lake, report, dry_run=dry_run)


def _print(lake: "Lakehouse", report: "TreatmentReport", *, dry_run: bool) -> None:
    from churn_assets.tables import QUARANTINED_TREATMENTS, TREATMENTS

    for note in report.notes:
        _say(f"  written as   {note}")
    if dry_run:
        _say(f"{report.new:,} of {report.rows:,} rows are treatments, new or not; nothing was written.")
    else:
        _say(
            f"{report.rows:,} rows of {report.files} files: {report.new:,} new treatments in "
            f"{lake.table_name(TREATMENTS)}, {report.known:,} were known before."
        )
    if report.quarantined:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in report.quarantined.most_common())
        place = "" if dry_run else f" in {lake.table_name(QUARANTINED_TREATMENTS)}"
        _say(f"{report.quarantined.total():,} rows are none{place}: {reasons}.")
    _say(
        "A dry run. If this is right, say it again without --dry-run."
        if dry_run
        else "Next: churn run measures what the contacts changed, once the horizon of their lists is over."
    )


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)
