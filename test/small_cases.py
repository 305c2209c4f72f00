"""A few small scans as files with cases, cached, and a run's settings for them; for tests of training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from resources.cases.cache import fill
from resources.cases.case import Annotation, Case, Completeness, Finding, ImageSource, read_cases, write_cases
from resources.training.config import Optimisation, Patches, Source, TrainingConfig

LIVER, SPLEEN = 7, 8
SIDE = (24, 40, 48)
"""Voxels (z, y, x) of 2 mm of each scan; two thirds of it are body."""


def write(path: Path, array: np.ndarray) -> str:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((10.0, 20.0, -30.0))
    sitk.WriteImage(image, str(path))
    return str(path)


def make_case(folder: Path, name: str, kind: str, seed: int = 0) -> Case:
    """kind: "full" (a mask, all complete), "mark" (a point) or "report" (a finding in the liver)."""
    random = np.random.default_rng(seed)
    hu, organs = np.full(SIDE, -1000, np.int16), np.zeros(SIDE, np.uint8)
    hu[:, 4:36, 4:44] = random.integers(-50, 50, (SIDE[0], 32, 40))
    organs[:, 4:36, 4:24], organs[:, 4:36, 24:44] = LIVER, SPLEEN
    z, y, x = (int(v) for v in random.integers((8, 10, 10), (16, 28, 34)))
    lesion = np.zeros(SIDE, np.uint8)
    lesion[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] = 1
    hu[lesion > 0] = 150
    image = ImageSource(write(folder / f"{name}.mha", hu))
    values = {"liver": (LIVER,), "spleen": (SPLEEN,)}
    known = Completeness(
        "all" if kind == "full" else "none",
        organ_labels=write(folder / f"{name}_organs.mha", organs),
        organ_values=values,
    )
    annotations: tuple[Annotation, ...] = ()
    findings: tuple[Finding, ...] = ()
    if kind == "full":
        mask = write(folder / f"{name}_lesions.mha", lesion)
        size = {"long_mm": 10.0, "short_mm": 10.0, "z_extent_mm": 10.0}
        annotations = (Annotation("mask", "liver", mask=mask, label=1, **size),)  # type: ignore[arg-type]
    elif kind == "mark":
        annotations = (Annotation("point", point=(x, y, z), long_mm=10.0),)
    else:
        findings = (Finding("liver", "liver", sizes_mm=(10.0,)),)
    return Case(name, name, "small", "train", image, annotations, known, findings)


def make_config(folder: Path, cached: bool = True, **changes: Any) -> TrainingConfig:
    """Two sources of two scans each: full, and mark with report."""
    sources = []
    for source, kinds in (("a", ("full", "full")), ("b", ("mark", "report"))):
        cases = [make_case(folder, f"{source}{i}", kind, i) for i, kind in enumerate(kinds)]
        write_cases(folder / f"{source}.jsonl", cases)
        if cached:
            fill(read_cases(folder / f"{source}.jsonl"), folder / source, 2.0, 8, 1, None)
        sources.append(Source(source, str(folder / f"{source}.jsonl"), str(folder / source)))
    config = TrainingConfig(
        str(folder / "work"), tuple(sources), Optimisation(8, batch=2),
        patches=Patches((16, 16, 24), workers=0),
    )  # fmt: skip
    return dataclasses.replace(config, **changes)
