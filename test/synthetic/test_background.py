"""Lesions painted into real scans: where they may lie without organ labels, and their noise."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from model.volume import Volume
from resources.synthetic.background import (
    Background,
    background_space,
    blend,
    guess_labels,
    in_patient,
    read_background,
)
from resources.synthetic.draw import Draw
from resources.synthetic.organs import LABEL, LUNGS


def test_a_mattress_is_no_lung() -> None:
    """Foam has the density of lung: lesions of the lung lay in it."""
    shape = (30, 80, 110)
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    radius = np.hypot((y - 33) / 30, (x - 54.5) / 50)
    hu = np.select([radius < 0.9, radius < 1], [50.0, -100.0], -1000.0)
    lungs = np.zeros(shape, bool)
    for middle in (34, 75):
        lungs |= (np.abs(y - 33) < 18) & (np.abs(x - middle) < 13)
    hu[lungs] = -850
    hu[(y > 68) & (y < 78)] = -850  # 10 voxels of 3 mm thick
    hu += np.random.default_rng(0).normal(0, 12, shape)
    volume = Volume(hu.round().astype(np.int16), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), np.eye(3))
    labels = guess_labels(volume)
    found = np.isin(labels, LUNGS)
    assert not found[:, 64:].any()
    assert found[lungs].mean() > 0.9
    assert (labels[found & (x < 50)] == LABEL["lung right lower"]).all()


def test_nothing_lies_in_the_table(tmp_path: Path) -> None:
    """A table's padding has the density of fat: lesions lay in it, outside the patient."""
    shape = (40, 120, 150)
    _, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    radius = np.hypot((y - 45) / 32, (x - 74.5) / 52)
    body = radius < 1
    hu = np.select([radius < 0.9, body], [50, -100], -1000).astype(np.int16)
    table = (y > 75) & (y < 80) & (x > 10) & (x < 140)  # 12 mm thick
    near = (x > 50) & (x < 100)  # a cell of the mask may hold both
    hu[table & ~body] = -90
    volume = Volume(hu, (3.0, 3.0, 3.0), (-220.0, 31.0, -400.0), np.eye(3))
    hu_alone = guess_labels(volume)
    assert (hu_alone[table & ~near] > 0).mean() > 0.5  # the body lies on it, so it hangs together with it
    inside = in_patient(volume)
    assert inside[table & ~near].mean() < 0.1
    assert inside[body].mean() > 0.99
    path = tmp_path / "scan.mha"
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(volume.origin_mm)
    sitk.WriteImage(image, path)
    background = read_background(str(path), None, None)
    assert background.guessed
    assert (background.labels[table & ~near] > 0).mean() < 0.1
    assert (background.labels[body] > 0).mean() > 0.5


def test_a_lesion_is_as_noisy_as_the_scan() -> None:
    random = np.random.default_rng(2)
    shape = (20, 60, 60)
    hu = np.round(40 + 15 * random.normal(size=shape)).astype(np.int16)
    volume = Volume(hu, (1.25, 1.25, 3.0), (0.0, 0.0, 0.0), np.eye(3))
    space = background_space(Background(volume, np.zeros(shape, np.uint8), True), Draw(1), "cpu")
    space.hu[:, 30, 26:35] = 400.0  # a vessel, which the lesion covers
    before = space.hu.clone()
    z, y, x = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    away = (((z - 10) * 3.0) ** 2 + ((y - 30) * 1.25) ** 2 + ((x - 30) * 1.25) ** 2).sqrt()
    lesion = (away < 18).to(torch.uint8)
    space.hu[lesion > 0] = 100.0
    after = blend(before, space).float()
    assert float(after[:, 30, 26:35][lesion[:, 30, 26:35] > 0].max()) < 160
    plain = (y - 30).abs() > 6
    inside, outside = after[(away < 14) & plain], after[(away > 25) & plain]
    assert float(inside.mean()) == pytest.approx(100, abs=2)
    assert float(inside.std()) == pytest.approx(float(outside.std()), rel=0.2)  # coarse grain is lost
    assert bool((after == before)[away > 25].all())
