"""Examples of each kind of error that reports invite, in both languages: kinds.tsv."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("sentences", HERE / "test_findings.py")
assert spec is not None
assert spec.loader is not None
sentences = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sentences)


def examples() -> list[tuple[str, str, str, list[str]]]:
    """(kind, language, text, expected findings) of each row."""
    lines = (HERE / "kinds.tsv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE)
    return [
        (
            row["kind"],
            row["language"],
            row["text"].replace("\\n", "\n"),
            [x for x in row["expected"].split("; ") if x],
        )
        for row in rows
    ]


@pytest.mark.parametrize(("kind", "language", "text", "expected"), examples())
def test_kinds(kind: str, language: str, text: str, expected: list[str]) -> None:
    assert sentences.read(text, language) == expected, kind


def test_ten_of_each_kind() -> None:
    cells = [(kind, language) for kind, language, _, _ in examples()]
    assert all(cells.count(cell) >= 10 for cell in cells)
