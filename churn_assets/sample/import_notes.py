"""The notes and warnings of an import beside its figures."""

import re
from collections.abc import Iterable

from churn_assets.sample.event_mapping import EventMapping
from churn_assets.sample.import_records import ImportRecords
from churn_assets.sample.import_report import ImportReport, Summary
from churn_assets.sample.source_files import SourceFile

PURCHASE = "purchase"
# What logs call a purchase, and what they call the steps before and after one.
SOUNDS_LIKE_ONE = re.compile(
    r"purchas|order|transaction|buy|bought|checkout|paid|payment|sale|conversion|invoice", re.I
)
BUT_IS_NONE = re.compile(
    r"cancel|refund|return|fail|declin|abandon|start|began|begin|view|pending|void|add|remov|updat", re.I
)


def dialect_notes(sources: Iterable[SourceFile]) -> list[str]:
    """Return one line for each dialect other than comma-separated UTF-8 with a header."""
    by_way: dict[str, list[SourceFile]] = {}
    for source in sources:
        if source.written:
            by_way.setdefault(source.written, []).append(source)
    return [
        f"{files[0].name}{f' and {len(files) - 1} more' if len(files) > 1 else ''}: {way}"
        for way, files in by_way.items()
    ]


def mapping_warnings(
    records: ImportRecords | None, sources: Iterable[str], mapping: EventMapping
) -> list[str]:
    """Warn if one of the sources, by its sha256, was imported with other options before."""
    wanted = set(sources)
    others = [
        record
        for record in (records.all() if records else [])
        if EventMapping(**record.mapping) != mapping and wanted & set(record.files.values())
    ]
    if not others:
        return []
    count = len(wanted & {sha for record in others for sha in record.files.values()})
    warning = (
        f"{count} of these files landed before with other options, so their rows may count twice. "
        f"If that import was wrong: churn import --undo {others[-1].name}"
    )
    return [warning]


def row_warnings(report: ImportReport, mapping: EventMapping) -> list[str]:
    """Warn of implausible times, unreadable numbers and a missing purchase."""
    summary = report.summary
    if not summary:
        return []
    warnings = []
    for name, count, limit in (
        ("before", summary.too_early, summary.earliest),
        ("after", summary.too_late, summary.latest),
    ):
        if count:
            example = summary.odd_times[name]
            warnings.append(
                f"{count:,} rows have a time {name} {limit:%Y-%m-%d}, such as {example:%Y-%m-%d %H:%M:%S}. "
                "They will be quarantined; if they are many, --event-ts is of another unit or format."
            )
    if odd := summary.epoch_units["unknown"]:
        warnings.append(f"{odd:,} rows have a number as event_ts that says no time from 2000 to 2100.")
    if bad := report.unreadable_amounts:
        warnings.append(
            f"{bad:,} rows have an amount that is no number such as 12.5; their events will have none. If "
            "they are many, --amount is another column, or has to be made a number by SQL."
        )
    if summary.rows_read and not summary.event_types[PURCHASE]:
        warnings.append(_no_purchase(summary, mapping))
    return warnings


def _no_purchase(summary: Summary, mapping: EventMapping) -> str:
    """Return the option that maps the log's purchases, ready to be pasted."""
    option = mapping.event_type
    if option is None or option.startswith("="):
        return "no event is called purchase. If each row is one: --event-type =purchase"
    sounding = [
        name
        for name, _ in summary.event_types.most_common()
        if SOUNDS_LIKE_ONE.search(name) and not BUT_IS_NONE.search(name)
    ]
    value = option[1:-1] if option.startswith("(") else _as_sql(option)
    quoted = ", ".join(
        "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'" for name in sounding or ["..."]
    )
    test = f"= {quoted}" if len(sounding) <= 1 else f"IN ({quoted})"
    sql = f"(CASE WHEN {value} {test} THEN '{PURCHASE}' ELSE {value} END)"
    return f"no event is called purchase. To have it so: --event-type {_for_the_shell(sql)}"


def _as_sql(column: str) -> str:
    return column if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column) else f"`{column.replace('`', '``')}`"


def _for_the_shell(text: str) -> str:
    """Quote for the shell, in double quotes as the text has many single ones."""
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'
