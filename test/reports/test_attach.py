"""Reports read into a case list."""

from __future__ import annotations

import json
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


def test_reports_that_gave_nothing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("Metastasis of 12 mm in the liver.", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Good morning.", encoding="utf-8")
    write_cases(tmp_path / "in.jsonl", [case(1, tmp_path / "a.txt"), case(2, tmp_path / "b.txt")])
    assert main([str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]) == 0
    assert "no finding in 1 reports, of the cases c2" in capsys.readouterr().out


def given(path: Path, *lines: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_findings_of_another_tool(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("never read", encoding="utf-8")
    write_cases(
        tmp_path / "in.jsonl", [case(1, tmp_path / "a.txt"), case(2, tmp_path / "b.txt"), case(3, None)]
    )
    file = given(
        tmp_path / "llm.jsonl",
        {
            "report": "a",
            "findings": [
                {"organ": "left kidney", "presence": "present", "sizes_mm": [31]},
                {"organ": "gall bladder", "presence": "absent"},
            ],
        },
        {"report": "b.txt", "findings": []},
        {"report": "c3", "findings": [{"organ": None, "presence": "absent"}]},
    )
    out = tmp_path / "out.jsonl"
    assert main([str(tmp_path / "in.jsonl"), "--out", str(out), "--findings", str(file)]) == 0
    first, second, third = read_cases(out)
    assert [(f.type, f.organ, f.side, f.count, f.sizes_mm) for f in first.findings] == [
        ("kidney", "kidney", "left", 1, (31.0,)),
        ("abdomen", "gallbladder", None, None, ()),
    ]
    assert second.findings == ()
    assert [(f.organ, f.presence) for f in third.findings] == [(None, "absent")]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ({"report": "a", "findings": [{"organ": "levr", "presence": "present"}]}, "organs.tsv, found 'levr'"),
        (
            {"report": "a", "findings": [{"organ": "liver", "presence": "maybe"}]},
            "present, absent, uncertain",
        ),
        (
            {"report": "a", "findings": [{"organ": "liver", "presence": "absent", "size": 3}]},
            "findings[0].size",
        ),
        ({"report": "z", "findings": []}, "case c1: expected findings of a.txt"),
        ({"name": "a"}, 'line 1: expected {"report": name'),
    ],
)
def test_findings_that_do_not_fit_are_refused(
    line: dict[str, object], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("never read", encoding="utf-8")
    write_cases(tmp_path / "in.jsonl", [case(1, tmp_path / "a.txt")])
    file = given(tmp_path / "llm.jsonl", line)
    out = tmp_path / "out.jsonl"
    assert main([str(tmp_path / "in.jsonl"), "--out", str(out), "--findings", str(file)]) == 2
    assert error in capsys.readouterr().err
    assert not out.exists()


def test_a_report_that_is_not_there_leaves_the_list_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(tmp_path / "in.jsonl", [case(1, tmp_path / "gone.txt")])
    before = (tmp_path / "in.jsonl").read_bytes()
    assert main([str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "in.jsonl")]) == 2
    assert "error: case c1: " in capsys.readouterr().err
    assert (tmp_path / "in.jsonl").read_bytes() == before
