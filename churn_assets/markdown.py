"""Markdown made of values: Dagster shows it, and what users send must stay text in it."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

LONGEST_CELL = 80

# What may begin a link, a picture, HTML, code, emphasis or a table's next cell within a line.
SPECIAL = re.compile(r"([\\`*_\[\]<>!|~&])")


def table(columns: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    Args:
        columns: its head.
        rows: cells that are Markdown already: numbers, or what ``cell`` returns.
    """
    head = list(columns)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def cell(value: Any) -> str:
    """Return a value of anybody's for a cell of a table: on one line, shortened, and nothing but text."""
    # Inside of a code span no character has a meaning, but for its end and that of the cell.
    words = "" if value is None else " ".join(str(value).split())
    shown = words.replace("|", "\\|").replace("`", "'")
    shown = shown if len(shown) <= LONGEST_CELL else f"{shown[: LONGEST_CELL - 1].rstrip(chr(92))}…"
    return f"`{shown}`" if shown and not shown.isalnum() else shown


def text(value: Any) -> str:
    """Return a value of anybody's for a sentence or a list: on one line, and nothing but text."""
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))
