"""``churn import``: bring an event log into the landing zone, or take an import back."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.commands.treatments import import_treatments
from churn_assets.console import out
from churn_assets.errors import LandingError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.sample.import_records import ImportRecords
    from churn_assets.sample.import_report import ImportReport, Summary
    from churn_assets.settings import Settings

SHOWN_EVENT_TYPES = 10


def import_(  # noqa: PLR0913, PLR0917 - one parameter an option
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(help="CSV, Parquet or JSON lines; .gz too. With --undo, an import.")
    ] = None,
    user_id: Annotated[
        str | None, typer.Option(help="Column, or SQL in parentheses: an integer id. Required.")
    ] = None,
    event_ts: Annotated[
        str | None, typer.Option(help="Column, or SQL in parentheses: when it happened, UTC. Required.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option(help="Column or columns, comma-separated; without it, made of what the event says."),
    ] = None,
    event_type: Annotated[str | None, typer.Option(help="Column, =VALUE, or SQL in parentheses.")] = None,
    country: Annotated[str | None, typer.Option(help="Column, =VALUE, or SQL in parentheses.")] = None,
    amount: Annotated[
        str | None, typer.Option(help="Column, =VALUE, or SQL in parentheses: what the event was worth.")
    ] = None,
    hash_user_id: Annotated[
        bool, typer.Option("--hash-user-id", help="For ids that are not integers.")
    ] = False,
    delimiter: Annotated[str | None, typer.Option(help="Of CSV: what is between fields.")] = None,
    quote: Annotated[str | None, typer.Option(help="Of CSV: what is around fields; '' for nothing.")] = None,
    escape: Annotated[str | None, typer.Option(help="Of CSV: what is before a quote in a field.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of text files, such as cp1252.")] = None,
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Of CSV. Without one: column1, column2 …"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show ten mapped rows; land nothing.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back the last import, or the one that is named.")
    ] = False,
    treatments: Annotated[
        bool,
        typer.Option(
            "--treatments", help="Whom you contacted: user_id or source_user_id, treated_at, channel."
        ),
    ] = False,
    channel: Annotated[
        str | None, typer.Option(help="Of treatments: column or =VALUE, such as =email.")
    ] = None,
    cost: Annotated[str | None, typer.Option(help="Of treatments: column or =VALUE.")] = None,
) -> None:
    """Bring your own event log into the landing zone; rows that are imported again add nothing."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.sample.csv_dialect import CsvOptions
    from churn_assets.sample.import_records import ImportRecords
    from churn_assets.sample.treatment_import import TreatmentMapping

    settings = current_settings()
    lake = lakehouse(settings)
    of_events = {
        "--event-id": event_id,
        "--event-type": event_type,
        "--country": country,
        "--amount": amount,
        "--hash-user-id": hash_user_id,
        "--undo": undo,
    }
    of_treatments = {"--channel": channel, "--cost": cost}
    _require_of_one_kind(context, of_events, of_treatments, treatments=treatments)
    written = CsvOptions(delimiter, quote, escape, encoding, header)
    if treatments:
        if not files:
            raise typer.BadParameter("Give files.", context)
        mapping = TreatmentMapping(user_id, event_ts, channel, cost)
        import_treatments(lake, files, mapping, written, dry_run=dry_run)
        return
    records = ImportRecords(settings.lake_root / "_imports")
    if undo:
        _undo(lake, records, [str(name) for name in files or []], context)
        return
    if not files or user_id is None or event_ts is None:
        raise typer.BadParameter("Give files, --user-id and --event-ts.", context)

    from churn_assets.sample.importer import import_files

    simulated = _simulated(settings)
    with console.progress_bar("importing") as advance:
        report = import_files(
            files,
            settings.landing_root,
            lambda: lake.spark,
            user_id=user_id,
            event_ts=event_ts,
            event_id=event_id,
            event_type=event_type,
            country=country,
            amount=amount,
            hash_user_id=hash_user_id,
            written=written,
            dry_run=dry_run,
            bronze=lambda: _bronze(lake),
            records=records,
            earliest=settings.earliest_event,
            progress=advance,
        )
    if dry_run:
        _print_rows(report)
    would = "Would land" if dry_run else "Landed"
    _say(
        f"{would} {report.rows:,} rows of {report.files} files in {settings.landing_root}; "
        f"{report.already_landed} files had landed before. {_to_be_quarantined(report)}"
    )
    _print_check(report, event_ts, "to land" if dry_run else "landed")
    for warning in [*report.warnings, *simulated]:
        _say(f"Warning: {warning}")
    _print_next(report, settings, dry_run)


def _require_of_one_kind(
    context: typer.Context,
    of_events: Mapping[str, object],
    of_treatments: Mapping[str, object],
    *,
    treatments: bool,
) -> None:
    others = of_events if treatments else of_treatments
    if given := [option for option, value in others.items() if value]:
        kind = "events, and these are treatments" if treatments else "treatments: say --treatments"
        raise typer.BadParameter(f"{', '.join(given)}: of {kind}.", context)


def _undo(lake: "Lakehouse", records: "ImportRecords", names: list[str], context: typer.Context) -> None:
    from churn_assets.tables import LANDED_EVENTS

    if len(names) > 1:
        raise typer.BadParameter("--undo takes back one import at a time.", context)

    def ingested(files: set[str]) -> set[str]:
        bronze = _bronze(lake)
        rows = bronze.select("_source_file").distinct().collect() if bronze else []
        return files & {row[0] for row in rows}

    with lake.lock(LANDED_EVENTS):
        record, removed = records.undo(next(iter(names), None), lake.settings.landing_root, ingested)
    _say(f"Took back import {record.name}: {removed} files are no longer in {record.landing}.")


def _bronze(lake: "Lakehouse") -> "DataFrame | None":
    from churn_assets.tables import LANDED_EVENTS

    return lake.read(LANDED_EVENTS) if lake.version(LANDED_EVENTS) > 0 else None


def _simulated(settings: "Settings") -> list[str]:
    from churn_assets.sample.follow import simulated_days

    try:
        days = simulated_days(settings.landing_root)
    except LandingError:
        return []
    if not days:
        return []
    warning = (
        f"the landing zone holds simulated events of {days.start} to {days.end}, and users 1, 2, 3 of both "
        "become one. Use another lake (CHURN_LAKE_ROOT), or remove the simulated files before churn run."
    )
    return [warning]


def _print_rows(report: "ImportReport") -> None:
    import orjson

    from churn_assets.sample.event_lines import FIELDS

    table = RichTable(box=None, pad_edge=False)
    lines = [orjson.loads(line) for line in report.first_lines]
    fields = [name for name in FIELDS if any(name in line for line in lines)]
    for name in fields:
        table.add_column(name, no_wrap=True)
    for line in lines:
        table.add_row(*(escape(str(line.get(name, ""))) for name in fields))
    out.print(table)


def _print_check(report: "ImportReport", event_ts: str, landed: str) -> None:
    """Print the counts and dates that show whether the options were right."""
    for note in report.notes:
        _say(f"  written as   {note}")
    summary = report.summary
    if not summary:
        return
    skipped = f"; {report.held:,} had been landed by an older version" if report.held else ""
    _say(f"  rows         {summary.rows_read:,} read, {report.rows:,} {landed}{skipped}")
    if units := _units(summary):
        _say(f"  times        {event_ts} holds epoch {units}")
    if summary.first and summary.last:
        _say(f"  first event  {summary.first:%Y-%m-%d %H:%M:%S} UTC")
        _say(f"  last event   {summary.last:%Y-%m-%d %H:%M:%S} UTC")
    _say(f"  users        {len(summary.users):,}")
    types = summary.event_types.most_common()
    shown = ", ".join(f"{name} {count:,}" for name, count in types[:SHOWN_EVENT_TYPES])
    more = f" and {len(types) - SHOWN_EVENT_TYPES:,} more" if len(types) > SHOWN_EVENT_TYPES else ""
    _say(f"  event types  {shown or 'none'}{more}")


def _units(summary: "Summary") -> str:
    units = [(unit, count) for unit, count in summary.epoch_units.most_common() if unit != "unknown"]
    if len(units) == 1:
        return units[0][0]
    return ", ".join(f"{unit} in {count:,} rows" for unit, count in units)


def _to_be_quarantined(report: "ImportReport") -> str:
    missing = {
        "event_id": report.without_event_id,
        "user_id": report.without_user_id,
        "usable event_ts": report.without_event_ts,
    }
    lacks = ", ".join(f"{count:,} without {name}" for name, count in missing.items() if count)
    return (
        f"They will be quarantined where they lack something: {lacks}." if lacks else "None lacks anything."
    )


def _print_next(report: "ImportReport", settings: "Settings", dry_run: bool) -> None:
    if dry_run:
        _say("A dry run: nothing has landed. If this is right, say it again without --dry-run.")
        return
    if report.name and report.rows:
        _say(f"If this is not right, before churn run: churn import --undo {report.name}")
    first = report.summary.first if report.summary else None
    if first and _should_start(first.date(), settings):
        _say(f"Next: set CHURN_START_DATE={first.date()} (it is {settings.start_date}), then: churn run")
    else:
        _say("Next: churn run")


def _should_start(first: dt.date, settings: "Settings") -> bool:
    """Whether CHURN_START_DATE should be set: it misses the first day of the data and was not chosen to."""
    is_chosen = "start_date" in settings.model_fields_set
    return first < settings.start_date or (first > settings.start_date and not is_chosen)


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)
