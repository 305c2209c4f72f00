"""The form of a finding as a JSON schema, and findings that another tool wrote in it."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from resources.cases.case import Finding
from resources.cases.organs import canonical, organs, type_of
from resources.cases.strict import CaseError, decode_object

DESCRIPTIONS = {
    "type": "lesion type of the detector; may be left out, then it is the organ's",
    "organ": "a name of resources/cases/organs.tsv; null if the text names none; with absent: the whole scan",
    "side": "of paired organs",
    "count": "null exactly for absent findings; several where the text gives no number",
    "sizes_mm": "0 to 3 diameters of the largest lesion in mm, on this scan",
    "series": "number that the text gives",
    "images": "numbers that the text gives",
    "presence": "absent: the text says that it is not there",
    "time": "resolved: no longer there; prior: only on an earlier scan",
    "character": "benign for cysts, granulomas and the like",
    "span": "offsets [start, end) in the report; may be left out",
    "language": "of the report",
}


class ReportError(ValueError):
    """A report, a folder or a file of findings that cannot be read; the message is one line."""


def finding_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of one line of a findings file: a report's name and its findings."""
    hints = typing.get_type_hints(Finding)
    properties = {name: {**_schema(hint), "description": DESCRIPTIONS[name]} for name, hint in hints.items()}
    names = [*sorted(organs()), None]
    properties["organ"] = {"enum": names, "description": DESCRIPTIONS["organ"]}
    finding = {
        "type": "object",
        "properties": properties,
        "required": ["organ", "presence"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "findings of one report",
        "type": "object",
        "properties": {
            "report": {"type": "string", "description": "file name of the report, or id of the case"},
            "findings": {"type": "array", "items": finding},
        },
        "required": ["report", "findings"],
    }


def _schema(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(argument) for argument in arguments]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is tuple:
        size = len(arguments)
        return {"type": "array", "items": _schema(arguments[0]), "minItems": size, "maxItems": size}
    return {"type": {str: "string", int: "integer", float: "number", type(None): "null"}[hint]}


def read_findings(path: Path) -> dict[str, tuple[Finding, ...]]:
    """Findings by report of a file that another tool wrote. Raises ReportError naming line and field."""
    found: dict[str, tuple[Finding, ...]] = {}
    for where, name, findings in records(path):
        try:
            found[name] = tuple(_finding(f, f"findings[{i}]") for i, f in enumerate(findings))
        except CaseError as error:
            raise ReportError(f"{where}: {error}") from None
    return found


def records(path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    """Of each line of a file: where it stands, the report's name, and its findings, which are not checked.

    Raises ReportError naming the line.
    """
    names: set[str] = set()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: expected a readable UTF-8 file, found: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
            name, findings = record["report"], record["findings"]
            if not isinstance(name, str) or not isinstance(findings, list):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise ReportError(
                f'{where}: expected {{"report": name, "findings": [...]}}, found {line[:60]!r}'
            ) from None
        if name in names:
            raise ReportError(f"{where}: expected each report once, found {name!r} again")
        names.add(name)
        yield where, name, findings


def _finding(value: Any, field: str) -> Finding:
    """A finding with the canonical name of its organ; its type and count may be left out."""
    if isinstance(value, dict):
        value = dict(value)
        value.setdefault("organ", None)
        value.setdefault("type", type_of(value["organ"]) if isinstance(value["organ"], str) else None)
        if value.get("presence") == "absent":
            value.setdefault("count", None)
    finding = decode_object(Finding, value, field)
    if finding.organ is None:
        return finding
    name, side = canonical(finding.organ)
    if name not in organs():
        raise CaseError(f"{field}.organ: expected a name of organs.tsv, found {finding.organ!r}")
    return dataclasses.replace(
        finding, organ=name, side=finding.side or side, type=finding.type or type_of(name)
    )
