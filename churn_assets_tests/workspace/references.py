"""Dynamic value references such as ``{{tasks.featurize.values.feature_count}}``, and conditions on them."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from churn_assets_tests.workspace.routing import Violation

REFERENCE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
KNOWN = re.compile(
    r"job\.(id|run_id|name|start_time\.iso_date|trigger\.type|parameters\.[\w.-]+)"
    r"|task\.(name|run_id|execution_count)"
    r"|tasks\.(?P<task>[\w-]+)\.(values\.[\w.-]+|result_state|run_id)"
    r"|workspace\.(id|url)"
)


class UnresolvedReferenceError(Exception):
    """A reference has no value in this run."""


def check_references(texts: Iterable[str], upstream: set[str], where: str) -> None:
    """Refuse references that the service does not know, or to tasks that do not run before.

    Raises:
        Violation: naming the reference.
    """
    for text in texts:
        for name in REFERENCE.findall(text):
            known = KNOWN.fullmatch(name)
            if not known:
                raise Violation(f"Unknown reference {{{{{name}}}}} in {where}.")
            if known["task"] and known["task"] not in upstream:
                raise Violation(f"{{{{{name}}}}} in {where} refers to a task that it does not depend on.")


def resolve(text: str, value: Callable[[str], Any]) -> str:
    """Replace each reference by its value.

    Raises:
        UnresolvedReferenceError: a reference has no value.
    """

    def replace(match: re.Match[str]) -> str:
        result = value(match[1])
        if result is None:
            raise UnresolvedReferenceError(f"Unable to resolve reference {match[0]}.")
        return str(result).lower() if isinstance(result, bool) else str(result)

    return REFERENCE.sub(replace, text)


def holds(op: str, left: str, right: str) -> bool:
    """Whether a condition holds. Equality compares text (12.0 is not 12), the rest compares numbers.

    Raises:
        UnresolvedReferenceError: a number is compared with what is none.
    """
    if op in ("EQUAL_TO", "NOT_EQUAL"):
        return (left == right) == (op == "EQUAL_TO")
    try:
        first, second = float(left), float(right)
    except ValueError as error:
        raise UnresolvedReferenceError(f"{op} compares numbers, not {left!r} and {right!r}.") from error
    return {
        "GREATER_THAN": first > second,
        "GREATER_THAN_OR_EQUAL": first >= second,
        "LESS_THAN": first < second,
        "LESS_THAN_OR_EQUAL": first <= second,
    }[op]
