"""The command line: what it writes, what it hides, and its errors."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import jsonschema
import pytest

from resources.reports.__main__ import main
from resources.reports.deidentify import mask
from resources.reports.reader import explain_report

REPORT = (
    "Naam: Jan de Vries, 12-03-1956.\n"
    "Verslag: Levermetastase van 23 mm in segment 6 (serie 4, ima 57). Dr. Pietersen\n"
)


def run(*arguments: object) -> int:
    return main([*map(str, arguments)])


def test_folder_to_json_lines(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "a.txt").write_text("Liver metastasis of 12 mm.", encoding="utf-8")
    (reports / "b.txt").write_bytes("Één nodus van 8 mm in de linker onderkwab.".encode("latin-1"))
    (reports / "c.png").write_bytes(b"no report")
    assert run(reports, "--out", tmp_path / "f.jsonl") == 0
    lines = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["report"], line["language"]) for line in lines] == [("a.txt", "en"), ("b.txt", "nl")]
    assert [line["findings"][0]["sizes_mm"] for line in lines] == [[12.0], [8.0]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.jsonl", "reports"]


def test_the_schema_is_that_of_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--schema") == 0
    schema = json.loads(capsys.readouterr().out)
    finding = schema["properties"]["findings"]["items"]
    (tmp_path / "a.txt").write_text("Left renal mass of 12 mm. No lung nodules.", encoding="utf-8")
    assert run(tmp_path / "a.txt", "--out", tmp_path / "f.jsonl") == 0
    line = json.loads((tmp_path / "f.jsonl").read_text(encoding="utf-8"))
    jsonschema.validate(line, schema)
    assert set(line["findings"][0]) == set(finding["properties"])
    line["findings"][0]["organ"] = "levr"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line, schema)


def test_explain_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Liver metastasis of 12 mm."), encoding="utf-8")
    )
    assert run("-", "--explain") == 0
    shown = capsys.readouterr().out
    assert "Liver metastasis of 12 mm." in shown
    # where the output is no terminal, a finding is in one line, not cut at 80 columns
    row = next(line for line in shown.splitlines() if "suspicious" in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells == [
        "metastasis of 12 mm",
        "present",
        "liver",
        "liver",
        "",
        "1",
        "12",
        "",
        "current",
        "suspicious",
    ]


def test_nothing_personal_is_written(tmp_path: Path) -> None:
    report = tmp_path / "jan de vries.txt"
    report.write_text(REPORT, encoding="utf-8")
    assert run(report, "--deidentify", "--out", tmp_path / "f.jsonl") == 0
    written = (tmp_path / "f.jsonl").read_text(encoding="utf-8")
    assert not any(word in written for word in ("Jan", "Vries", "vries", "1956", "12-03", "Pietersen"))
    line = json.loads(written)
    assert line["report"] == "report 1"
    finding = line["findings"][0]
    assert (finding["organ"], finding["sizes_mm"], finding["series"]) == ("liver", [23.0], None)
    assert line["text"][slice(*finding["span"])] == "Levermetastase van 23 mm"


def test_mask_keeps_offsets_and_sizes() -> None:
    masked = mask(explain_report(REPORT), REPORT)
    assert len(masked) == len(REPORT)
    assert "23 mm in segment 6" in masked


@pytest.mark.parametrize("text", ["a", "a1", "a.", "a@", "Aa ", "1/", "www.", "jan", "dr. "])
def test_masking_takes_as_long_as_the_report(text: str) -> None:
    """A run of half a million characters: quadratic patterns would take a quarter of an hour."""
    long = text * (500_000 // len(text))
    reading = explain_report(REPORT)
    masked = mask(reading, REPORT + "\n" + long)
    assert len(masked) == len(REPORT) + 1 + len(long)
    assert masked.startswith(mask(reading, REPORT))


@pytest.mark.parametrize("source", ["missing.txt", "empty"])
def test_errors_are_one_line(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / source, "--out", tmp_path / "f.jsonl") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "expected" in error
    assert error.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
