"""Bodies from label maps, and lesions in real scans."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from resources.synthetic.background import guess_labels
from resources.synthetic.generate import Order, make_scan
from resources.synthetic.labelmap import MAPS, TABLES, LabelMapError, read_table
from resources.synthetic.likeness import jensen_shannon
from resources.synthetic.organs import LABEL

DATA = Path(__file__).parents[2].parent / "shared" / "data"
with_maps = pytest.mark.skipif(not (DATA / "anatomy").is_dir(), reason="needs label maps of real people")
with_scans = pytest.mark.skipif(not (DATA / "ct").is_dir(), reason="needs real CT scans")


def test_tables_are_sound_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    assert len(read_table(TABLES / "totalsegmentator.csv")) == 117
    assert read_table(TABLES / "totalsegmentator.csv")[5] == ("liver", "liver")
    for source in MAPS.values():
        assert read_table(TABLES / source.table)
    path = tmp_path / "table.csv"
    path.write_text("label,organ,tissue\n1,liver,liver\n2,livver,liver\n", encoding="utf-8")
    with pytest.raises(LabelMapError, match="line 3: expected a number and known names, found"):
        read_table(path)


def test_a_map_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelMapError, match=r"spl_abdomen\.nrrd: expected a label map"):
        make_scan(Order(1, anatomy="spl_abdomen"), tmp_path)
    with pytest.raises(LabelMapError, match="expected the folder"):
        make_scan(Order(1, anatomy="spl_abdomen"))


@with_maps
@pytest.mark.parametrize("name", sorted(MAPS))
def test_mapped_bodies_hold_their_organs(name: str) -> None:
    scan = make_scan(
        Order(2, "B", (6.0, 6.0, 6.0), anatomy=name, phase="none", lesion_count=2), DATA / "anatomy"
    )
    here = {key for key, number in LABEL.items() if (scan.organs == number).sum() > 3}
    assert {"liver", "spleen", "kidney left", "kidney right", "skin", "abdominal fat"} <= here
    hu = scan.volume.hu
    assert 25 < np.median(hu[scan.organs == LABEL["liver"]]) < 80
    assert np.median(hu[scan.organs == LABEL["abdominal fat"]]) < -60
    liver, spleen = (np.argwhere(scan.organs == LABEL[k]).mean(0) for k in ("liver", "spleen"))
    assert liver[2] < spleen[2]


@with_scans
def test_lesions_in_a_real_scan_leave_the_rest_alone(tmp_path: Path) -> None:
    folder = DATA / "ct" / "abdomen"
    image, labels = (str(folder / name) for name in ("example_ct_sm.nii.gz", "example_seg.nii.gz"))
    order = Order(3, lesion_count=3, background=image, organ_labels=labels)
    scan = make_scan(order)
    stored = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(order.background or ""), "LPS"))
    assert stored.shape == scan.volume.hu.shape
    far = np.ones(stored.shape, bool)
    for z, y, x in np.argwhere(scan.lesions > 0):
        far[z, max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = False
    changed = np.abs(stored.astype(int) - scan.volume.hu)[far]
    assert (changed > 0).mean() < 0.01
    assert (scan.lesions > 0).any()
    liver = sitk.GetArrayFromImage(sitk.DICOMOrient(_with_grid(order), "LPS")) == 5
    assert ((scan.organs == LABEL["liver"]) == liver).all()


def _with_grid(order: Order) -> sitk.Image:
    labels = sitk.ReadImage(order.organ_labels or "")
    labels.CopyInformation(sitk.ReadImage(order.background or ""))
    return labels


@with_scans
def test_lungs_and_fat_are_told_without_labels() -> None:
    from resources.synthetic.background import read_background

    background = read_background(str(DATA / "ct" / "chest" / "chest_crop.nii.gz"), None, None)
    assert background.guessed
    lung = np.isin(background.labels, [LABEL["lung left lower"], LABEL["lung right lower"]])
    assert 0.15 < lung.mean() < 0.6
    assert background.volume.hu[lung].mean() < -750
    assert guess_labels(background.volume).dtype == np.uint8


def test_jensen_shannon_by_hand() -> None:
    assert jensen_shannon([1, 1], [2, 2]) == 0.0
    assert jensen_shannon([1, 0], [0, 3]) == pytest.approx(1.0)
    # p = (1, 0), q = (1/2, 1/2), middle (3/4, 1/4): divergence 1/2 log2(4/3) + 1/2 (1/2 log2(2/3) + 1/2)
    assert jensen_shannon([1, 0], [1, 1]) ** 2 == pytest.approx(0.3112781)
