"""Statements of Databricks SQL that Sail does not take, as plain values; what is not known is refused."""

import re
from dataclasses import dataclass, field
from typing import Any

from .unity import UnityError

NAME = r"(?:`[^`]+`|\w+)(?:\s*\.\s*(?:`[^`]+`|\w+))*"
STRING = r"'(?:[^'\\]|\\.)*'"
KIND = r"CATALOG|SCHEMA|DATABASE|VOLUME|TABLE|EXTERNAL\s+LOCATION"
EXISTS = r"(?P<exists>IF\s+NOT\s+EXISTS\s+)?"

# Each clause once, in any order; the value of the last group is what is kept.
CLAUSES = {
    "managed_location": rf"MANAGED\s+LOCATION\s+({STRING})",
    "location": rf"LOCATION\s+({STRING})",
    "url": rf"URL\s+({STRING})",
    "credential": rf"WITH\s*\(\s*STORAGE\s+CREDENTIAL\s+({NAME})\s*\)",
    "comment": rf"COMMENT\s+({STRING})",
    "using": r"USING\s+(\w+)",
    "partitioned_by": r"PARTITIONED\s+BY\s*\(([^)]*)\)",
    "cluster_by": r"CLUSTER\s+BY\s*\(([^)]*)\)",
    "properties": rf"TBLPROPERTIES\s*\(((?:[^()']|{STRING})*)\)",
}

CREATE = {
    "catalog": {"managed_location", "comment"},
    "schema": {"managed_location", "comment"},
    "volume": {"comment"},
    "external location": {"url", "credential", "comment"},
    "table": {"using", "partitioned_by", "cluster_by", "comment", "properties", "location"},
}


@dataclass(frozen=True)
class Statement:
    """What a statement asks for: ``verb`` to be done to the securable of ``kind`` and ``name``."""

    verb: str
    kind: str
    name: str
    values: dict[str, Any] = field(default_factory=dict)


PATTERNS = [
    (rf"CREATE\s+(?P<kind>{KIND})\s+{EXISTS}(?P<name>{NAME})(?P<rest>.*)", "create"),
    (rf"DROP\s+(?P<kind>TABLE)\s+(?P<exists>IF\s+EXISTS\s+)?(?P<name>{NAME})", "drop"),
    (rf"COMMENT\s+ON\s+(?P<kind>{KIND})\s+(?P<name>{NAME})\s+IS\s+(?P<comment>{STRING})", "comment"),
    (
        rf"ALTER\s+(?P<kind>TABLE)\s+(?P<name>{NAME})\s+SET\s+TBLPROPERTIES\s*\((?P<properties>.*)\)",
        "set properties",
    ),
    (rf"ALTER\s+(?P<kind>TABLE)\s+(?P<name>{NAME})\s+ADD\s+COLUMNS?\s*\((?P<columns>.*)\)", "add columns"),
    (
        rf"ALTER\s+(?P<kind>TABLE)\s+(?P<name>{NAME})\s+ALTER\s+(?:COLUMN\s+)?(?P<column>{NAME})\s+DROP\s+NOT\s+NULL",
        "drop not null",
    ),
    (
        rf"GRANT\s+(?P<what>[\w\s,]+?)\s+ON\s+(?P<kind>{KIND})\s+(?P<name>{NAME})\s+TO\s+(?P<who>{NAME})",
        "grant",
    ),
    (
        rf"REVOKE\s+(?P<what>[\w\s,]+?)\s+ON\s+(?P<kind>{KIND})\s+(?P<name>{NAME})\s+FROM\s+(?P<who>{NAME})",
        "revoke",
    ),
    (rf"SHOW\s+GRANTS\s+ON\s+(?P<kind>{KIND})\s+(?P<name>{NAME})", "show grants"),
    (rf"SHOW\s+TBLPROPERTIES\s+(?P<name>{NAME})", "show properties"),
    (rf"DESCRIBE\s+(?P<kind>SCHEMA|DATABASE|CATALOG)\s+(?P<name>{NAME})", "describe"),
    (rf"DESCRIBE\s+HISTORY\s+(?P<name>{NAME})(?:\s+LIMIT\s+(?P<limit>\d+))?", "history"),
    (rf"DESCRIBE\s+TABLE\s+(?P<name>{NAME})", "columns"),
    (rf"DESCRIBE\s+DETAIL\s+(?P<name>{NAME})", "detail"),
    (rf"VACUUM\s+(?P<name>{NAME})(?:\s+RETAIN\s+(?P<retain>\d+)\s+HOURS)?", "vacuum"),
    (rf"OPTIMIZE\s+(?P<name>{NAME})", "optimize"),
]
COMPILED = [(re.compile(pattern, re.IGNORECASE | re.DOTALL), verb) for pattern, verb in PATTERNS]


def parse(sql: str) -> Statement | None:
    """What the statement asks for; None if it is Sail's to run.

    Raises:
        UnityError: it starts as one of ours and goes on as none.
    """
    text = sql.strip().rstrip(";").strip()
    for pattern, verb in COMPILED:
        match = pattern.fullmatch(text)
        if match:
            groups = match.groupdict()
            kind = re.sub(r"\s+", " ", (groups.pop("kind", None) or "table").lower()).replace(
                "database", "schema"
            )
            values = _create(kind, groups) if verb == "create" else _values(groups)
            return Statement(verb, kind, unquoted(groups["name"]), values)
    if re.match(r"(GRANT|REVOKE|COMMENT\s+ON|CREATE\s+(CATALOG|VOLUME|EXTERNAL))\b", text, re.IGNORECASE):
        raise _syntax_error(text)
    return None


def unquoted(name: str) -> str:
    """A name without its backticks."""
    return ".".join(part.strip().strip("`") for part in re.findall(r"`[^`]+`|[^.]+", name))


def literal(text: str) -> str:
    """The value of a SQL string literal."""
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _values(groups: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"exists": bool(groups.get("exists"))}
    if groups.get("comment"):
        values["comment"] = literal(groups["comment"])
    if groups.get("properties"):
        values["properties"] = _properties(groups["properties"])
    if groups.get("columns"):
        values["columns"] = _added(groups["columns"])
    if groups.get("column"):
        values["column"] = unquoted(groups["column"])
    if groups.get("what"):
        values["privileges"] = {
            " ".join(privilege.split()).upper() for privilege in groups["what"].split(",")
        }
        values["principal"] = unquoted(groups["who"])
    for number in ("limit", "retain"):
        if groups.get(number):
            values[number] = int(groups[number])
    return values


def _create(kind: str, groups: dict[str, Any]) -> dict[str, Any]:
    rest = groups["rest"].strip()
    values: dict[str, Any] = {"exists": bool(groups["exists"])}
    if kind == "table":
        columns, rest = _parenthesised(rest)
        values["columns"], values["primary_key"] = _without_key(columns)
    while rest:
        clause, text, rest = _next_clause(rest)
        if clause not in CREATE[kind] or clause in values:
            raise _syntax_error(f"{clause} in CREATE {kind.upper()}")
        values[clause] = text
    for clause in ("managed_location", "location", "url", "comment"):
        if clause in values:
            values[clause] = literal(values[clause])
    if "credential" in values:
        values["credential"] = unquoted(values["credential"])
    for clause in ("partitioned_by", "cluster_by"):
        if clause in values:
            values[clause] = [unquoted(column) for column in values[clause].split(",")]
    if "partitioned_by" in values and "cluster_by" in values:
        raise UnityError("SPECIFY_CLUSTER_BY_WITH_PARTITIONED_BY_IS_NOT_ALLOWED", "Choose one of the two.")
    values["properties"] = _properties(values.get("properties", ""))
    return values


def _without_key(columns: str) -> tuple[str, list[str]]:
    """The columns, and those of the primary key, which is the last of them and which Sail does not know.

    It is not enforced; its columns have to be NOT NULL (docs.databricks.com/sql/language-manual/
    sql-ref-syntax-ddl-create-table-constraint).
    """
    key = re.search(r",\s*CONSTRAINT\s+`?\w+`?\s+PRIMARY\s+KEY\s*\(([^)]*)\)\s*$", columns, re.IGNORECASE)
    if key is None:
        return columns, []
    columns, names = columns[: key.start()], [unquoted(name.strip()) for name in key.group(1).split(",")]
    for name in names:
        if not re.search(rf"`?\b{name}\b`?\s+\w+\s+NOT\s+NULL", columns, re.IGNORECASE):
            raise UnityError(
                "PRIMARY_KEY_COLUMNS_NULLABLE", f"The column {name} of a primary key may be NULL."
            )
    return columns, names


def _added(text: str) -> list[tuple[str, str, str | None]]:
    """Name, type and comment of each column; the service adds none that is NOT NULL to a Delta table."""
    column = rf"({NAME})\s+(\w+(?:\(\d+,\s*\d+\))?)(?:\s+COMMENT\s+({STRING}))?"
    if not re.fullmatch(rf"\s*{column}(?:\s*,\s*{column})*\s*", text, re.IGNORECASE):
        raise _syntax_error(text)
    return [
        (unquoted(match[1]), match[2].lower(), literal(match[3]) if match[3] else None)
        for match in re.finditer(column, text, re.IGNORECASE)
    ]


def _next_clause(rest: str) -> tuple[str, str, str]:
    for clause, pattern in CLAUSES.items():
        match = re.match(pattern, rest, re.IGNORECASE)
        if match:
            return clause, match.group(1), rest[match.end() :].strip()
    raise _syntax_error(rest)


def _parenthesised(text: str) -> tuple[str, str]:
    """What is between the first parenthesis and its partner, and what follows; strings may hold others."""
    depth = 0
    for token in re.finditer(rf"{STRING}|[()]", text):
        depth += {"(": 1, ")": -1}.get(token.group(), 0)
        if depth == 0:
            return text[1 : token.start()], text[token.end() :].strip()
    raise _syntax_error(text)


def _properties(text: str) -> dict[str, str]:
    pairs = re.findall(rf"({STRING})\s*=\s*({STRING})", text)
    if len(pairs) != len(re.findall("=", re.sub(STRING, "", text))):
        raise _syntax_error(text)
    return {literal(key): literal(value) for key, value in pairs}


def _syntax_error(near: str) -> UnityError:
    return UnityError("PARSE_SYNTAX_ERROR", f"Syntax error at or near: {near[:80]}")
