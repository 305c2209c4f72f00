"""Writes docs/cli.md, the options of all commands, from what each says with --help.

python -m resources.commands [--out docs/cli.md]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import re
import sys
from pathlib import Path
from unittest import mock

from model.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cli.md"
WIDTH = 100
PYTHON = (3, 11)
"""The version whose argparse lays out the page; others break lines elsewhere."""
CASES = ("deeplesion", "uls23", "masks", "inhouse", "reviews", "cache", "check", "describe")
GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Find lesions": (
        ("process",),
        ("resources.predict",),
        ("resources.map_organs",),
        ("resources.review",),
        ("resources.review", "compare"),
    ),
    "Cases": tuple(("resources.cases", name) for name in CASES),
    "Reports": (("resources.reports",), ("resources.reports.attach",), ("resources.reports.score",)),
    "Training": (("resources.training",), ("resources.training.export",)),
    "Evaluation": (("resources.evaluation",),),
    "Synthetic CT": (
        ("resources.synthetic",),
        ("resources.synthetic.bank",),
        ("resources.synthetic.report_writer",),
        ("resources.synthetic.realism",),
        ("resources.synthetic.benchmark",),
    ),
    "Studies": (("resources.study", "run"), ("resources.study", "table"))
    + tuple(
        (f"resources.study.{name}",)
        for name in ("real", "crop_probe", "organs", "difficulty", "blob", "peers", "pairing",
                     "read_back", "benchmark", "demo", "picture")
    ),
    "The project itself": (("resources.commands",), ("resources.pins",)),
}  # fmt: skip
"""Headings, and the module of each command with the name of its part, if it has parts."""


def help_of(module: str, *part: str) -> str:
    """What a command prints with --help, in lines of WIDTH."""
    try:
        main = importlib.import_module(f"{module}.__main__").main
    except ModuleNotFoundError:
        main = importlib.import_module(module).main
    text = io.StringIO()
    shown_as = [f"{module}.py", *part]  # the name of a command that does not say it
    with (
        mock.patch.dict(os.environ, {"COLUMNS": str(WIDTH)}),
        mock.patch.object(sys, "argv", shown_as),
        contextlib.redirect_stdout(text),
    ):
        try:
            main([*part, "--help"])
        except SystemExit as end:
            if end.code:
                raise
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE).strip()


def page() -> str:
    """The text of docs/cli.md."""
    lines = ["# Commands", "", "Written by `python -m resources.commands` from what each says with `--help`."]
    for heading, commands in GROUPS.items():
        lines += ["", f"## {heading}"]
        for module, *part in commands:
            name = "process.py" if module == "process" else f"-m {module}"
            lines += ["", f"### `{' '.join(['python', name, *part])}`", "", "```text"]
            lines += [help_of(module, *part), "```"]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.commands", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=PAGE, help="the page (default: docs/cli.md)")
    options = parser.parse_args(arguments)
    write_whole(options.out, page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
