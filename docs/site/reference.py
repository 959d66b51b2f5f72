"""The reference pages, made of the code: tables of contracts, commands of options, metrics of the server.

    .venv/bin/python docs/site/reference.py

writes them; ``--check`` says which are not what the code says, and ends with 1 if one is not.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from churn_assets.cli import app
from churn_assets.contracts import FROM_THE_START, Column, Reads, Table
from churn_assets.serving.server.metrics import Metrics
from churn_assets.tables import ALL_TABLES

HERE = Path(__file__).parents[1] / "reference"
MADE = "<!-- Made by docs/site/reference.py from the code: change that, and run `make docs`. -->\n\n"


def tables() -> str:
    """Return the page of all tables."""
    head = (
        "# Tables\n\n"
        + MADE
        + "Each table is a Delta table, its place `<lake>/<catalog>/<schema>/<table>` or that name in "
        "Unity Catalog. What a write breaks of this is refused.\n\n"
    )
    return head + "\n".join(_table(table) for table in ALL_TABLES)


def _table(table: Table) -> str:
    facts = [f"written: {table.write_mode.value}"]
    if table.key:
        facts.append(f"unique: {_code(table.key)}")
    if table.partition_column:
        facts.append(f"partitioned by `{table.partition_column}`")
    if table.parameters:
        facts.append(
            f"settings that change its rows: {_code(f'CHURN_{name.upper()}' for name in table.parameters)}"
        )
    if table.keeps_past:
        facts.append("past dates are history")
    facts += [f"a date reads {_reads(one)}" for one in table.reads]
    facts += [f"holds for each row: `{rule}`" for rule in table.rules]
    rows = "\n".join(_column(column) for column in table.columns)
    return (
        f"## {table}\n\n{table.comment}\n\n"
        + "\n".join(f"- {fact}" for fact in facts)
        + f"\n\n| column | type | null | meaning |\n|---|---|---|---|\n{rows}\n"
    )


def _column(column: Column) -> str:
    bounds = [f"at least {column.minimum:g}" if column.minimum is not None else ""]
    bounds.append(f"at most {column.maximum:g}" if column.maximum is not None else "")
    bounds.append("one of " + _code(column.allowed) if column.allowed else "")
    told = "; ".join(bound for bound in bounds if bound)
    meaning = f"{column.comment} ({told})" if told else column.comment
    return f"| `{column.name}` | {column.type} | {'yes' if column.nullable else ''} | {_cell(meaning)} |"


def _reads(reads: Reads) -> str:
    if reads.whole_month:
        days = "the days of its month"
    elif reads.first == FROM_THE_START:
        days = "all days up to it"
    elif (reads.first, reads.last) == (0, 0):
        days = "the same date"
    else:
        days = f"days {_offset(reads.first)} to {_offset(reads.last)} from it"
    return f"{days} of `{reads.upstream}`" + ("" if reads.follows else ", and does not follow its changes")


def _offset(days: int | str) -> str:
    return f"CHURN_{days.upper()}" if isinstance(days, str) else f"{days:+d}" if days else "0"


def commands() -> str:
    """Return the page of all commands."""
    group: Any = typer.main.get_command(app)
    parts = ["# Commands\n\n", MADE]
    parts.append(
        "Exit codes: 0 done, 1 failed with a one-line reason on stderr, 2 wrong usage. Progress goes to\n"
        "stderr, results to stdout. What libraries write there, and traces, go to `lake/logs/churn.log`;\n"
        "`churn --debug …` shows them. `churn --install-completion` teaches the shell the names below.\n\n"
    )
    for path, command in _commands(group, ("churn",)):
        parts.append(f"## {' '.join(path)}\n\n{(command.help or '').strip()}\n\n")
        rows = [
            _parameter(one)
            for one in command.params
            if one.name != "help" and not getattr(one, "hidden", False)
        ]
        if rows:
            parts.append("| option | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n\n")
    return "".join(parts).rstrip() + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, one in below.items():
        yield from _commands(one, (*path, name))


def _parameter(one: Any) -> str:
    is_argument = one.param_type_name == "argument"
    names = one.name.upper() if is_argument else ", ".join((*one.opts, *one.secondary_opts))
    default = "" if one.default in (None, False, ()) or callable(one.default) else f"`{one.default}`"
    required = "required" if one.required else default
    return f"| `{names}` | {required} | {_cell(one.help or '')} |"


def metrics() -> str:
    """Return the page of what ``/metrics`` of the scoring server says."""
    page = Metrics(None).page(registry_fails=False).decode()
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", page, re.MULTILINE))
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    rows = "\n".join(
        f"| `{name}` | {kinds[name]} | {_cell(told)} |"
        for name, told in sorted(helps.items())
        if not name.endswith("_created")
    )
    return (
        "# Metrics\n\n"
        + MADE
        + "`GET /metrics` of the scoring server, in Prometheus' text format, with the token for scoring\n"
        "unless `CHURN_ENDPOINT_PUBLIC_METRICS`.\n\n"
        f"| metric | kind | meaning |\n|---|---|---|\n{rows}\n"
    )


def _code(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"tables.md": tables, "commands.md": commands, "metrics.md": metrics}


def main() -> None:
    """Write the pages, or compare them."""
    stale = [
        name
        for name, page in PAGES.items()
        if not (HERE / name).exists() or (HERE / name).read_text() != page()
    ]
    if "--check" in sys.argv:
        for name in stale:
            print(f"docs/reference/{name} is not what the code says: run make docs.")
        sys.exit(bool(stale))
    HERE.mkdir(exist_ok=True)
    for name in stale:
        (HERE / name).write_text(PAGES[name]())


if __name__ == "__main__":
    main()
