"""Pages of a folder: which scans, what they are made from, what is refused; slices drawn by hand."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from review.results import ORIENTATIONS, places, scan_of, write_results, write_volume

from helpers import Series
from model.exports import read_results
from model.preprocess import Grid
from model.volume import Volume
from resources.cases.__main__ import main as cases
from resources.cases.case import Case, ImageSource
from resources.cases.reviewed import read_review
from resources.cases.strict import CaseError
from resources.review.__main__ import main
from resources.review.build import THUMBNAIL, Job, numbering_of
from resources.review.overview import overview_of
from resources.review.page import NIIVUE
from resources.review.planes import grey_of, square
from resources.review.second_look import look_again
from resources.review.slices import nifti_of, projections, reduced_copy, thumbnail


def grid_of(hu: np.ndarray, lower: tuple[int, int, int] = (0, 0, 0), spacing_mm: float = 1.0) -> Grid:
    return Grid(torch.from_numpy(hu.astype(np.int16)), lower, spacing_mm)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_copy_shows_every_place_where_it_is(orientation: str, tmp_path: Path) -> None:
    volume = scan_of(ORIENTATIONS[orientation])
    spot = places(volume, (0.6, 0.4, 0.5))[0]
    k, j, i = np.rint(volume.world_to_index([spot])[0]).astype(int)[::-1]
    volume.hu[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3] = 2000
    (tmp_path / "copy.nii.gz").write_bytes(nifti_of(reduced_copy(volume, 200_000)))
    copy = sitk.ReadImage(str(tmp_path / "copy.nii.gz"))
    assert copy[copy.TransformPhysicalPointToIndex(spot)] > 1200
    assert copy.GetSpacing()[0] == pytest.approx(copy.GetSpacing()[2])
    assert np.prod(copy.GetSize()) < 230_000


def test_planes_and_projections_lie_as_radiologists_look_at_them() -> None:
    hu = np.full((6, 8, 10), -1000)
    hu[5, 1, 2] = 1000  # high, in front, to the patient's right
    grid = grid_of(hu)
    axial, place = square(hu, (5, 4, 4), 0, 4)
    assert axial.shape == (9, 9)
    assert place == (4, 4)
    assert np.argwhere(axial == 1000).tolist() == [[1, 2]]  # (row: back is down, column: left is right)
    coronal, _ = square(hu, (3, 1, 4), 1, 4)
    assert np.argwhere(coronal == 1000).tolist() == [[2, 2]]  # two above the middle
    assert square(hu, (50, 4, 4), 0, 2)[0].max() == -1024  # beyond the scan
    front, side = projections(grid)
    assert (front.name, front.edges_mm) == ("coronal", (-0.5, 9.5, 5.5, -0.5))
    assert (side.name, side.edges_mm) == ("sagittal", (-0.5, 7.5, 5.5, -0.5))
    picture = np.asarray(Image.open(io.BytesIO(front.png)))
    assert np.unravel_index(picture.argmax(), picture.shape) == (0, 1)  # 2 mm a pixel
    assert grey_of(np.array([-200, 40, 300]), (-160, 240)).tolist() == [0, 128, 255]


def test_slices_are_numbered_as_workstations_do(tmp_path: Path) -> None:
    places_mm = [(-10.0, 20.0, 2.5 * number) for number in range(6)]
    Series(places=places_mm, tags={"0020|0052": "1.2"}).write(tmp_path / "ct")
    volume = Volume(np.zeros((6, 40, 48), np.int16), (0.8, 0.9, 2.5), (-10.0, 20.0, 0.0), np.eye(3))
    dicom = numbering_of(Case("a", "a", "s", None, ImageSource(str(tmp_path / "ct"), "dicom")), volume)
    assert dicom.numbers == (1, 2, 3, 4, 5, 6)
    file = numbering_of(Case("a", "a", "s", None, ImageSource(str(tmp_path / "a.mha"))), volume)
    assert file.numbers == (6, 5, 4, 3, 2, 1)  # the first slice is the lowest
    assert "from 1 at the head" in file.text


def test_pages_are_made_once_and_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = scan_of(np.eye(3), (10, 30, 36))
    scan = write_volume(tmp_path / "s.mha", volume)
    out = tmp_path / "out"
    write_results(out, [("lung", places(volume, (0.3, 0.5, 0.5))[0], 0.9, 12.0)])
    assert main([str(out)]) == 2
    assert "expected where the scans lie, found no such file: give --scans" in capsys.readouterr().err
    assert main([str(out), "--scans", str(scan)]) == 0
    made = (out / "review.html").stat().st_mtime_ns
    assert main([str(out)]) == 0
    assert (out / "review.html").stat().st_mtime_ns == made
    text = (out / "review.html").read_text(encoding="utf-8")
    assert "Not a medical device" in text
    assert "http" not in text.split('id="scan"')[0].replace("http-equiv", "")  # nothing is fetched
    write_results(out, [("lung", (900.0, 0.0, 0.0), 0.9, 12.0)])
    assert main([str(out)]) == 2
    assert "found points outside this scan" in capsys.readouterr().err
    assert (out / "review.html").stat().st_mtime_ns == made
    assert main([str(out), "--part", "3/2"]) == 2
    assert "--part: expected I/N with I from 1 to N, found 3/2" in capsys.readouterr().err


def test_overview_of_five_hundred_scans_is_small(tmp_path: Path) -> None:
    volume = scan_of(np.eye(3), (10, 30, 36))
    spot = places(volume, (0.3, 0.5, 0.5))[0]
    picture = thumbnail(grid_of(np.random.default_rng(0).normal(0, 200, (9, 99, 99))), (50, 50, 4))
    jobs = []
    for number in range(500):
        folder = tmp_path / f"{number:03d}"
        write_results(folder, [("lung", spot, 0.9, 12.0)], likelihood=number / 500)
        (folder / THUMBNAIL).write_bytes(picture)
        jobs.append(Job(Case(folder.name, "p", "s", None, ImageSource("x")), folder))
    page = overview_of(jobs)
    assert len(page.encode()) < 10e6
    assert page.count("<tr>") == 501
    assert page.index(">499<") < page.index(">000<")  # the likeliest first


def test_the_report_is_assigned_to_detections(tmp_path: Path) -> None:
    volume = scan_of(np.eye(3))
    one, two, three = places(volume, (0.3, 0.5, 0.3), (0.7, 0.5, 0.7), (0.5, 0.5, 0.5))
    rows = [("lung", one, 0.9, 20.0), ("liver", two, 0.2, 41.0), ("bone", three, 0.8, 9.0)]
    write_results(tmp_path, rows)
    detections = read_results(tmp_path).detections
    text = "Nodule of 19 mm in the lung. Hypodense metastasis in the liver of 40 mm. Adrenal mass of 33 mm."
    look = look_again(text, detections, volume)
    by_type = {detections[m.detection - 1].type: look.phrase(m.finding) for m in look.mentions}
    assert set(by_type) == {"lung", "liver"}
    assert "19 mm" in by_type["lung"]
    assert "40 mm" in by_type["liver"]
    data = look.data(detections)
    assert len(data["lost"]) == 1
    assert "33 mm" in data["lost"][0]
    assert data["weak"][0].startswith("no. 3 at 0.20")
    assert 'class="lost"' in look.html()


def test_all_of_several_lesions_may_be_mentioned(tmp_path: Path) -> None:
    """Of "several" two are assigned; a third is perhaps one of them, what is much larger is not."""
    volume = scan_of(np.eye(3))
    spots = places(volume, (0.3, 0.5, 0.3), (0.6, 0.5, 0.3), (0.4, 0.5, 0.4), (0.5, 0.5, 0.4))
    sizes = (20.0, 12.0, 9.0, 45.0)
    write_results(tmp_path, [("lung", at, 0.9, mm) for at, mm in zip(spots, sizes, strict=True)])
    detections = read_results(tmp_path).detections
    look = look_again("Several nodules in the lungs of up to 21 mm.", detections, volume)
    assert {m.detection for m in look.mentions} == {1, 2, 3}
    assert [m.sure for m in look.mentions if m.share == 0.0] == [False]
    assert look.lost == {}


def test_reviews_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    volume = scan_of(np.eye(3), (10, 30, 36))
    scan = write_volume(tmp_path / "s.mha", volume)
    out = tmp_path / "out"
    spot = places(volume, (0.3, 0.5, 0.5))[0]
    write_results(out, [("lung", spot, 0.9, 12.0)])
    assert main([str(out), "--scans", str(scan)]) == 0
    place = {"size": [36, 30, 10], "spacing_mm": [3.5, 3.0, 4.0], "origin_mm": [-80.0, 40.0, 300.0],
             "direction": np.eye(3).ravel().tolist()}  # fmt: skip
    review = {
        "type": "lesion review", "version": {"major": 1, "minor": 0}, "case": "s", "scan": place,
        "made_by": {}, "reviewer": "", "reviewed": "", "complete": False, "findings": [],
        "missed": [{"point_mm": spot, "type": None, "long_mm": None, "comment": ""}],
    }  # fmt: skip
    file = tmp_path / "s.review.json"

    def result(**changes: object) -> int:
        file.write_text(json.dumps(review | changes), encoding="utf-8")
        words = [
            "reviews",
            str(file),
            "--cases",
            str(out / "cases.jsonl"),
            "--out",
            str(tmp_path / "new.jsonl"),
        ]
        return cases(words)

    assert result() == 0
    assert result(case="other") == 2
    assert result(scan=place | {"origin_mm": [0.0, 0.0, 0.0]}) == 2
    assert result(missed=[review["missed"][0] | {"point_mm": [0, 0, 0]}]) == 2  # type: ignore[index]
    assert result(extra=1) == 2
    with pytest.raises(CaseError, match="only type, version"):
        read_review(file)


def test_the_viewer_is_the_bundle_of_its_npm_package() -> None:
    digest = hashlib.sha512(NIIVUE.read_bytes()).hexdigest()
    assert digest.startswith("37dc9688207bcb81b39afe18628488970cecf5f6b3601941508a51c839aeb63e")
    assert "Niivue" in NIIVUE.with_name("LICENSE").read_text(encoding="utf-8")
