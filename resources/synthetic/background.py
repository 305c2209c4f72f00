"""Real scans into which lesions are put: reading them, with organ labels or without, and blending."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.geometry import image_of
from model.preprocess import AIR_HU, preprocess
from model.volume import InputError, Volume, read_volume
from resources.cases.images import read_labels
from resources.synthetic.draw import Draw
from resources.synthetic.graft import largest_part, lungs_of
from resources.synthetic.labelmap import TOTAL, find_table, read_table
from resources.synthetic.organs import LABEL, tissue_hu
from resources.synthetic.scanner import blur_plane
from resources.synthetic.space import Space

MASK_MM = 2.0
"""Grid on which the patient is told from what lies around."""


@dataclasses.dataclass(frozen=True)
class Background:
    """volume: in LPS. labels: organ labels on its grid, (z, y, x). guessed: told from HU alone."""

    volume: Volume
    labels: npt.NDArray[np.uint8]
    guessed: bool


def read_background(image: str, labels: str | None, table: str | None) -> Background:
    """A real CT. Labels are paired with it by voxels, not by mm; where preprocessing sees no patient (table,
    mattress, clothes) there are none. Raises InputError, LabelMapError.
    """
    stored = read_volume(Path(image))
    volume = in_lps(stored)
    guessed = np.where(in_patient(volume), guess_labels(volume), 0).astype(np.uint8)
    if labels is None:
        return Background(volume, guessed, True)
    values = read_labels(Path(labels)).values
    if values.shape != stored.hu.shape:
        raise InputError(f"{labels}: expected {stored.hu.shape} voxels (z, y, x), found {values.shape}")
    values = in_lps(dataclasses.replace(stored, hu=values)).hu
    translate = np.zeros(int(values.max()) + 1, np.uint8)
    for label, (organ, _) in read_table(find_table(table or TOTAL)).items():
        if label < len(translate):
            translate[label] = LABEL[organ]
    named = translate[values]
    return Background(volume, np.where(named > 0, named, guessed).astype(np.uint8), False)


def in_patient(volume: Volume) -> npt.NDArray[np.bool_]:
    """(z, y, x) voxels of a volume in LPS that the detector's preprocessing takes for the patient."""
    grid = preprocess(volume, MASK_MM, 1)
    inside = (grid.hu > AIR_HU).numpy()
    for axis, count in enumerate(volume.hu.shape):
        mm = volume.origin_mm[2 - axis] + volume.spacing_mm[2 - axis] * np.arange(count)
        index = np.rint(mm / MASK_MM).astype(int) - grid.lower[axis]
        held = (index >= 0) & (index < grid.hu.shape[axis])
        inside = inside.take(index.clip(0, grid.hu.shape[axis] - 1), axis)
        inside &= held.reshape([-1 if other == axis else 1 for other in range(3)])
    return inside


def in_lps(volume: Volume) -> Volume:
    """The volume with axes along LPS, by flips and transpositions. Raises InputError if oblique."""
    import SimpleITK as sitk

    largest = np.abs(volume.direction).max(0)
    if np.abs(largest - 1).max() > 1e-3:
        raise InputError("background: expected axes along the patient's, found an oblique grid")
    image = sitk.DICOMOrient(image_of(volume.hu, volume.geometry), "LPS")
    return Volume(sitk.GetArrayFromImage(image), image.GetSpacing(), image.GetOrigin(), np.eye(3))


def guess_labels(volume: Volume) -> npt.NDArray[np.uint8]:
    """Lung, fat beneath the skin and deep, and muscle, as far as attenuation and depth tell them."""
    from scipy import ndimage

    hu = volume.hu
    body = np.stack([ndimage.binary_fill_holes(largest_part(plane > -300)) for plane in hu])
    depth = np.stack([ndimage.distance_transform_edt(plane) for plane in body]) * volume.spacing_mm[0]
    labels = np.zeros(hu.shape, np.uint8)
    fat = body & (hu > -150) & (hu < -30)
    labels[fat & (depth < 30)] = LABEL["subcutaneous fat"]
    labels[fat & (depth >= 30)] = LABEL["abdominal fat"]
    soft = ndimage.binary_opening(body & (hu > 5) & (hu < 90), iterations=2)
    labels[soft & (depth < 45)] = LABEL["muscle"]
    lung = lungs_of(volume, None).holds(tuple(slice(0, n) for n in hu.shape)) & (hu < -600)
    left = np.arange(hu.shape[2])[None, None, :] > hu.shape[2] / 2
    labels[lung & left] = LABEL["lung left lower"]
    labels[lung & ~left] = LABEL["lung right lower"]
    return labels


def background_space(background: Background, draw: Draw, device: str) -> Space:
    """The grid of a real scan, holding its HU and labels, without any displacement."""
    volume = background.volume
    depth, height, width = volume.hu.shape
    space = Space((depth, height, width), volume.spacing_mm, volume.origin_mm, draw, device=device)
    space.hu = torch.from_numpy(np.ascontiguousarray(volume.hu, np.float32)).to(space.device)
    space.label = torch.from_numpy(background.labels.copy()).to(space.device)
    return space


def background_tissues(space: Space, draw: Draw) -> dict[str, float]:
    """Tissues of the phase that the labelled aorta shows; unenhanced where there is none."""
    means = {n: space.hu[space.label == LABEL[n]] for n in ("liver", "aorta")}
    levels = {n: float(v.median()) for n, v in means.items() if len(v)}
    aorta = levels.get("aorta", 42.0)
    phase = "arterial" if aorta > 220 else ("portal" if aorta > 90 else "none")
    return tissue_hu(phase, draw) | levels


def blend(before: torch.Tensor, space: Space) -> torch.Tensor:
    """Lesions in a real scan, as int16: their edges blurred as its own are, with the scan's noise in them.

    before, space.hu: (z, y, x) HU without and with lesions. The noise is what a blur takes off, but for what
    is above three standard deviations and beside it: vessels and edges, which the lesion covers. Outside the
    lesions' blurred neighbourhood the scan's voxels are kept exactly.
    """
    sigma = 0.6 / space.step_mm[0]
    fine = before - blur_plane(before, max(1.2, 2.0 / space.step_mm[0]))
    soft = (before > -200) & (before < 200)
    sd = 1.4826 * float(fine[soft].abs().median()) if bool(soft.any()) else 10.0
    edges = F.max_pool2d((fine.abs() > 3 * sd).float()[:, None], 3, 1, 1)[:, 0]
    painted = ((space.hu - before).abs() > 0.5).float()
    covered = blur_plane(painted, max(0.35, sigma))
    inside = blur_plane(space.hu * painted, max(0.35, sigma)) / covered.clamp(min=1e-3)
    mixed = torch.lerp(before, inside + fine * (1 - edges), covered)
    return torch.where(covered > 0.02, mixed, before).clamp_(-32768, 32767).round_().to(torch.int16)
