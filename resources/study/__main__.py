"""The study: what weak annotations and reports add to a detector that works, setting by setting.

    python -m resources.study run SETTING --maps MAPS [--work build/study/SETTING] [--to STAGE]
    python -m resources.study table

run makes scans, case lists and caches, trains a base from scratch and measures the headroom: how much all
masks of the new scans would add, on the validation scans. Below the setting's least headroom it ends there.
Then it trains every arm from the base, with the same number of steps and the same seeds, predicts the test
scans when all arms are trained, those of another site too where the setting has some, and stores the figures
as resources/study/results/SETTING.json. What is done
is kept; the same command goes on. table writes the tables of docs/results.md from the stored results, and
those of the detector from what other commands wrote into its folders real and detector (CONTRIBUTING.md).
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from model.files import write_whole
from resources.cases.case import CaseError
from resources.cli import FAILED, end_with
from resources.evaluation import EvaluationError
from resources.study.arms import make_lists, make_scans, predict, run_name, train_arm, train_base
from resources.study.contrasts import strata_names
from resources.study.detector_tables import with_detector_tables
from resources.study.errors import counted
from resources.study.measured import arms_of, headroom_of, origin
from resources.study.setting import FOLDER, Setting, names, read_setting
from resources.study.steps import ROOT
from resources.study.tables import PAGE, RESULTS, replaced

STAGES = ("scans", "base", "headroom", "arms", "figures")


def run(setting: Setting, name: str, options: argparse.Namespace) -> int:
    """All stages up to --to."""
    work, stage = options.work or ROOT / "build" / "study" / name, STAGES.index(options.to)
    work, arms = work.absolute(), options.arms or list(setting.arms)
    make_scans(setting, work, options.maps and options.maps.absolute())
    data = options.data and options.data.absolute()
    make_lists(setting, work, False, data)
    if stage >= STAGES.index("base"):
        train_base(setting, work)
        make_lists(setting, work, True, data)
        store(options.out, name, {"errors": counted(setting, work)})
    if stage >= STAGES.index("headroom"):
        for arm in setting.headroom:
            train_arm(setting, work, arm, setting.seeds[0])
        found = headroom_of(setting, work)
        store(options.out, name, {"headroom": found | origin(name, setting, work)})
        value = found["difference"][f"{strata_names(setting)[0]}: {setting.endpoint}"][0]
        error = lack_of(value, setting.least_headroom)
        print(f"headroom: {value} on the validation scans", file=sys.stderr)
        if error:
            print(f"error: {name}: {error}: change the setting", file=sys.stderr)
            return FAILED
    if stage >= STAGES.index("arms"):
        for seed, arm in itertools.product(setting.seeds, arms):
            train_arm(setting, work, arm, seed)
    if stage >= STAGES.index("figures"):
        for test, arm, seed in itertools.product(setting.tests, arms, setting.seeds):
            predict(setting, work, run_name(arm, seed), test)
        for test in setting.tests:
            measured = arms_of(setting, work, arms, test) | origin(name, setting, work)
            store(options.out, name, {test: measured})
        if setting.is_real:
            store(options.out, name, {"crops": arms_of(setting, work, arms, in_crops=True)})
    return 0


def lack_of(headroom: float | None, least: float) -> str:
    """What is wrong with a headroom; empty if it is enough. None: it cannot be told."""
    if headroom is not None and headroom >= least:
        return ""
    said = "none that can be measured" if headroom is None else f"{headroom:.3f}"
    return f"expected a headroom of {least:g} or more, found {said}"


def store(out: Path, name: str, part: dict[str, Any]) -> None:
    """Puts a part into the stored results of a setting."""
    path = out / f"{name}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_whole(path, json.dumps(known | part, indent=1) + "\n")


def table(options: argparse.Namespace) -> int:
    """The page with its tables made anew."""
    results = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.out.glob("*.json"))
    }
    settings = {name: read_setting(FOLDER / f"{name}.toml") for name in results}
    text = options.page.read_text(encoding="utf-8")
    write_whole(options.page, with_detector_tables(replaced(text, settings, results), options.out))
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m resources.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = found.add_subparsers(required=True, metavar="COMMAND", dest="command")
    sub = commands.add_parser("run", help="runs a setting", description="Runs a setting, or goes on with it.")
    sub.add_argument("setting", choices=names())
    sub.add_argument("--work", type=Path, help="default: build/study/SETTING")
    sub.add_argument("--maps", type=Path, help="label maps of real people, as resources.synthetic takes them")
    sub.add_argument("--data", type=Path, help="real scans, as resources.study.real takes them")
    sub.add_argument("--to", choices=STAGES, default=STAGES[-1], help="the last stage (default: %(default)s)")
    sub.add_argument("--arms", nargs="+", metavar="ARM", help="only these (default: all of the setting)")
    sub.add_argument("--out", type=Path, default=RESULTS, help="folder of the stored results")
    sub = commands.add_parser(
        "table", help="writes the tables", description="Writes the tables of docs/results.md."
    )
    sub.add_argument("--page", type=Path, default=PAGE)
    sub.add_argument("--out", type=Path, default=RESULTS, help="folder of the stored results")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0; 1 where the headroom is too small; 2 on bad input; that of a step that failed."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "table":
            return table(options)
        setting = read_setting(FOLDER / f"{options.setting}.toml")
        unknown = sorted(set(options.arms or ()) - set(setting.arms))
        if unknown:
            raise CaseError(f"--arms: expected of {', '.join(setting.arms)}, found {unknown[0]}")
        return run(setting, options.setting, options)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    except (CaseError, EvaluationError, OSError) as error:
        return end_with(error)


if __name__ == "__main__":
    sys.exit(main())
