"""DeepLesion's conventions, on genuine rows and slices, and what is refused in the official layout."""

import csv
import dataclasses
import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cases.layouts import png, row, slices, table

from model.volume import InputError
from resources.cases.case import CaseError, read_cases, write_cases
from resources.cases.deeplesion import COLUMNS, convert, find_slices, read_table
from resources.cases.deeplesion_truth import read_boxes, read_terms, with_boxes, with_terms
from resources.cases.images import read_case_volume

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
TABLE = DATA / "deeplesion" / "DL_info_excerpt.csv"
genuine = pytest.mark.skipif(not TABLE.exists(), reason="the genuine rows and slices are not here")


@genuine
def test_conventions_of_the_genuine_rows() -> None:
    rows = read_table(TABLE)
    assert len(rows) == 105
    with TABLE.open(newline="", encoding="utf-8") as file:
        fields = list(csv.DictReader(file))
    for r, f in zip(rows, fields, strict=True):
        box = [float(v) for v in f["Bounding_boxes"].split(",")]
        low, high = np.min(r.ends, 0), np.max(r.ends, 0)
        np.testing.assert_allclose(box, [*(low - 5), *(high + 5)], atol=2e-3)
        assert f["File_name"] == f"{r.series}_{r.key_slice:03d}.png"
        long_px, short_px = math.dist(*r.ends[:2]), math.dist(*r.ends[2:])
        np.testing.assert_allclose(r.diameters_px, [long_px, short_px], rtol=2e-3)
        assert r.slices[0] <= r.key_slice <= r.slices[1]
        assert (r.type is None) == (r.split == "train")


@genuine
def test_cases_of_the_genuine_rows(tmp_path: Path) -> None:
    rows = read_table(TABLE)
    cases, dropped = convert(rows, find_slices(TABLE.parent / "Images_png", {r.series for r in rows}))
    assert dropped == {"noisy": 0, "key slice not stored": 90}
    assert len(cases) == 14
    marks = [(case, a) for case in cases for a in case.annotations]
    assert len(marks) == 15
    for case, a in marks:
        r = rows[int(a.attributes["row"])]
        assert a.long is not None
        assert case.image.slices is not None
        assert a.long[0][2] + case.image.slices[0] == r.key_slice  # z 0 is the first stored slice
        assert a.long_mm == pytest.approx(r.diameters_px[0] * r.spacing_mm[0], rel=2e-3)
        assert case.split == r.split
    write_cases(tmp_path / "cases.jsonl", cases)
    assert [c.id for c in read_cases(tmp_path / "cases.jsonl")] == [c.id for c in cases]


@genuine
def test_genuine_slices_hold_hu_of_air_and_fat(tmp_path: Path) -> None:
    images = TABLE.parent / "Images_png"
    air, fat = [], []
    for path in sorted(images.rglob("*.png")):
        series, number = path.parent.name, int(path.stem)
        rows = read_table(table(tmp_path / "t.csv", [row(series, number, Slice_range=f"{number}, {number}")]))
        cases, _ = convert(rows, find_slices(images, {series}))
        volume = read_case_volume(cases[0])
        assert volume.hu.shape == (1, 512, 512)
        assert volume.direction.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, -1]]
        for found, low, high in ((air, -1020, -850), (fat, -160, -50)):
            counts = np.histogram(volume.hu, bins=high - low, range=(low, high))[0]
            found.append(low + int(np.convolve(counts, np.ones(9), "same").argmax()))
    assert len(air) == 30
    assert np.median(air) == pytest.approx(-1000, abs=5)
    assert sum(-1010 <= hu <= -990 for hu in air) >= 29  # one slice is all lung and table
    assert np.median(fat) == pytest.approx(-100, abs=8)
    assert sum(-115 <= hu <= -85 for hu in fat) >= 27


@genuine
def test_genuine_liver_lesions_lie_on_the_patients_right_in_the_liver() -> None:
    """Columns run to the patient's left, so the liver, on the image's left, is at the lower x (LPS)."""
    rows = read_table(TABLE)
    cases, _ = convert(rows, find_slices(TABLE.parent / "Images_png", {r.series for r in rows}))
    from_middle = []
    for case in cases:
        volume = read_case_volume(case)
        body = np.argwhere(volume.hu[0] > -300)
        middle_mm = volume.index_to_world([[*body.mean(0)[::-1], 0]])[0]
        for a in case.annotations:
            assert a.type == "liver"
            assert a.long is not None
            points_mm = volume.index_to_world(a.long)
            from_middle.append(points_mm[:, 0].mean() - middle_mm[0])
            x, y, z = np.rint(np.mean(a.long, 0)).astype(int)
            assert -20 < np.median(volume.hu[z, y - 2 : y + 3, x - 2 : x + 3]) < 250
    assert np.mean(np.array(from_middle) < 0) > 0.8  # the left lobe crosses the middle
    assert np.median(from_middle) < -20


def test_slices_run_from_head_to_feet(tmp_path: Path) -> None:
    images = slices(tmp_path, "000001_01_01", range(3, 8))
    cases, _ = convert(read_table(table(tmp_path / "t.csv", [row()])), find_slices(images, {"000001_01_01"}))
    volume = read_case_volume(cases[0])
    assert volume.hu[:, 0, 0].tolist() == [30, 40, 50, 60, 70]
    z_mm = volume.index_to_world([[0, 0, 0], [0, 0, 4]])[:, 2]
    assert z_mm.tolist() == [0, -20]  # 5 mm apart, to the feet
    assert cases[0].id == "000001_01_01_003-007"
    mark = cases[0].annotations[0]
    assert (mark.long, mark.long_mm, mark.short_mm) == (((90, 200, 2), (110, 200, 2)), 10, 5)


def test_gaps_part_a_series_and_what_is_not_stored_is_counted(tmp_path: Path) -> None:
    images = slices(tmp_path, "000001_01_01", range(3, 6))
    (images / "Images_png/000001_01_01/007.png").write_bytes(png(np.zeros((512, 512))))
    rows = [row(key=4), row(key=7), row(key=6), row(key=5, Possibly_noisy="1"), row("000002_01_01")]
    cases, dropped = convert(
        read_table(table(tmp_path / "t.csv", rows)), find_slices(images, {"000001_01_01"})
    )
    assert [case.id for case in cases] == ["000001_01_01_003-005", "000001_01_01_007-007"]
    assert dropped == {"noisy": 1, "key slice not stored": 2}


def test_zip_files_as_distributed_give_the_same_volume(tmp_path: Path) -> None:
    images = slices(tmp_path, "000001_01_01", range(3, 8))
    (tmp_path / "zips").mkdir()
    with zipfile.ZipFile(tmp_path / "zips" / "Images_png_01.zip", "w") as archive:
        for path in sorted(images.rglob("*.png")):
            archive.write(path, path.relative_to(images))
    rows = read_table(table(tmp_path / "t.csv", [row()]))
    plain, zipped = (convert(rows, find_slices(p, {"000001_01_01"}))[0] for p in (images, tmp_path / "zips"))
    assert zipped[0].image.path.endswith("Images_png_01.zip")
    np.testing.assert_array_equal(read_case_volume(zipped[0]).hu, read_case_volume(plain[0]).hu)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"not a picture", "expected a 16-bit PNG, found"),
        (png(np.zeros((512, 512)))[:500], "expected a 16-bit PNG, found"),
        (png(np.zeros((256, 512))), "expected (512, 512) pixels (rows, columns), found (256, 512)"),
    ],
)
def test_a_corrupt_slice_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    images = slices(tmp_path, "000001_01_01", range(3, 8))
    (images / "Images_png/000001_01_01/006.png").write_bytes(content)
    cases, _ = convert(read_table(table(tmp_path / "t.csv", [row()])), find_slices(images, {"000001_01_01"}))
    with pytest.raises(InputError) as error:
        read_case_volume(cases[0])
    assert "000001_01_01/006.png" in str(error.value)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"Measurement_coordinates": "90, 200, 600, 200, 100, 195, 100, 205"},
            "Measurement_coordinates: expected",
        ),
        (
            {"Lesion_diameters_Pixel_": "10, 5"},
            "a long diameter of 20 pixels, found 10 (it seems to be in mm)",
        ),
        ({"Lesion_diameters_Pixel_": "20, 13"}, "a short diameter of 10 pixels, found 13"),
        (
            {"Bounding_boxes": "80, 190, 115, 210"},
            "Bounding_boxes: expected the end points padded by 5 pixels",
        ),
        ({"Slice_range": "6, 7"}, "Key_slice_index: expected a slice within Slice_range (6, 7), found 5"),
        ({"Key_slice_index": "6"}, "File_name: expected Patient_index to Key_slice_index to agree"),
        ({"Coarse_lesion_type": "9"}, "Coarse_lesion_type: expected -1 or 1 to 8, found 9"),
        ({"Train_Val_Test": "4"}, "Train_Val_Test: expected 1, 2 or 3, found 4"),
        ({"Spacing_mm_px_": "0.5, 0.5, 500"}, "Spacing_mm_px_: expected 0.05 to 20 mm"),
        ({"Image_size": "512"}, "Image_size: expected 2 numbers, found 512"),
        ({"Lesion_diameters_Pixel_": "nan, 1"}, "Lesion_diameters_Pixel_: expected 2 numbers"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, change: dict[str, str], expected: str) -> None:
    path = table(tmp_path / "t.csv", [row("000002_01_01"), row(**change)])
    with pytest.raises(CaseError) as error:
        read_table(path)
    assert str(error.value).startswith(f"{path}, line 3: ")
    assert expected in str(error.value)


def test_tables_that_contradict_themselves(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"line 1: expected the column Slice_range"):
        read_table(table(tmp_path / "t.csv", [row()], tuple(c for c in COLUMNS if c != "Slice_range")))
    with pytest.raises(CaseError, match=r"line 3: .* expected each lesion once, found the one of line 2"):
        read_table(table(tmp_path / "t.csv", [row(), row()]))
    with pytest.raises(
        CaseError, match=r"line 3: Train_Val_Test: expected patient 1 in one split, found train"
    ):
        read_table(table(tmp_path / "t.csv", [row(), row("000001_02_01", Train_Val_Test="3")]))


@pytest.mark.slow
def test_a_table_of_the_official_size_is_quick_and_small(tmp_path: Path) -> None:
    rows = [row(f"{i // 8 + 1:06d}_{i // 2 % 4 + 1:02d}_01", 3 + i % 2) for i in range(32735)]
    path = table(tmp_path / "t.csv", rows)
    code = (
        "import resource, sys, time; from pathlib import Path\n"
        "from resources.cases.deeplesion import read_table\n"
        "start = time.process_time(); rows = read_table(Path(sys.argv[1])); print(len(rows), "
        "time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    count, seconds, gigabytes = result.stdout.split()
    print(f"{count} rows in {float(seconds):.1f} s of the processor, {float(gigabytes):.2f} GB")
    assert int(count) == 32735
    assert float(gigabytes) < 1


@genuine
def test_every_genuine_box_of_lens_is_inside_its_sub_volume() -> None:
    boxes = read_boxes(DATA / "deeplesion" / "lens_boxes_val.json", "lens")
    assert (len(boxes), sum(map(len, boxes.values()))) == (200, 1292)
    for name, own in boxes.items():
        first, last = (int(part) for part in name[13:].split("-"))
        assert all(first <= lower[2] <= upper[2] <= last for lower, upper in own)


def test_both_re_annotations_make_a_sub_volume_complete(tmp_path: Path) -> None:
    images = slices(tmp_path, "000001_01_01", range(3, 8))
    cases, _ = convert(read_table(table(tmp_path / "t.csv", [row()])), find_slices(images, {"000001_01_01"}))
    name = "000001_01_01_003-007"
    lens, harvester, plain = (tmp_path / n for n in ("lens.json", "harvester.json", "lens.csv"))
    lens.write_text(
        json.dumps({name: [[90, 194, 4, 110, 206, 6]], "000009_01_01_001-002": []}), encoding="utf-8"
    )
    harvester.write_text(json.dumps({name: [[89.5, 193.5, 110.5, 206.5, 1, 3]]}), encoding="utf-8")
    plain.write_text(f"volume,x1,y1,z1,x2,y2,z2\n{name},90,194,4,110,206,6\n", encoding="utf-8")
    complete, missing = with_boxes(cases, read_boxes(lens, "lens"), "lens")
    assert missing == 1
    assert complete[0].completeness.kind == "all"
    (box,) = complete[0].annotations
    # slices 4 to 6 are z 1 to 3; whole pixels reach half a pixel beyond their centres
    assert (box.lower, box.upper) == ((89.5, 193.5, 0.5), (110.5, 206.5, 3.5))
    assert (box.long_mm, box.attributes["row"]) == (10, 0)  # it took the mark in it over
    others = with_boxes(cases, read_boxes(harvester, "harvester"), "harvester")[0][0].annotations
    assert (others[0].lower, others[0].upper) == (box.lower, box.upper)
    assert read_boxes(plain, "lens")[name] == read_boxes(lens, "lens")[name]
    lens.write_text(json.dumps({name: [[300, 300, 4, 310, 310, 6]]}), encoding="utf-8")
    (far, mark) = with_boxes(cases, read_boxes(lens, "lens"), "lens")[0][0].annotations
    assert (far.kind, mark.kind, mark.status) == ("box3d", "recist", "doubtful")


@pytest.mark.parametrize(
    ("content", "source", "expected"),
    [
        (
            {"000001_01_01_003-007": [[1, 1, 2, 5, 5, 6]]},
            "lens",
            "expected slices within 3 to 7, found 2 to 6",
        ),
        (
            {"000001_01_01_003-007": [[1, 1, 5, 5, 4, 9]]},
            "harvester",
            "expected slices within 3 to 7, found 7 to 12",
        ),
        ({"000001_01_01_003-007": [[5, 1, 4, 1, 5, 6]]}, "lens", "expected lower corner <= upper corner"),
        ({"000001_01_01_003-007": [[5, 1, 4, 1, 5]]}, "lens", "expected boxes of 6 numbers"),
        ({"volume 1": []}, "lens", "expected names PATIENT_STUDY_SERIES_FIRST-LAST, found volume 1"),
        ([], "lens", "expected an object of boxes by sub-volume, found list"),
    ],
)
def test_boxes_that_are_refused(tmp_path: Path, content: object, source: str, expected: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CaseError) as error:
        read_boxes(path, source)  # type: ignore[arg-type]
    assert expected in str(error.value)


def test_terms_follow_the_row(tmp_path: Path) -> None:
    images = slices(tmp_path, "000001_01_01", range(3, 8))
    rows = read_table(table(tmp_path / "t.csv", [row("000009_01_01"), row()]))
    cases, _ = convert(rows, find_slices(images, {"000001_01_01"}))
    mined = {"term_list": ["liver", "cyst"], "test_lesion_idxs": [], "test_relevant_labels": []}
    mined |= {"train_lesion_idxs": [0, 1], "train_relevant_labels": [[1], [0, 1, 0]]}
    mined |= {"val_lesion_idxs": [1], "val_uncertain_labels": [[1]]}
    path = tmp_path / "terms.json"
    path.write_text(json.dumps(mined), encoding="utf-8")
    (mark,) = with_terms(cases, read_terms(path))[0].annotations
    assert mark.attributes == {"row": 1, "lesanet_relevant": "liver; cyst", "lesanet_uncertain": "cyst"}
    assert dataclasses.replace(mark, attributes={"row": 1.0}) == cases[0].annotations[0]


@genuine
def test_genuine_terms_of_both_files() -> None:
    mined = read_terms(DATA / "lesanet" / "text_mined_labels_171_and_split.json")
    assert mined[7] == {"lesanet_relevant": "lymph node"}
    hand = read_terms(DATA / "lesanet" / "hand_labeled_test_set.json")
    assert len(hand) == 500
    assert hand[24941]["lesanet_terms"].startswith("opacity; left lower lobe")
