"""The folder `data` that the guide begins with, in small: synthetic scans, their reports and a table."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import SimpleITK as sitk
from scipy.ndimage import find_objects

from helpers import ROOT, environment
from resources.cases.case import Annotation, Case, read_cases

FIRST = 101
SPLITS = ("train", "test", "validation", "validation", "train", "train", "train", "validation", "test")
"""Of the scans from seed FIRST on, of site A. Those without lesions are 102, 103, 105 and 106."""
MARKED = {"A-0000101": "point", "A-0000107": "box"}
"""Training scans of which one lesion is marked, and how; of the others only the report tells."""
COLUMNS = ("scan", "patient", "id", "split", "complete", "kind", "unit", "x1", "y1", "z1", "x2", "y2", "z2")
COLUMNS += ("type", "status")


def write_data(folder: Path) -> None:
    """FOLDER/scans, FOLDER/reports, FOLDER/scans.csv: scans of the upper abdomen with voxels of 6 mm."""
    for part in ("scans", "reports"):
        (folder / part).mkdir(parents=True)
    command = [sys.executable, "-m", "resources.synthetic", "--site", "A", "--seed", str(FIRST)]
    command += ["--count", str(len(SPLITS)), "--spacing-mm", "6", "--coverage", "upper abdomen"]
    command += ["--processes", "1", "--out", str(folder / "made")]
    subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=True)
    cases = read_cases(folder / "made" / "cases.jsonl")
    rows = [row for case, split in zip(cases, SPLITS, strict=True) for row in _rows(case, split, folder)]
    shutil.rmtree(folder / "made")
    with (folder / "scans.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _rows(case: Case, split: str, folder: Path) -> list[dict[str, object]]:
    """Moves a scan and its report; its rows of the table."""
    made = Path(case.image.path)
    places = find_objects(sitk.GetArrayFromImage(sitk.ReadImage(str(made.with_name("lesions.mha")))))
    made.rename(folder / "scans" / f"{case.id}.mha")
    Path(str(case.report)).rename(folder / "reports" / f"{case.id}.txt")
    scan = {"scan": f"scans/{case.id}.mha", "patient": f"patient of {case.id}", "id": case.id, "split": split}
    scan["complete"] = "none" if split == "train" else "all"
    own = case.annotations
    if split == "train":
        own = tuple(a for a in own if a.status == "lesion")[: int(case.id in MARKED)]
    marks = [_mark(a, places[(a.label or 0) - 1], MARKED.get(case.id, "box")) for a in own]
    return [{**scan, **mark} for mark in marks or [{}]]


def _mark(a: Annotation, place: tuple[slice, slice, slice], kind: str) -> dict[str, object]:
    mark = {"kind": kind, "unit": "voxel", "type": a.type, "status": a.status}
    for axis, span in zip("zyx", place, strict=True):
        if kind == "point":
            mark[f"{axis}1"] = (span.start + span.stop - 1) / 2
        else:
            mark |= {f"{axis}1": span.start - 0.5, f"{axis}2": span.stop - 0.5}
    return mark
