"""An asset's code_version: a digest of the code of its transform, whatever its layout.

It is computed rather than counted by hand, which people forget. Comments, docstrings and line breaks do not
change it. Changes in a function or constant of ``transforms`` or ``partitions`` that the transform uses, even
indirectly, do, and so does a new column in a contract that it names. ``churn migrate --dry-run`` lists the
dates that a change makes outdated.
"""

import ast
import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from churn_assets import tables

# The modules that compute; all others only run them. Renaming a module or a name in it changes versions.
COMPUTES = ("churn_assets.transforms", "churn_assets.partitions")

Name = tuple[str, str]


def code_version(transform: Callable[..., Any], *parameters: object) -> str:
    """Return the version of a transform and of the settings that change its results.

    Args:
        transform: a top-level function.
        parameters: values of settings that it is called with, such as the horizon.

    Returns:
        Twelve hexadecimal digits, the same on every machine and Python version.

    Raises:
        TypeError: a parameter is a function, which says something else in each process. Give its version.
    """
    if any(callable(parameter) for parameter in parameters):
        raise TypeError(
            "code_version takes values of settings. Of a second transform, give its code_version."
        )
    definitions: dict[Name, str] = {}
    _collect((transform.__module__, transform.__name__), definitions)
    code = "\n".join(f"{module}.{name} = {text}" for (module, name), text in sorted(definitions.items()))
    return hashlib.sha256(f"{code}\n{parameters!r}".encode()).hexdigest()[:12]


def _collect(name: Name, definitions: dict[Name, str]) -> None:
    """Add the definition of a name, and those of all names that it uses."""
    if name in definitions:
        return
    node = _definitions(name[0]).get(name[1])
    if isinstance(node, ast.ImportFrom):
        if not node.module or not node.module.startswith(COMPUTES):
            return
        original = next(alias.name for alias in node.names if name[1] in (alias.asname, alias.name))
        _collect((node.module, original), definitions)
    elif node is not None:
        definitions[name] = "".join(_dump(node))
        for used in ast.walk(node):
            match used:
                case ast.Name(id=other):
                    _collect((name[0], other), definitions)
                case ast.Attribute(value=ast.Name(id="tables"), attr=constant):
                    _collect_contract(constant, definitions)
                case _:
                    pass


def _collect_contract(constant: str, definitions: dict[Name, str]) -> None:
    """Add the columns of a contract, but no list of features: a model keeps those it was trained with."""
    contract = getattr(tables, constant)
    if isinstance(contract, tables.Table):
        columns = [(column.name, column.type) for column in contract.columns]
        definitions[tables.__name__, constant] = repr(columns)


@cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    """Return what a module defines or imports at its top level, by name."""
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


def _dump(node: object) -> Iterator[str]:
    """Yield the tree without positions, docstrings and fields that only some versions of Python have."""
    if isinstance(node, list):
        for item in node:
            yield from _dump(item)
    elif isinstance(node, ast.AST):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        yield f"({type(node).__name__}"
        for field, value in ast.iter_fields(node):
            if field not in ("ctx", "kind", "type_comment", "type_params") and value not in (None, []):
                yield f" {field}="
                yield from _dump(value)
        yield ")"
    else:
        yield repr(node)
