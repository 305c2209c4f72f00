"""Where organs are: on bodies built of boxes, and on the real scans and phantoms that are at hand."""

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import DATA
from model.geometry import along_world
from model.preprocess import preprocess
from model.volume import Volume, read_volume
from resources.cases.cache import HU, ORGANS, CachedScan
from resources.cases.case import Case, Completeness, Finding, ImageSource
from resources.training.reports.location import (
    ELSEWHERE,
    IMAGE_SIGMA_MM,
    SAME_SERIES,
    SLAB_SIGMA_MM,
    Lungs,
    find_lungs,
    image_mm,
    location_prior,
)

VALUES = {"liver": (1, 2), "left kidney": (3,), "right kidney": (4,)}
NOBODY = ImageSource("a.mha")


def trunk(lungs: tuple[int, int] = (80, 140), slices: int = 160) -> CachedScan:
    """4 mm voxels: a body of 360 x 240 mm in air on a mattress, with two lungs of 80 x 120 mm in slices
    [from, to); the body's middle lies at x = 198 mm, the left lung at larger x. Gas in the abdomen.
    """
    array = np.zeros((3, slices, 80, 100), np.int16)
    array[HU] = -1000
    array[HU, :, 70:74, 5:95] = -850  # a mattress
    array[HU, :, 10:70, 5:95] = 40
    for x in (20, 60):
        array[HU, lungs[0] : lungs[1], 20:50, x : x + 20] = -850
    array[HU, 30:50, 15:30, 30:45] = -1000
    place = along_world((0, 0, 0), array.shape[1:], 4.0)
    return CachedScan(array, (0, 0, 0), 4.0, place, {}, "")


def case_of(findings: tuple[Finding, ...] = (), image: ImageSource = NOBODY, mapped: bool = False) -> Case:
    known = Completeness(organ_labels="o.nii", organ_values=VALUES) if mapped else Completeness()
    return Case("a", "p", "s", "train", image, (), known, findings)


def test_lungs_by_hand() -> None:
    scan = trunk()
    found = find_lungs(scan.array[HU], 0, 4.0)
    assert found == Lungs(80 * 4 - 2, 140 * 4 - 2)  # the edges of slices 80 and 139, voxels being 4 mm
    assert find_lungs(scan.array[HU], 10, 4.0) == Lungs(90 * 4 - 2, 150 * 4 - 2)


def test_ends_that_the_scan_does_not_show() -> None:
    scan = trunk()
    assert find_lungs(scan.array[HU, :120], 0, 4.0) == Lungs(318, None)
    assert find_lungs(scan.array[HU, 100:], 100, 4.0) == Lungs(None, 558)
    assert find_lungs(scan.array[HU, :70], 0, 4.0) is None


def test_a_body_that_is_cut_off_or_has_only_gas_has_no_lungs() -> None:
    scan = trunk()
    assert find_lungs(scan.array[HU, :, 20:50, 20:], 0, 4.0) is None  # no front, no back, no right side
    gas = trunk((80, 80))
    gas.array[HU, 90:130, 20:50, 20:60] = -1000
    assert find_lungs(gas.array[HU], 0, 4.0) is None
    assert find_lungs(np.full((40, 40, 40), -1024, np.int16), 0, 4.0) is None


def test_slabs_are_above_and_below_the_lungs_bases() -> None:
    places = location_prior(case_of(), trunk())
    assert places.slab_mm("liver", "liver") == (318 - 230, 318 + 110)
    assert places.slab_mm("pancreas", "abdomen") == (318 - 220, 318 + 20)
    assert places.slab_mm("no such organ", "abdomen") == (-math.inf, 318 + 90)
    assert places.slab_mm("lung", "lung") == (318 - 130, 558 + 60)
    assert places.slab_mm(None, "bone") is None
    assert places.slab_mm(None, None) is None
    chest = dataclasses.replace(places, lungs=Lungs(None, 558))
    assert chest.slab_mm("liver", "liver") is None
    assert chest.slab_mm("lung", "lung") == (-math.inf, 558 + 60)
    abdomen = dataclasses.replace(places, lungs=Lungs(318, None))
    assert abdomen.slab_mm("mediastinum", "mediastinum") == (318 - 120, math.inf)
    assert abdomen.slab_mm("neck", "soft tissue") is None
    assert dataclasses.replace(places, lungs=None).slab_mm("liver", "liver") is None


def test_places_by_height_and_side() -> None:
    left = Finding("kidney", "kidney", side="left")  # from 68 to 338 mm
    places = location_prior(case_of((left,)), trunk())
    assert places.midline_mm == pytest.approx(198, abs=8)
    middle = places.midline_mm or 0.0
    inside, above, wrong = (middle + 50, 0, 200), (middle + 50, 0, 338 + SLAB_SIGMA_MM), (middle - 20, 0, 200)
    np.testing.assert_allclose(places.log_likelihood(left, [inside, above, wrong]), [0, -0.5, -0.5])
    far = places.log_likelihood(left, [(middle + 50, 0, 600)])
    np.testing.assert_allclose(far, math.log(ELSEWHERE))
    both = dataclasses.replace(left, side=None)
    assert places.log_likelihood(both, [wrong]) == 0


def test_places_by_the_label_map() -> None:
    scan = trunk()
    scan.array[ORGANS, 40:60, 20:40, 60:80] = 3
    left, right = Finding("kidney", "kidney", side="left"), Finding("kidney", "kidney", side="right")
    places = location_prior(case_of((left, right), mapped=True), scan)
    points = [(280.0, 120.0, 200.0), (280.0, 120.0, 260.0)]
    inside, outside = places.log_likelihood(left, points)
    assert inside == 0
    assert outside == pytest.approx(math.log(ELSEWHERE))
    assert len(places.organs["kidney", "right", "kidney"]) == 0  # the map has it, the scan does not show it
    np.testing.assert_allclose(places.log_likelihood(right, points), math.log(ELSEWHERE))


def test_images_are_numbered_by_the_file_or_from_the_head() -> None:
    finding = Finding("liver", "liver", images=(30,))
    scan = trunk()  # 160 slices of 4 mm, towards the head: image 30 is slice 130 at 520 mm
    assert image_mm(case_of(), scan, (30,)) == (518, 522, SAME_SERIES)
    assert image_mm(case_of(), scan, (30, 33)) == (506, 522, SAME_SERIES)
    assert image_mm(case_of(), scan, (161,)) is None  # of another series
    assert image_mm(case_of(), scan, ()) is None
    down = np.diag([1.0, 1.0, -1.0])
    turned = dataclasses.replace(scan, place=dataclasses.replace(scan.place, direction=down))
    assert image_mm(case_of(), turned, (30,)) == (-118, -114, SAME_SERIES)  # slice 29, away from the head
    files = ImageSource("f", "deeplesion", "s", (100, 80, 160), (4.0, 4.0, 4.0), slices=(21, 180))
    assert image_mm(case_of(image=files), turned, (30,)) == (-38, -34, 1.0)  # slice 9 at -36 mm
    assert image_mm(case_of(image=files), turned, (500,)) is not None  # known, and outside
    places = location_prior(case_of((finding,), files), turned)
    near, far = places.log_likelihood(finding, [(0, 0, -36), (0, 0, -38 - IMAGE_SIGMA_MM)])
    assert near - far == pytest.approx(0.5)


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


def lungs_of(volume: Volume) -> Lungs | None:
    grid = preprocess(volume, 2.0, 8)
    return find_lungs(grid.hu.numpy(), grid.lower[0], 2.0)


def test_no_limb_has_lungs() -> None:
    folder = real("ct/sarcoma")
    for path in sorted(folder.glob("*_image.nii.gz"))[::4]:
        assert lungs_of(read_volume(path)) is None, path.name


def test_real_scans_that_show_too_little_of_the_lungs() -> None:
    """A trunk that ends at the lungs' bases on a mattress, and a chest cut off on three sides."""
    assert lungs_of(read_volume(real("ct/abdomen/example_ct.nii.gz"))) is None
    assert lungs_of(read_volume(real("ct/chest/chest_crop.nii.gz"))) is None


ICRP = {
    "Liver": "liver", "Spleen": "spleen", "Kidney": "kidney", "Adrenal": "adrenal gland",
    "Pancreas": "pancreas", "Stomach": "stomach", "Gall bladder": "gallbladder", "Lung": "lung",
    "Heart": "heart", "Urinary bladder": "bladder", "Prostate": "prostate", "Uterus": "uterus",
    "Ovary": "ovary", "Rectum": "rectum", "Thyroid": "thyroid gland", "Breast": "breast",
}  # fmt: skip


@pytest.mark.parametrize("phantom", ["AF", "AM"])
def test_organs_of_real_people_lie_in_their_slabs(phantom: str) -> None:
    """The ICRP's reference woman and man, whose organs are labelled."""
    image = sitk.ReadImage(str(real(f"anatomy/icrp110_{phantom}_trunk.nii.gz")))
    with real("anatomy/icrp110_organs.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["phantom"] == phantom]
    labels = sitk.GetArrayFromImage(image)
    hu = np.full(max(labels.max(), *(int(row["label"]) for row in rows)) + 1, -1000.0)
    for row in rows:
        hu[int(row["label"])] = 1000 * (float(row["density_g_cm3"]) - 1)
    hu[0] = -1000
    place = Volume(hu[labels].astype(np.int16), image.GetSpacing(), image.GetOrigin(), np.eye(3))
    found = lungs_of(place)
    assert found is not None
    assert found.base_mm is not None
    assert found.apex_mm is not None
    assert 100 < found.apex_mm - found.base_mm < 300
    places = dataclasses.replace(location_prior(case_of(), trunk()), lungs=found)
    seen = set()
    for row in rows:
        levels = np.flatnonzero((labels == int(row["label"])).any((1, 2)))
        organ = next((name for key, name in ICRP.items() if row["organ"].startswith(key)), None)
        if organ is None or not len(levels):
            continue
        slab = places.slab_mm(organ, None)
        assert slab is not None
        low, high = (place.origin_mm[2] + place.spacing_mm[2] * z for z in (levels[0], levels[-1]))
        assert slab[0] <= low, row["organ"]
        assert high <= slab[1], row["organ"]
        seen.add(organ)
    assert len(seen) >= 12
