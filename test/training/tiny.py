"""Small scans with bright balls in them, cached, and the settings of a run on them that takes seconds."""

import dataclasses
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from resources.cases.cache import Job, build
from resources.cases.case import Annotation, Case, Completeness, Finding, ImageSource, write_cases

SPACING_MM = 4.0
SHAPE = (40, 48, 48)
RUN = """
work = "run"
seed = 5
[[sources]]
name = "tiny"
cases = "train/cases.jsonl"
cache = "train/cache"
[network]
spacing_mm = 4.0
windows_hu = [[-160.0, 240.0]]
widths = [8, 12]
blocks = [1, 1]
[optimisation]
steps = {steps}
batch = {batch}
{optimisation}
[patches]
shape = [16, 16, 16]
lesion = 0.6
hard = 0.0
workers = 0
"""
STILL = """
[augmentation]
rotation_deg = 0.0
scale = 0.0
flip = 0.0
gain = 0.0
shift_hu = 0.0
phase_hu = 0.0
noise_hu = 0.0
blur_mm = 0.0
slice_mm = 0.0
"""
HELD = """
[validation]
cases = "held/cases.jsonl"
cache = "held/cache"
every_steps = {every}
"""


def write_scans(
    folder: Path, first: int, count: int = 4, healthy: int = 0, ball_hu: float = 160, known: str = "all"
) -> list[Case]:
    """Scans `first` to `first + count` - 1, with two balls each but for the last `healthy`. Makes
    FOLDER/cases.jsonl and FOLDER/cache, and FOLDER/truth.jsonl with all that is true.

    known: what the cases tell of the balls: "all", "recist" (a mark on each), "report" (that there are
    so many, and the size of the largest) or "nothing".
    """
    folder.mkdir(parents=True, exist_ok=True)
    lesions = [2] * (count - healthy) + [0] * healthy
    whole = [_write_scan(folder, first + i, n, ball_hu) for i, n in enumerate(lesions)]
    cases = [weakened(case, known) for case in whole]
    write_cases(folder / "truth.jsonl", whole)
    write_cases(folder / "cases.jsonl", cases)
    for case in cases:
        build(Job(case, folder / "cache", SPACING_MM, 4))
    return cases


def weakened(case: Case, known: str) -> Case:
    """The case as those know it who left a mark on each ball, wrote a report, or did nothing."""
    if known == "all":
        return case
    marks: tuple[Annotation, ...] = ()
    findings: tuple[Finding, ...] = ()
    if known == "recist":
        marks = tuple(recist_of(a) for a in case.annotations)
    elif known == "report":
        largest = max(float(a.long_mm or 0) for a in case.annotations)
        findings = (Finding("liver", "liver", count=len(case.annotations), sizes_mm=(largest,)),)
    return dataclasses.replace(case, annotations=marks, completeness=Completeness(), findings=findings)


def recist_of(ball: Annotation) -> Annotation:
    """The mark of two axes on the slice through a ball's centre."""
    x, y, z = (float(ball.attributes[axis]) for axis in "xyz")
    z, reach = float(round(z)), float(ball.long_mm or 0) / 2 / SPACING_MM
    long = ((x - reach, y, z), (x + reach, y, z))
    short = ((x, y - reach, z), (x, y + reach, z))
    return Annotation(
        "recist", ball.type, long=long, short=short, long_mm=ball.long_mm, short_mm=ball.long_mm
    )


def _write_scan(folder: Path, number: int, lesions: int, ball_hu: float) -> Case:
    draw = np.random.default_rng(number)
    hu = np.full(SHAPE, -1000.0)
    body = draw.normal(40, 12, SHAPE)[:, 4:-4, 4:-4]
    hu[:, 4:-4, 4:-4] = body
    labels = np.zeros(SHAPE, np.uint8)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    annotations = []
    for label in range(1, lesions + 1):
        low = np.array([8, 10, 9 + 18 * (label - 1)])
        center, radius = low + draw.uniform(0, (22, 26, 11)), draw.uniform(2.0, 3.5)
        ball = np.linalg.norm(grid - center, axis=-1) < radius
        hu[ball], labels[ball] = ball_hu, label
        mm = 2 * radius * SPACING_MM
        sizes = {"long_mm": mm, "short_mm": mm, "z_extent_mm": mm}
        mask = str(folder / f"{number}_lesions.mha")
        place = dict(zip("zyx", map(float, center), strict=True))
        annotations.append(Annotation("mask", "liver", mask=mask, label=label, attributes=place, **sizes))
    for name, values in ((f"{number}.mha", hu.astype(np.int16)), (f"{number}_lesions.mha", labels)):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing([SPACING_MM] * 3)
        sitk.WriteImage(image, str(folder / name))
    source = ImageSource(str(folder / f"{number}.mha"), size=SHAPE[::-1])
    whole = Completeness("all")
    return Case(f"scan-{number}", f"patient-{number}", "tiny", None, source, tuple(annotations), whole)


def write_run(folder: Path, text: str) -> Path:
    """FOLDER/run.toml, in a folder whose scans lie in train and held."""
    file = folder / "run.toml"
    file.write_text(text, encoding="utf-8")
    return file


def settings(steps: int, batch: int = 2, optimisation: str = "", more: str = "") -> str:
    return RUN.format(steps=steps, batch=batch, optimisation=optimisation) + more
