"""Two scans of a patient brought together: a rigid transform of the bodies, and how well they fit by it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from model.geometry import image_of
from model.preprocess import preprocess
from model.volume import Volume

Points = npt.NDArray[np.float64]
COARSE_MM, FINE_MM = 8.0, 4.0
CLIP_HU = (-400.0, 400.0)
"""Lung, fat, soft tissue and bone; metal and the densest bone no longer outweigh them."""
BODY_HU = -300.0
SHIFTS_MM = (-240.0, -120.0, 0.0, 120.0, 240.0)
"""Starts along z, for scans that show different parts of the body."""
LEAST_OVERLAP = 0.3
"""Share of the smaller body that has to lie in the other scan for a start to count."""
POOR_CORRELATION = 0.75
"""Below it the bodies are said not to fit. A choice, not a fit: a phantom that is moved and has other noise
reaches .95; `python -m resources.study.pairing` prints it for one and for two synthetic patients."""


@dataclasses.dataclass(frozen=True)
class Registration:
    """From the prior scan's LPS mm to the follow-up's: p -> rotation @ p + shift_mm.

    correlation: of the HU, clipped to CLIP_HU, where the prior's body lies in the follow-up. overlap: the
    share of the prior's body that does.
    """

    rotation: Points
    shift_mm: Points
    correlation: float
    overlap: float

    @property
    def poor(self) -> bool:
        """Whether pairs of findings cannot be trusted."""
        return not self.correlation >= POOR_CORRELATION

    @property
    def degrees(self) -> float:
        """The angle of the rotation."""
        return math.degrees(math.acos(min(1.0, max(-1.0, (float(np.trace(self.rotation)) - 1) / 2))))

    def forward(self, points_mm: npt.ArrayLike) -> Points:
        """(n, 3) prior -> (n, 3) follow-up."""
        return np.asarray(points_mm, np.float64).reshape(-1, 3) @ self.rotation.T + self.shift_mm

    def backward(self, points_mm: npt.ArrayLike) -> Points:
        """(n, 3) follow-up -> (n, 3) prior."""
        return (np.asarray(points_mm, np.float64).reshape(-1, 3) - self.shift_mm) @ self.rotation


def register(prior: Volume, follow_up: Volume) -> Registration:
    """Finds the rigid transform, coarse to fine, by the correlation of HU (SimpleITK).

    The starts put the bodies' centres upon each other, shifted along z; the best of them is refined.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # a start may put the bodies beside each other
    coarse = _image(prior, COARSE_MM), _image(follow_up, COARSE_MM)
    centres = [_centre(image) for image in coarse]
    starts = []
    for shift in SHIFTS_MM:
        start = sitk.Euler3DTransform()
        start.SetCenter(centres[0].tolist())
        start.SetTranslation((centres[1] - centres[0] + [0, 0, shift]).tolist())
        refined = _refined(*coarse, start, COARSE_MM)
        starts.append((*_fit(*coarse, refined), refined))
    best = max(starts, key=lambda row: row[0] if row[1] >= LEAST_OVERLAP else row[0] - 1)[2]
    fine = _image(prior, FINE_MM), _image(follow_up, FINE_MM)
    transform = _refined(*fine, best, FINE_MM)
    correlation, overlap = _fit(*fine, transform)
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    shift_mm = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    return Registration(rotation, shift_mm, correlation, overlap)


def _image(volume: Volume, spacing_mm: float) -> Any:
    """The body along the patient's axes, clipped, as a float image; the table and air are lowest."""
    import SimpleITK as sitk

    grid = preprocess(volume, spacing_mm, 1)
    image = image_of(grid.hu.float().clamp(*CLIP_HU).numpy(), grid.geometry)
    return sitk.Mask(image, _body(image), CLIP_HU[0])


def _body(image: Any) -> Any:
    """The largest connected part denser than BODY_HU, holes filled slice by slice, as a mask."""
    import SimpleITK as sitk

    dense = sitk.BinaryMorphologicalOpening(image > BODY_HU, [1, 1, 1])
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(dense), sortByObjectSize=True) == 1
    filled = np.stack([
        sitk.GetArrayFromImage(sitk.BinaryFillhole(largest[:, :, z])) for z in range(largest.GetSize()[2])
    ])  # fmt: skip
    mask = sitk.GetImageFromArray(filled)
    mask.CopyInformation(image)
    return mask


def _centre(image: Any) -> Points:
    """The middle of the body in LPS mm."""
    import SimpleITK as sitk

    array = np.argwhere(sitk.GetArrayFromImage(image) > CLIP_HU[0])
    index = array.mean(0)[::-1] if len(array) else (np.array(image.GetSize()) - 1) / 2
    return np.array(image.TransformContinuousIndexToPhysicalPoint([float(v) for v in index]))


def _refined(fixed: Any, moving: Any, start: Any, spacing_mm: float) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(1.0 if spacing_mm == COARSE_MM else 0.3)
    method.SetMetricFixedMask(sitk.Cast(fixed > CLIP_HU[0], sitk.sitkUInt8))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=spacing_mm, minStep=0.02, numberOfIterations=80, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    transform = sitk.Euler3DTransform(start)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # no voxel of one lies in the other
        return sitk.Euler3DTransform(start)
    return transform


def _fit(fixed: Any, moving: Any, transform: Any) -> tuple[float, float]:
    """Correlation within the prior's body as far as the follow-up shows it, and the share that it shows."""
    import SimpleITK as sitk

    outside = CLIP_HU[0] - 1000
    moved = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, outside))
    still = sitk.GetArrayFromImage(fixed)
    body = still > CLIP_HU[0]
    shown = body & (moved >= CLIP_HU[0])
    if shown.sum() < 100:
        return 0.0, 0.0
    values = np.corrcoef(still[shown], moved[shown])[0, 1]
    return float(np.nan_to_num(values)), float(shown.sum() / body.sum())
