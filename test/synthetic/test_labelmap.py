"""Bodies from label maps, and lesions in real scans."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from resources.synthetic.__main__ import main
from resources.synthetic.background import guess_labels
from resources.synthetic.draw import Draw
from resources.synthetic.generate import Order, make_scan, own_map
from resources.synthetic.labelmap import MAPS, TABLES, LabelMapError, paint_label_map, read_table
from resources.synthetic.likeness import jensen_shannon
from resources.synthetic.organs import KEYS, LABEL
from resources.synthetic.sites import COVERAGES_MM, SITES, draw_scanner
from resources.synthetic.skeleton import LEVELS_MM

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
    with pytest.raises(LabelMapError, match=r"spl_abdomen\.nrrd: expected a label image, found No such file"):
        make_scan(Order(1, anatomy="spl_abdomen"), tmp_path)
    with pytest.raises(LabelMapError, match="expected the folder"):
        make_scan(Order(1, anatomy="spl_abdomen"))


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def totalsegmentator_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A procedural body from hip to neck as that program would label it, first slice uppermost; arms down."""
    scan = make_scan(Order(5, "A", (3.0, 3.0, 3.0), "both", "none", "procedural", 0))
    values = np.zeros_like(scan.organs)
    for label, (organ, _) in reversed(read_table(TABLES / "totalsegmentator.csv").items()):
        if organ != "muscle":  # the wall's it does not name
            values[scan.organs == LABEL[organ]] = label
    values[:60, 40:50, 4:9] = 69  # a humerus away from the trunk
    image = sitk.GetImageFromArray(values[::-1])
    image.SetSpacing((3.0, 3.0, 3.0))
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    path = tmp_path_factory.mktemp("map") / "body.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("coverage", ["chest", "abdomen"])
def test_a_body_of_ones_own_is_stood_on_its_vertebrae(totalsegmentator_map: Path, coverage: str) -> None:
    order = Order(1, "A", (5.0, 5.0, 5.0), coverage, "none", label_map=str(totalsegmentator_map))
    space, _, person = paint_label_map(
        own_map(order), Path(), (draw_scanner(SITES["A"], Draw(1), order.spacing_mm), "none"), Draw(2), "cpu"
    )
    heights = {}
    for level, wanted in LEVELS_MM.items():
        rows = (space.label == LABEL[level]).flatten(1).any(1).nonzero()[:, 0]
        if len(rows) and int(rows.min()) > 1 and int(rows.max()) < len(space.label) - 2:
            heights[level] = float(space.axes_mm[0][rows].mean()) / space.scale[2] - wanted
    assert len(heights) >= 4
    assert abs(np.median(list(heights.values()))) < 18  # bent by some 16 mm
    low, high = COVERAGES_MM[coverage]
    z = space.axes_mm[0] / space.scale[2]
    assert low - 5 <= float(z[0]) < float(z[-1]) <= high + 5
    there = {KEYS[int(n)] for n in space.label.unique()}
    assert {"liver", "skin", "subcutaneous fat", "muscle"} <= there
    assert (space.label == LABEL["muscle"]).float().mean() > 0.01  # its wall; the map names none
    if coverage == "abdomen":
        assert not {"humerus left", "humerus right"} & there  # without flesh around it: left out
    assert "sex" not in person


def test_a_body_of_ones_own_has_air_only_in_its_own_lungs(totalsegmentator_map: Path) -> None:
    scan = make_scan(Order(3, "A", (5.0, 5.0, 5.0), "chest", label_map=str(totalsegmentator_map)))
    assert scan.truth.attributes["anatomy"] == "body.nii.gz"
    assert {KEYS[n] for n in np.unique(scan.organs)} >= {"skin", "lung left upper", "heart", "T8"}
    dark = (scan.volume.hu < -600) & (scan.organs != LABEL["background"]) & (scan.organs != LABEL["table"])
    lungs = np.isin(
        scan.organs, [n for key, n in LABEL.items() if key.startswith(("lung", "trachea", "bronch"))]
    )
    assert (dark & ~lungs).sum() < 0.05 * dark.sum()


def test_label_maps_that_cannot_be_used_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "map.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((6, 8, 8), 200, np.uint8)), str(path))
    with pytest.raises(LabelMapError, match=r"expected labels of totalsegmentator\.csv, found \[200\]"):
        make_scan(Order(1, label_map=str(path)))
    sitk.WriteImage(sitk.GetImageFromArray(np.full((6, 8, 8), 4.5, np.float32)), str(path))
    with pytest.raises(LabelMapError, match="expected whole numbers as labels, found fractions"):
        make_scan(Order(1, label_map=str(path)))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((6, 8, 8), np.uint8)), str(path))
    with pytest.raises(LabelMapError, match="expected organs in the part called chest, found none"):
        make_scan(Order(1, coverage="chest", label_map=str(path)))
    common = ["--site", "A", "--count", "1", "--out", str(tmp_path / "out")]
    for wrong, message in (
        (["--label-map", str(tmp_path / "none.nii.gz")], "--label-map: expected a file"),
        (["--label-map", str(path), "--anatomy", "procedural"], "neither --background nor --anatomy"),
        (["--label-map", str(path), "--label-table", "mine.csv"], "--label-table: expected a table"),
        (["--organ-labels", str(path)], "expected the --background"),
    ):
        with pytest.raises(SystemExit):
            main([*common, *wrong])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


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
