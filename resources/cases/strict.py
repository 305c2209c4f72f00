"""Frozen dataclasses to and from plain JSON values, refusing all that does not fit the type hints."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Any, Literal, NoReturn

Kind = typing.TypeVar("Kind")


class CaseError(ValueError):
    """Data that cannot be used; the message is one line: file, line, field, expected, found."""


def refuse(field: str, expected: str, found: object) -> NoReturn:
    text = found if isinstance(found, str) else repr(found)
    raise CaseError(f"{field}: expected {expected}, found {text[:120]}")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def encode(value: Any) -> Any:
    """A dataclass as JSON values; fields at their default are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: encode(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.default is dataclasses.MISSING or getattr(value, field.name) != field.default
            if field.default_factory is dataclasses.MISSING
            or getattr(value, field.name) != field.default_factory()
        }
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return value


def decode(hint: Any, value: Any, field: str) -> Any:
    """Inverse of `encode` for the type `hint`. Raises CaseError with the path of the field."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        return _decode_union(arguments, value, field)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            refuse(field, f"one of {', '.join(map(str, arguments))}", value)
        return value
    if origin is tuple:
        return _decode_tuple(arguments, value, field)
    if origin is dict:
        if not isinstance(value, dict):
            refuse(field, "an object", value)
        return {key: decode(arguments[1], item, f"{field}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return decode_object(typing.cast(type, hint), value, field)
    return _decode_scalar(hint, value, field)


def _decode_scalar(hint: Any, value: Any, field: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            refuse(field, "a finite number", value)
        return float(value)
    if hint is float or not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
        refuse(field, names[hint], value)
    return value


def _decode_union(arguments: tuple[Any, ...], value: Any, field: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    rest = [argument for argument in arguments if argument is not type(None)]
    if len(rest) == 1:
        return decode(rest[0], value, field)
    for argument in rest:
        try:
            return decode(argument, value, field)
        except CaseError:
            continue
    refuse(field, " or ".join(getattr(argument, "__name__", str(argument)) for argument in rest), value)


def _decode_tuple(arguments: tuple[Any, ...], value: Any, field: str) -> Any:
    if not isinstance(value, list | tuple):
        refuse(field, "a list", value)
    if arguments[-1] is Ellipsis:
        arguments = arguments[:1] * len(value)
    if len(value) != len(arguments):
        refuse(field, f"{len(arguments)} values", value)
    pairs = zip(arguments, value, strict=True)
    return tuple(decode(argument, item, f"{field}[{i}]") for i, (argument, item) in enumerate(pairs))


def decode_object(kind: type[Kind], value: Any, field: str = "") -> Kind:
    """An object as the dataclass `kind`; its own checks raise CaseError naming their field."""
    prefix = f"{field}." if field else ""
    hints = _hints(typing.cast(type, kind))
    if not isinstance(value, dict):
        refuse(field or "line", "an object", value)
    for name in value:
        if name not in hints:
            refuse(prefix + name, f"only {', '.join(hints)}", "an unknown key")
    for known in dataclasses.fields(typing.cast(Any, kind)):
        required = known.default is dataclasses.MISSING and known.default_factory is dataclasses.MISSING
        if required and known.name not in value:
            refuse(prefix + known.name, "a value", "none")
    decoded = {name: decode(hints[name], item, prefix + name) for name, item in value.items()}
    try:
        return kind(**decoded)
    except CaseError as error:
        raise CaseError(f"{prefix}{error}") from None
