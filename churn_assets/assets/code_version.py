"""An asset's code_version: a digest of what its transform says, not of how it is laid out.

Worked out and not counted by hand, so that nobody forgets to raise it. A comment, a docstring or a line break
changes nothing; a change in a function or constant of ``transforms`` or ``partitions`` that the transform
uses, directly or not, does, and so does a column more in a contract that it names. Which dates are out of
date by it, ``churn migrate --dry-run`` lists.
"""

import ast
import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from churn_assets import tables

# Elsewhere is how things are run.
COMPUTES = ("churn_assets.transforms", "churn_assets.partitions")

Name = tuple[str, str]


def code_version(transform: Callable[..., Any], *parameters: object) -> str:
    """The version of a transform and of the settings that change its results.

    Args:
        transform: a function of a module.
        parameters: values of settings that it is called with, such as the horizon.

    Returns:
        Twelve hexadecimal digits, the same on every machine and Python version.
    """
    found: dict[Name, str] = {}
    _collect((transform.__module__, transform.__name__), found)
    said = "\n".join(f"{module}.{name} = {text}" for (module, name), text in sorted(found.items()))
    return hashlib.sha256(f"{said}\n{parameters!r}".encode()).hexdigest()[:12]


def _collect(name: Name, found: dict[Name, str]) -> None:
    """Add the definition of a name and of all names that it uses."""
    if name in found:
        return
    node = _definitions(name[0]).get(name[1])
    if isinstance(node, ast.ImportFrom):
        if not node.module or not node.module.startswith(COMPUTES):
            return
        original = next(alias.name for alias in node.names if name[1] in (alias.asname, alias.name))
        _collect((node.module, original), found)
    elif node is not None:
        found[name] = "".join(_said(node))
        for used in ast.walk(node):
            match used:
                case ast.Name(id=other):
                    _collect((name[0], other), found)
                case ast.Attribute(value=ast.Name(id="tables"), attr=constant):
                    _collect_contract(constant, found)
                case _:
                    pass


def _collect_contract(constant: str, found: dict[Name, str]) -> None:
    """Add the columns of a contract. Not lists of features: a model keeps those that it was trained with."""
    contract = getattr(tables, constant)
    if isinstance(contract, tables.Table):
        columns = [(column.name, column.type) for column in contract.columns]
        found[tables.__name__, constant] = repr(columns)


@cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    """What a module defines or imports at its top level, by name."""
    defined: dict[str, ast.stmt] = {}
    for node in ast.parse(inspect.getsource(importlib.import_module(module))).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                defined[node.name] = node
            case ast.Assign():
                defined |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                defined[name] = node
            case ast.ImportFrom():
                defined |= {alias.asname or alias.name: node for alias in node.names}
            case _:
                pass
    return defined


def _said(node: object) -> Iterator[str]:
    """The tree without positions, docstrings and what only some versions of Python note."""
    if isinstance(node, list):
        for item in node:
            yield from _said(item)
    elif isinstance(node, ast.AST):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        yield f"({type(node).__name__}"
        for field, value in ast.iter_fields(node):
            if field not in ("ctx", "kind", "type_comment", "type_params") and value not in (None, []):
                yield f" {field}="
                yield from _said(value)
        yield ")"
    else:
        yield repr(node)
