"""Checks a request's fields against databricks-sdk's hints: nothing unknown, missing or of another type."""

import dataclasses
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from churn_assets_tests.workspace.answers import Violation

NoneType = type(None)


@functools.cache
def fields_of(method: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a method of the SDK, by name: their type hints."""
    hints = typing.get_type_hints(method)
    return {name: hints[name] for name in inspect.signature(method).parameters if name != "self"}


@functools.cache
def _members(cls: type) -> dict[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(cls)
    return {
        field.name: (hints[field.name], field.default is dataclasses.MISSING)
        for field in dataclasses.fields(cls)
    }


def check_fields(values: Mapping[str, Any], allowed: Mapping[str, Any], where: str) -> None:
    """Check an object against type hints.

    Raises:
        Violation: naming the first field that is unknown, missing or of another type.
    """
    for name in values:
        if name not in allowed:
            raise Violation(f"Unknown field {name!r} in {where}; it may have {', '.join(sorted(allowed))}.")
    for name, hint in allowed.items():
        if name not in values:
            if not _optional(hint):
                raise Violation(f"Missing required field: {name} in {where}.")
        else:
            check(values[name], hint, f"{where}.{name}")


def check(value: Any, hint: Any, where: str) -> None:  # noqa: C901, PLR0912 - one branch a kind of hint reads best
    """Check one value against a type hint, all the way down."""
    if _is_union(hint):
        arguments = typing.get_args(hint)
        if value is None and NoneType in arguments:
            return
        real = [member for member in arguments if member is not NoneType]
        if len(real) == 1:
            check(value, real[0], where)
            return
        for member in real:
            try:
                check(value, member, where)
            except Violation:
                continue
            return
        raise Violation(f"{where} is {value!r}, expected one of {real}.")
    origin = typing.get_origin(hint)
    if hint is Any:
        return
    if origin in (list, typing.List):  # noqa: UP006 - the SDK's own hints say List
        _is(value, list, where)
        for index, item in enumerate(value):
            check(item, typing.get_args(hint)[0], f"{where}[{index}]")
    elif origin is dict:
        _is(value, dict, where)
        for key, item in value.items():
            check(item, typing.get_args(hint)[1], f"{where}[{key!r}]")
    elif dataclasses.is_dataclass(hint):
        _is(value, dict, where)
        members = _members(typing.cast("type", hint))
        check_fields(
            value,
            {name: member if required else member | None for name, (member, required) in members.items()},
            where,
        )
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [member.value for member in hint]:
            raise Violation(f"{where} is {value!r}, expected one of {[member.value for member in hint]}.")
    elif hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Violation(f"{where} is {value!r}, expected a number.")
    elif hint is int and isinstance(value, bool):
        raise Violation(f"{where} is {value!r}, expected a number.")
    elif isinstance(hint, type):
        _is(value, hint, where)


def parse_query(pairs: list[tuple[str, str]], allowed: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Convert a query's strings to the types of its fields; a repeated field is a list.

    Raises:
        Violation: a field is unknown or cannot be converted.
    """
    parsed: dict[str, Any] = {}
    for name, text in pairs:
        hint = allowed.get(name.partition(".")[0])
        if hint is None:
            raise Violation(
                f"Unknown query field {name!r} in {where}; it may have {', '.join(sorted(allowed))}."
            )
        if "." in name or typing.get_origin(_without_none(hint)) is list:
            parsed.setdefault(name, []).append(text)
        else:
            parsed[name] = _parse(text, _without_none(hint), f"{where}.{name}")
    for name, hint in allowed.items():
        if name not in parsed and not _optional(hint):
            raise Violation(f"Missing required field: {name} in {where}.")
    return parsed


def _parse(text: str, hint: Any, where: str) -> Any:
    if hint is bool:
        if text not in ("true", "false"):
            raise Violation(f"{where} is {text!r}, expected true or false.")
        return text == "true"
    if hint is int:
        if not text.lstrip("-").isdigit():
            raise Violation(f"{where} is {text!r}, expected a number.")
        return int(text)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        check(text, hint, where)
    return text


def _is(value: Any, kind: type, where: str) -> None:
    if not isinstance(value, kind):
        raise Violation(f"{where} is {value!r}, expected a {kind.__name__}.")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _optional(hint: Any) -> bool:
    return _is_union(hint) and NoneType in typing.get_args(hint)


def _without_none(hint: Any) -> Any:
    if not _optional(hint):
        return hint
    real = [member for member in typing.get_args(hint) if member is not NoneType]
    return real[0] if len(real) == 1 else hint
