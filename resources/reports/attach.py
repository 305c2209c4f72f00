"""Reads the reports of a case list into its findings: python -m resources.reports.attach CASES --out FILE

With --findings the findings come from a file that another tool wrote (docs/reports.md) instead.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from resources.cases.case import Case, CaseError, read_cases, write_cases
from resources.cli import end_with
from resources.reports.__main__ import read_text
from resources.reports.reader import read_report
from resources.reports.schema import ReportError, read_findings

NAMED = 20
"""Cases without findings that are named."""


def attach(case: Case, language: str = "auto") -> Case:
    """The case with the findings of its report in place of those it had; without a report unchanged.

    A case whose attributes name its language ("en", "nl") is read in that one. Raises ReportError.
    """
    if case.report is None:
        return case
    named = case.attributes.get("language", language)
    chosen = named if named in ("en", "nl") else "auto"
    findings = read_report(read_text(Path(case.report)), chosen)  # type: ignore[arg-type]
    return dataclasses.replace(case, findings=tuple(findings))


def attach_all(cases: list[Case], language: str) -> list[Case]:
    """All cases with their findings. Raises ReportError naming the first whose report cannot be read."""
    found = []
    hidden = not sys.stderr.isatty()
    for case in track(cases, "reports", console=Console(stderr=True), disable=hidden):
        try:
            found.append(attach(case, language))
        except ReportError as error:
            raise ReportError(f"case {case.id}: {error}") from None
    return found


def attach_from(cases: list[Case], path: Path) -> list[Case]:
    """All cases with the findings that `path` gives their report's file name, its stem, or their id.

    Cases without a report keep what they have unless the file names them. Raises ReportError for a case whose
    report the file does not name, and for names of no case.
    """
    given = read_findings(path)
    used: set[str] = set()
    found = []
    for case in cases:
        report = None if case.report is None else Path(case.report)
        names = [case.id, *([report.name, report.stem] if report else [])]
        name = next((name for name in names if name in given), None)
        if name is None and report is not None:
            raise ReportError(f"case {case.id}: expected findings of {report.name} in {path}, found none")
        used.add(name or "")
        found.append(case if name is None else dataclasses.replace(case, findings=given[name]))
    unknown = sorted(set(given) - used)
    if unknown:
        raise ReportError(f"{path}: expected names of reports or cases, found {unknown[0]!r} of no case")
    return found


def silent(cases: list[Case]) -> list[str]:
    """The ids of the cases whose report gave no finding."""
    return [case.id for case in cases if case.report is not None and not case.findings]


def summary(cases: list[Case]) -> str:
    """One line: reports, and findings by presence."""
    by_presence = collections.Counter(f.presence for case in cases for f in case.findings)
    reports = sum(case.report is not None for case in cases)
    counts = ", ".join(f"{count} {presence}" for presence, count in sorted(by_presence.items()))
    return f"{reports} of {len(cases)} cases have a report; findings: {counts or 'none'}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.reports.attach", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("cases", type=Path, help="a case list (JSON Lines)")
    parser.add_argument(
        "--out", type=Path, required=True, help="the list with findings; may be the same file"
    )
    parser.add_argument("--language", choices=("auto", "en", "nl"), default="auto")
    parser.add_argument("--findings", type=Path, help="findings of another tool, one report a line")
    options = parser.parse_args(arguments)
    try:
        cases = read_cases(options.cases)
        cases = (
            attach_from(cases, options.findings) if options.findings else attach_all(cases, options.language)
        )
        write_cases(options.out, cases)
    except (CaseError, ReportError, OSError) as error:
        return end_with(error)
    print(f"{options.out}: {summary(cases)}")
    if nothing := silent(cases):
        shown = ", ".join(nothing[:NAMED]) + (
            f" and {len(nothing) - NAMED} more" if len(nothing) > NAMED else ""
        )
        print(f"no finding in {len(nothing)} reports, of the cases {shown}: see them with --explain")
    return 0


if __name__ == "__main__":
    sys.exit(main())
