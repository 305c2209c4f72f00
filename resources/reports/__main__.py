"""Radiology reports to findings: python -m resources.reports FILE|DIR|- --out findings.jsonl"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track

from model.files import whole
from resources.cli import end_with
from resources.reports import deidentify, explain
from resources.reports.reader import Reading, explain_report
from resources.reports.schema import ReportError, finding_schema

SUFFIXES = (".txt", ".md", ".html", ".htm", ".rep", "")
PIPED_WIDTH = 160
"""Columns of --explain where the output is no terminal: room for the table."""


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m resources.reports", description=__doc__)
    parser.add_argument(
        "source",
        nargs="?",
        help="a report, a folder of reports (.txt, .md, .html), or - for standard input",
    )
    parser.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON schema of the output, for tools that write the same",
    )
    parser.add_argument("--language", choices=("auto", "en", "nl"), default="auto")
    parser.add_argument("--out", type=Path, help="JSON Lines: one report a line, with its findings")
    parser.add_argument(
        "--explain", action="store_true", help="print each report coloured, and what it became"
    )
    parser.add_argument(
        "--deidentify",
        action="store_true",
        help="strip names, dates and numbers from all that is written; reports are called by their position",
    )
    arguments = parser.parse_args(given)
    if arguments.schema:
        return arguments
    if arguments.source is None:
        parser.error("expected a report, a folder or -")
    if arguments.out is None and not arguments.explain:
        parser.error("expected --out FILE, --explain or both")
    return arguments


def reports(source: str) -> list[Path | None]:
    """The files to read, in order; None stands for standard input. Raises ReportError."""
    if source == "-":
        return [None]
    path = Path(source)
    if path.is_dir():
        found = sorted(
            p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES and p.name[0] != "."
        )
        if not found:
            raise ReportError(
                f"{source}: expected reports ({', '.join(SUFFIXES[:-1])}), found none in the folder"
            )
        return list(found)
    if not path.is_file():
        raise ReportError(f"{source}: expected a file, a folder or -, found nothing of that name")
    return [path]


def read_text(path: Path | None) -> str:
    """A report's text: UTF-8 (with or without a mark), else Latin-1. Raises ReportError."""
    try:
        data = sys.stdin.buffer.read() if path is None else path.read_bytes()
    except OSError as error:
        raise ReportError(f"{path}: expected a readable report, found: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def record(name: str, reading: Reading, text: str, masked: bool) -> str:
    """One line of the output: the report's name, its language and findings; if masked, its masked text."""
    findings = [dataclasses.asdict(f) for f in reading.findings]
    line: dict[str, object] = {"report": name, "language": reading.language, "findings": findings}
    if masked:
        for finding in findings:
            finding.update(series=None, images=())
        line["text"] = deidentify.mask(reading, text)
    return json.dumps(line, ensure_ascii=False) + "\n"


def _lines(arguments: argparse.Namespace, console: Console) -> Iterator[str]:
    root = Path(arguments.source)
    files = reports(arguments.source)
    quiet = arguments.explain or len(files) == 1 or not sys.stderr.isatty()
    progress = Console(stderr=True)
    for number, path in enumerate(track(files, "reports", console=progress, disable=quiet), 1):
        text = read_text(path)
        reading = explain_report(text, arguments.language)
        name = "-" if path is None else (str(path.relative_to(root)) if root.is_dir() else path.name)
        name = f"report {number}" if arguments.deidentify else name
        if arguments.explain:
            shown = deidentify.mask(reading, text) if arguments.deidentify else text
            console.rule(name)
            console.print(explain.coloured(reading, shown), explain.legend(), sep="\n")
            console.print(explain.table(reading.findings, shown))
        yield record(name, reading, text, arguments.deidentify)


def main(given: list[str] | None = None) -> int:
    arguments = _arguments(given)
    if arguments.schema:
        print(json.dumps(finding_schema(), indent=1))
        return 0
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    try:
        if arguments.out is None:
            for _ in _lines(arguments, console):
                pass
        else:
            with whole(arguments.out) as part, part.open("w", encoding="utf-8") as file:
                file.writelines(_lines(arguments, console))
    except (ReportError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
