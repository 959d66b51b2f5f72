"""The dialect of a CSV file: its delimiter, quote and escape character, and whether it has a header.

A file is read as commas, double quotes and a header say if that gives the columns that the options name; only
else it is sniffed. So a sniffer's mistake can spoil no file that is written as most are.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

# Enough to see a quoted comma or two; a sniffer's time grows with it.
SNIFFED_CHARACTERS = 20_000
EXCELS_HINT = re.compile(r"sep=(.)\r?\n")
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blank"}


@dataclass(frozen=True)
class CsvOptions:
    """The user's dialect options; None is to be detected. An empty quote or escape means none."""

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    header: bool | None = None


@dataclass(frozen=True)
class Dialect:
    """The dialect of one file. ``escape`` is empty where quotes in quotes are doubled; ``quote`` may be, too.

    ``skipped_lines`` come before the header: Excel's ``sep=;``.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    skipped_lines: int = 0

    def rows(self, text: io.TextIOBase) -> Iterator[list[str]]:
        """Read the rows strictly, without blank lines.

        Raises:
            ValueError: quotes do not fit together, or a row has more or fewer fields than the first; says
                in which line.
        """
        reader, width, last_line = self._reader(text), None, self.skipped_lines
        try:
            for row in reader:
                if row:
                    width = width or len(row)
                    if len(row) != width:
                        raise ValueError(_wrong_width(last_line + 1, len(row), width))
                    yield row
                last_line = self.skipped_lines + reader.line_num
        except csv.Error as error:
            raise self._malformed(error, last_line + 1) from error

    def count(self, text: io.TextIOBase) -> int:
        """Count the ``rows``.

        Raises:
            ValueError: as ``rows``.
        """
        start = text.tell()
        try:
            widths = Counter(map(len, self._reader(text)))
        except csv.Error:
            widths = Counter()
        widths.pop(0, None)
        if len(widths) == 1:
            return widths.total()
        # Where something is wrong, row by row, to say in which line.
        text.seek(start)
        return sum(1 for _ in self.rows(text))

    def columns(self, first_row: list[str]) -> list[str]:
        """Return the names of the columns: the header's, or column1, column2 and so on."""
        return first_row if self.header else [f"column{i}" for i in range(1, len(first_row) + 1)]

    def __str__(self) -> str:
        """Describe what differs from the usual dialect; empty if nothing does."""
        odd = []
        if self.delimiter != ",":
            odd.append(f"{NAMES.get(self.delimiter, repr(self.delimiter))} between fields")
        if self.quote != '"':
            odd.append(f"quotes are {self.quote}" if self.quote else "no quotes")
        if self.escape:
            odd.append(f"{self.escape} escapes a quote")
        if not self.header:
            odd.append("no header")
        return ", ".join(odd)

    def _reader(self, text: io.TextIOBase) -> Any:
        # The csv module exports no name for the type of its readers.
        for _ in range(self.skipped_lines):
            text.readline()
        return csv.reader(
            text,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape or None,
            strict=True,
        )

    @staticmethod
    def _malformed(error: csv.Error, line: int) -> ValueError:
        advice = "If a backslash escapes quotes, give --escape '\\'; if quotes mean nothing, --quote ''"
        if "unexpected end" in str(error) or "field larger" in str(error):
            return UnclosedQuoteError(line, f"line {line} opens a quote that is never closed. {advice}")
        return ValueError(f"line {line} goes on after a closing quote ({error}). {advice}")


class UnclosedQuoteError(ValueError):
    """A quoted field has no end; ``line`` is where its row begins."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def dialect_of(sample: str, is_whole: bool, options: CsvOptions, names: Collection[str]) -> Dialect:
    """Detect the dialect of a file from its beginning.

    Args:
        sample: its beginning, decoded, in whole lines.
        is_whole: whether that is all of it.
        options: what the user says, which counts whatever the sample looks like.
        names: columns that the file must have, in any case of letters.
    """
    hint = EXCELS_HINT.match(sample)
    usual = _with_options(Dialect(hint[1] if hint else ",", skipped_lines=1 if hint else 0), options)
    readable: dict[Dialect, int] = {}
    for plain in _candidates(usual, sample, options):
        for dialect in _with_escapes(plain, options):
            first = _first_row(dialect, sample, is_whole)
            if not first:
                continue
            if options.header is None and _are_generated(names, first):
                dialect = replace(dialect, header=False)  # noqa: PLW2901 - the same, read otherwise
            if _has(dialect.columns(first), names):
                return dialect
            readable.setdefault(dialect, len(first))
    # None has the columns. The error will list what there is, so take what has any delimiter in it.
    several = [dialect for dialect, width in readable.items() if width > 1]
    return next(iter([*several, *readable]), usual)


def _candidates(usual: Dialect, sample: str, options: CsvOptions) -> Iterator[Dialect]:
    yield usual
    # Importing it takes as long as reading half a million rows, and most files never get here.
    import clevercsv

    try:
        sniffed_dialect = clevercsv.Sniffer().sniff(sample[:SNIFFED_CHARACTERS], verbose=False)
    except clevercsv.Error:
        return
    if sniffed_dialect and sniffed_dialect.delimiter:
        sniffed = replace(usual, delimiter=sniffed_dialect.delimiter, quote=sniffed_dialect.quotechar or '"')
        yield _with_options(sniffed, options)


def _with_escapes(dialect: Dialect, options: CsvOptions) -> list[Dialect]:
    # Doubled quotes first: only where they fail to read the sample, a backslash is taken for an escape.
    return [dialect] if options.escape is not None else [dialect, replace(dialect, escape="\\")]


def _with_options(dialect: Dialect, options: CsvOptions) -> Dialect:
    given_options = {
        name: value
        for name in ("delimiter", "quote", "escape", "header")
        if (value := getattr(options, name)) is not None
    }
    return replace(dialect, **given_options)


def _first_row(dialect: Dialect, sample: str, is_whole: bool) -> list[str]:
    """Return the first row, empty if the sample cannot be read in this dialect."""
    rows: list[list[str]] = []
    try:
        for row in dialect.rows(io.StringIO(sample, newline="")):
            rows = rows or [row]
    except UnclosedQuoteError as error:
        # A sample may end within quotes; but what opens early and never closes is no such end.
        if is_whole or error.line * 2 < sample.count("\n"):
            return []
    except ValueError:
        return []
    return rows[0] if rows else []


def _has(columns: list[str], names: Collection[str]) -> bool:
    return {name.casefold() for name in names} <= {name.casefold() for name in columns}


def _are_generated(names: Collection[str], first_row: list[str]) -> bool:
    generated = {f"column{i}" for i in range(1, len(first_row) + 1)}
    return bool(names) and set(names) <= generated and not set(names) <= set(first_row)


def _wrong_width(line: int, width: int, expected: int) -> str:
    return f"line {line} has {width} fields and the first has {expected}"
