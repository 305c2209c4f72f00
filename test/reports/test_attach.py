"""Reports read into a case list."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.cases.case import Case, Finding, ImageSource, read_cases, write_cases
from resources.reports.attach import main


def case(number: int, report: Path | None, **more: object) -> Case:
    image = ImageSource(f"/scans/{number}.mha")
    name = None if report is None else str(report)
    return Case(f"c{number}", f"p{number}", "site", "train", image, report=name, **more)  # type: ignore[arg-type]


def test_findings_come_from_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    english, dutch = tmp_path / "en.txt", tmp_path / "nl.txt"
    english.write_text("Metastasis of 12 mm in the liver. No lung nodules.", encoding="utf-8")
    dutch.write_text("Levermetastase van 23 mm.", encoding="utf-8")
    old = Finding("bone", "rib")
    cases = [case(1, english, findings=(old,)), case(2, dutch), case(3, None, findings=(old,))]
    write_cases(tmp_path / "in.jsonl", cases)
    assert main([str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]) == 0
    first, second, third = read_cases(tmp_path / "out.jsonl")
    assert [(f.type, f.presence, f.sizes_mm) for f in first.findings] == [
        ("liver", "present", (12.0,)),
        ("lung", "absent", ()),
    ]
    assert [(f.organ, f.sizes_mm, f.language) for f in second.findings] == [("liver", (23.0,), "nl")]
    assert third.findings == (old,)
    assert "2 of 3 cases have a report; findings: 1 absent, 3 present" in capsys.readouterr().out


def test_a_report_that_is_not_there_leaves_the_list_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path / "in.jsonl", [case(1, tmp_path / "gone.txt")])
    before = (tmp_path / "in.jsonl").read_bytes()
    assert main([str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "in.jsonl")]) == 2
    assert "error: case c1: " in capsys.readouterr().err
    assert (tmp_path / "in.jsonl").read_bytes() == before
