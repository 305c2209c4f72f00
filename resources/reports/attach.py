"""Reads the reports of a case list into its findings: python -m resources.reports.attach CASES --out FILE"""

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
from resources.reports.__main__ import ReportError, read_text
from resources.reports.reader import read_report


def attach(case: Case, language: str = "auto") -> Case:
    """The case with the findings of its report in place of those it had; without a report unchanged.

    A case whose attributes name its language ("en", "nl") is read in that one. Raises ReportError.
    """
    if case.report is None:
        return case
    told = case.attributes.get("language", language)
    chosen = told if told in ("en", "nl") else "auto"
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


def summary(cases: list[Case]) -> str:
    """One line: reports, and findings by presence."""
    by_presence = collections.Counter(f.presence for case in cases for f in case.findings)
    reports = sum(case.report is not None for case in cases)
    told = ", ".join(f"{count} {presence}" for presence, count in sorted(by_presence.items()))
    return f"{reports} of {len(cases)} cases have a report; findings: {told or 'none'}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.reports.attach", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("cases", type=Path, help="a case list (JSON Lines)")
    parser.add_argument(
        "--out", type=Path, required=True, help="the list with findings; may be the same file"
    )
    parser.add_argument("--language", choices=("auto", "en", "nl"), default="auto")
    options = parser.parse_args(arguments)
    try:
        cases = attach_all(read_cases(options.cases), options.language)
        write_cases(options.out, cases)
    except (CaseError, ReportError, OSError) as error:
        return end_with(error)
    print(f"{options.out}: {summary(cases)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
