"""DeepLesion, ULS23 and a hospital's scans with reports, in their layouts: small trunks with bright balls."""

import csv
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from cases.layouts import row, table, write_image, write_slices

from helpers import phantom

PIXELS, PIXEL_MM = 80, 1.6
SLICES, SLICE_MM = 24, 5.0
SHAPE, SPACING = (SLICES, PIXELS, PIXELS), (PIXEL_MM, PIXEL_MM, SLICE_MM)
FIRST = 11
"""Number of the first stored slice of DeepLesion's series."""
BALL_HU, RADIUS_MM = 300, 12.0
PLACES = ((40, 24, 12), (26, 44, 6), (54, 44, 17), (40, 56, 9))
"""Voxels (x, y, z) at which there may be balls."""
TERMS = ["liver", "lung"]
"""Of the small LesaNet file: the first for every lesion of DeepLesion."""
REPORTS = {
    "s1": "There is a metastasis of 24 mm in the liver. No lung nodules.",
    "s2": "Levermetastase van 24 mm. Geen longnoduli.",
    "s3": "No metastases.",
}
"""Of the hospital's training scans: one without a mark, one with one of its two lesions marked, one without
lesions."""


def trunk(seed: int, balls: tuple[int, ...]) -> np.ndarray:
    """HU (z, y, x) with balls at some of PLACES."""
    hu = phantom(SHAPE, seed)
    for ball in balls:
        hu[ball_at(ball)] = BALL_HU
    return hu


def ball_at(number: int) -> np.ndarray:
    x, y, z = PLACES[number]
    grid = np.ogrid[:SLICES, :PIXELS, :PIXELS]
    apart = [(g - c) * mm for g, c, mm in zip(grid, (z, y, x), SPACING[::-1], strict=True)]
    return np.asarray(apart[0] ** 2 + apart[1] ** 2 + apart[2] ** 2 <= RADIUS_MM**2)


def write_deeplesion(folder: Path) -> None:
    """DL_info.csv, Images_png and terms.json: three patients to train, with two balls each and one mark."""
    rows = []
    for patient in (1, 2, 3):
        series = f"{patient:06d}_01_01"
        balls = (patient - 1, patient)
        write_slices(folder, series, FIRST, trunk(patient, balls))
        x, y, z = PLACES[balls[0]]
        r = RADIUS_MM / PIXEL_MM
        ends = (x - r, y, x + r, y, x, y - r, x, y + r)
        rows.append(
            row(
                series,
                FIRST + z,
                Measurement_coordinates=", ".join(map(str, ends)),
                Bounding_boxes=f"{x - r - 5}, {y - r - 5}, {x + r + 5}, {y + r + 5}",
                Lesion_diameters_Pixel_=f"{2 * r}, {2 * r}",
                Slice_range=f"{FIRST}, {FIRST + SLICES - 1}",
                Spacing_mm_px_=", ".join(map(str, SPACING)),
                Image_size=f"{PIXELS}, {PIXELS}",
            )
        )
    table(folder / "DL_info.csv", rows)
    terms = {"term_list": TERMS, "train_lesion_idxs": [0, 1, 2], "train_relevant_labels": [[0]] * 3}
    terms |= {"val_lesion_idxs": [], "test_lesion_idxs": []}
    (folder / "terms.json").write_text(json.dumps(terms), encoding="utf-8")


def write_uls23(folder: Path) -> None:
    """A fully annotated volume of interest, and one of DeepLesion's patients with a mask on one slice."""
    for seed, (kind, part, name) in enumerate(
        (
            ("labels", "novel_data/ULS23_Radboudumc_Bone", "b1_lesion_01"),
            ("labels_grabcut", "processed_data/partially_annotated/DeepLesion", "000001_01_01_100_lesion_01"),
        )
    ):
        write_image(folder / part / "images" / f"{name}.nii.gz", trunk(10 + seed, (0, 2)), SPACING)
        mask = ball_at(0)
        if kind == "labels_grabcut":
            mask &= (np.arange(SLICES) == PLACES[0][2])[:, None, None]
        write_image(folder / part / kind / f"{name}.nii.gz", mask.astype(np.uint8), SPACING)


def write_inhouse(folder: Path) -> None:
    """scans.csv, scans, reports: three scans to train on, with REPORTS; three to validate, two to test."""
    (folder / "scans").mkdir(parents=True)
    (folder / "reports").mkdir()
    rows: list[dict[str, object]] = []
    balls: dict[str, tuple[int, ...]] = {"s1": (0,), "s2": (0, 1), "s3": ()}
    balls |= {"v1": (0, 3), "v2": (1,), "v3": (), "t1": (2, 3), "t2": ()}
    for number, (name, own) in enumerate(balls.items()):
        image = sitk.GetImageFromArray(trunk(20 + number, own))
        image.SetSpacing(SPACING)
        sitk.WriteImage(image, str(folder / "scans" / f"{name}.nii.gz"))
        text = REPORTS.get(name, "Findings: see the marks.")
        (folder / "reports" / f"{name}.txt").write_text(text, encoding="utf-8")
        split = {"s": "train", "v": "validation", "t": "test"}[name[0]]
        scan = {"scan": f"scans/{name}.nii.gz", "patient": f"p-{name}", "id": name, "split": split}
        scan["complete"] = "none" if split == "train" else "all"
        marked = own[:1] if split == "train" else own
        marks = [_mark(split, ball) for ball in marked] if name != "s1" else []
        rows += [{**scan, **mark} for mark in marks or [{}]]
    names = list(dict.fromkeys(name for values in rows for name in values))
    with (folder / "scans.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _mark(split: str, ball: int) -> dict[str, object]:
    """RECIST axes in a training scan, else a box."""
    x, y, z = PLACES[ball]
    r, rz = RADIUS_MM / PIXEL_MM, RADIUS_MM / SLICE_MM
    if split == "train":
        kind, ends = "recist", (x - r, y, z, x + r, y, z, x, y - r, z, x, y + r, z)
    else:
        kind, ends = "box", (x - r, y - r, z - rz, x + r, y + r, z + rz)
    coordinates = {f"{'xyz'[i % 3]}{i // 3 + 1}": value for i, value in enumerate(ends)}
    return {"kind": kind, "unit": "voxel", "type": "liver", **coordinates}
