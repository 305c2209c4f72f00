"""Annotations of every kind as lesions, where a scan is complete, and positive or negative scans."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from evaluation.scenario import ball, case

from model.geometry import Geometry
from resources.cases.case import Annotation, Case, Completeness, Finding, ImageSource
from resources.evaluation import EvaluationError
from resources.evaluation.frame import Frame
from resources.evaluation.measures import scan_truth
from resources.evaluation.outcomes import WORLD, Truth, truth_of

BOTH = ("benign", "doubtful")
SPACING, ORIGIN = (2.0, 2.0, 5.0), (-40.0, 30.0, 100.0)
FLIPPED = np.diag([-1.0, -1.0, 1.0])
OBLIQUE = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
CORONAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def write(path: Path, array: np.ndarray, direction: np.ndarray = FLIPPED) -> Path:
    """array (z, y, x) on the grid of the tests."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def scan(tmp_path: Path, *annotations: Annotation, complete: Completeness | None = None, **more) -> Case:
    if not (tmp_path / "ct.nii.gz").exists():
        write(tmp_path / "ct.nii.gz", np.zeros((20, 30, 40), np.int16), more.pop("direction", FLIPPED))
    source = ImageSource(str(tmp_path / "ct.nii.gz"))
    return Case("a", "p", "made", "test", source, annotations, complete or Completeness("all"), **more)


def world(index: tuple[float, float, float], direction: np.ndarray = FLIPPED) -> np.ndarray:
    return direction @ (np.array(index) * SPACING) + ORIGIN


def holds(truth: Truth, points_mm: list[np.ndarray]) -> list[bool]:
    return truth.lesions[0].contains(truth.frame.of_world(np.array(points_mm)), truth.frame).tolist()


@pytest.mark.parametrize("direction", [np.eye(3), FLIPPED, OBLIQUE, CORONAL])
def test_frame_goes_there_and_back(tmp_path: Path, direction: np.ndarray) -> None:
    truth = truth_of(scan(tmp_path, direction=direction), BOTH)
    assert isinstance(truth.frame, Frame)
    assert truth.frame.place.size == (40, 30, 20)
    np.testing.assert_allclose(truth.frame.of_world([world((3, 4, 5), direction)]), [[6, 8, 25]], atol=1e-4)
    np.testing.assert_allclose(truth.frame.to_index([[6, 8, 25]]), [[3, 4, 5]])
    corner = world((-0.5, -0.5, -0.5), direction)
    assert truth.frame.outside_mm(truth.frame.of_world([corner])) == pytest.approx(0, abs=1e-3)
    beyond = world((-2, 0, 0), direction)  # 3 mm beyond the edge of the first voxel
    assert truth.frame.outside_mm(truth.frame.of_world([beyond])) == pytest.approx(3, abs=1e-3)


def test_boxes_along_the_world_are_exact_on_flipped_and_coronal_scans_and_enclosed_on_oblique_ones() -> None:
    box = [[0, 0, 0, 10, 20, 30]]
    for direction, expected in [
        (FLIPPED, [-10, -20, 0, 0, 0, 30]),
        (CORONAL, [0, -30, 0, 10, 0, 20]),
        (OBLIQUE, [0, -6, 0, 20, 16, 30]),
    ]:
        frame = Frame(Geometry((1, 1, 1), (1, 1, 1), (0, 0, 0), direction), known=False)
        np.testing.assert_allclose(frame.of_world_boxes(box)[0], expected, atol=1e-12)


def test_box_in_index_and_in_mm_are_the_same_lesion(tmp_path: Path) -> None:
    in_index = Annotation("box3d", lower=(9.5, 9.5, 7.5), upper=(14.5, 12.5, 10.5))
    corners = world((9.5, 9.5, 7.5)), world((14.5, 12.5, 10.5))
    lower, upper = np.minimum(*corners), np.maximum(*corners)
    in_mm = Annotation("box3d", frame="mm", lower=tuple(lower.tolist()), upper=tuple(upper.tolist()))
    for annotation in (in_index, in_mm):
        truth = truth_of(scan(tmp_path, annotation), BOTH)
        lesion = truth.lesions[0]
        np.testing.assert_allclose(lesion.box_mm, [19, 19, 37.5, 29, 25, 52.5], atol=1e-4)
        np.testing.assert_allclose(lesion.measured, [10, 6, 15], atol=1e-4)
        # the ellipsoid that touches the sides, not the corners
        inside = [world((12, 11, 9)), world((14.4, 11, 9)), world((14.6, 11, 9)), world((14, 12, 10))]
        assert holds(truth, inside) == [True, True, False, False]


def test_mask_by_voxels(tmp_path: Path) -> None:
    labels = np.zeros((20, 30, 40), np.uint8)
    labels[8:11, 10:13, 10:15] = 7  # (x, y, z) from (10, 10, 8) to (14, 12, 10)
    labels[9, 11, 12] = 0  # a hole
    labels[0, 0, 0] = 3
    write(tmp_path / "m.nii.gz", labels)
    truth = truth_of(scan(tmp_path, Annotation("mask", mask=str(tmp_path / "m.nii.gz"), label=7)), BOTH)
    lesion = truth.lesions[0]
    np.testing.assert_allclose(lesion.box_mm, [19, 19, 37.5, 29, 25, 52.5], atol=1e-4)
    np.testing.assert_allclose(lesion.centre_mm, [24, 22, 45], atol=1e-4)
    assert lesion.measured[2] == 15
    places = [(10, 10, 8), (9.6, 10, 8), (9.4, 10, 8), (12, 11, 9), (14.4, 12.4, 10.4), (0, 0, 0)]
    assert holds(truth, [world(place) for place in places]) == [True, True, False, False, True, False]


def test_recist_is_an_ellipsoid(tmp_path: Path) -> None:
    # 20 mm along x, 10 mm along y on slice 9; z from the median of real masks: 0.97 sqrt(200) = 13.7 mm
    mark = Annotation("recist", long=((10, 10, 9), (20, 10, 9)), short=((15, 7.5, 9), (15, 12.5, 9)))
    truth = truth_of(scan(tmp_path, mark), BOTH)
    lesion = truth.lesions[0]
    np.testing.assert_allclose(lesion.measured, [20, 10, np.nan])
    np.testing.assert_allclose(lesion.box_mm[:2], [20, 15], atol=1e-4)
    assert lesion.box_mm[5] - lesion.box_mm[2] == pytest.approx(0.97 * np.sqrt(200))
    np.testing.assert_allclose(lesion.key_box_mm, [20, 15, 40, 25], atol=1e-4)
    places = [(10.1, 10, 9), (9.9, 10, 9), (15, 12.4, 9), (15, 12.6, 9), (15, 10, 10), (15, 10, 10.5)]
    assert holds(truth, [world(place) for place in places]) == [True, False, True, False, True, False]


def test_diagonal_recist_without_short_axis(tmp_path: Path) -> None:
    mark = Annotation("recist", frame="mm", long=((-10, 0, 0), (-4, 8, 0)), z_extent_mm=6)
    lesion = truth_of(case("a", mark), BOTH).lesions[0]
    assert lesion.measured[0] == pytest.approx(10)
    np.testing.assert_allclose(np.linalg.norm(lesion.axes, axis=1), [5, 3.7, 3])
    along = np.array(
        [[-10 + 0.01, 0.01, 0], [-7 + 0.8 * 3.6, 4 - 0.6 * 3.6, 0], [-7 + 0.8 * 3.8, 4 - 0.6 * 3.8, 0]]
    )
    assert lesion.contains(along, WORLD).tolist() == [
        True,
        True,
        False,
    ]


def test_points_with_and_without_diameter() -> None:
    truth = truth_of(case("a", ball(0, diameter=20), Annotation("point", frame="mm", point=(50, 0, 0))), BOTH)
    known, unknown = truth.lesions
    points = np.array([[9.9, 0, 0], [10.1, 0, 0], [54.9, 0, 0], [55.1, 0, 0]])
    assert known.contains(points, truth.frame).tolist() == [True, False, False, False]
    assert unknown.contains(points, truth.frame).tolist() == [False, False, True, False]
    assert (known.sized, unknown.sized) == (True, False)
    assert np.isnan(unknown.measured).all()


def test_status_decides_what_is_kept() -> None:
    annotated = case("a", ball(0), ball(30, status="benign"), ball(60, status="doubtful"))
    assert len(truth_of(annotated, BOTH).lesions) == 3
    assert [les.annotation.status for les in truth_of(annotated, ("doubtful",)).lesions] == [
        "lesion",
        "doubtful",
    ]
    assert len(truth_of(annotated, ()).lesions) == 1


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        (Completeness("all"), [True, True, True]),
        (Completeness("none"), [False, False, False]),
        (Completeness("slices", slices=(4, 8)), [True, True, False]),
        (Completeness("region", region=((-0.5, -0.5, 3.5), (5.5, 39.5, 19.5))), [True, False, True]),
    ],
)
def test_where_annotation_is_complete(tmp_path: Path, extent: Completeness, expected: list[bool]) -> None:
    places = [(5, 5, 4), (20, 5, 8.4), (5, 5, 8.6)]
    marks = [Annotation("point", point=place, long_mm=5) for place in places]
    assert truth_of(scan(tmp_path, *marks, complete=extent), BOTH).lesion_complete.tolist() == expected


def test_where_organs_are_complete(tmp_path: Path) -> None:
    organs = np.zeros((20, 30, 40), np.uint8)
    organs[:, :, :10], organs[:, :, 10:20], organs[:, :, 20:] = 1, 2, 3
    write(tmp_path / "organs.nii.gz", organs)
    values = {"liver": (1, 2), "spleen": (3,)}
    extent = Completeness(
        "organs", organs=("liver",), organ_labels=str(tmp_path / "organs.nii.gz"), organ_values=values
    )
    marks = [Annotation("point", point=(x, 5, 5), long_mm=5) for x in (5, 19, 20)]
    assert truth_of(scan(tmp_path, *marks, complete=extent), BOTH).lesion_complete.tolist() == [
        True,
        True,
        False,
    ]


def test_errors_name_case_and_annotation(tmp_path: Path) -> None:
    write(tmp_path / "m.nii.gz", np.ones((20, 30, 40), np.uint8))
    mask = Annotation("mask", mask=str(tmp_path / "m.nii.gz"), label=2)
    with pytest.raises(
        EvaluationError, match=r"case a, annotations\[1\]: expected the value 2 in .*m.nii.gz"
    ):
        truth_of(scan(tmp_path, ball(0), mask), BOTH)
    other = Annotation("mask", mask=str(tmp_path / "small.nii.gz"), label=1)
    with pytest.raises(EvaluationError, match=r"small\.nii\.gz: expected a label image, found No such file"):
        truth_of(scan(tmp_path, other), BOTH)
    write(tmp_path / "small.nii.gz", np.ones((2, 3, 4), np.uint8))
    with pytest.raises(EvaluationError, match=r"expected a mask of the image's \(40, 30, 20\) voxels"):
        truth_of(scan(tmp_path, other), BOTH)
    flat = Annotation("box3d", lower=(1, 1, 1), upper=(2, 2, 1))
    with pytest.raises(EvaluationError, match="expected a box of positive volume"):
        truth_of(scan(tmp_path, flat), BOTH)
    with pytest.raises(EvaluationError, match="case b: expected its image at .*b.mha, found nothing"):
        truth_of(case("b", Annotation("point", point=(1, 1, 1))), BOTH)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "c.mha").write_text("no image", encoding="utf-8")
    broken = Case("c", "p", "made", None, ImageSource(str(tmp_path / "images" / "c.mha")), (ball(0),))
    with pytest.raises(EvaluationError, match=r"case c: .*c.mha: expected a CT image, found: no image"):
        truth_of(broken, BOTH)


SEEN, CLEAR = Finding("liver", "liver"), Finding(None, None, count=None, presence="absent")
BENIGN = Finding("liver", "liver", character="benign")
EARLIER = Finding("liver", "liver", time="prior")
NO_LIVER = Finding("liver", "liver", count=None, presence="absent")


@pytest.mark.parametrize(
    ("statuses", "complete", "findings", "expected"),
    [
        (["lesion"], "none", [], (True, "annotation")),
        (["lesion", "doubtful"], "all", [CLEAR], (True, "annotation")),
        ([], "all", [], (False, "annotation")),
        (["benign"], "all", [SEEN], (False, "annotation")),
        (["doubtful"], "all", [], (None, "annotation")),
        ([], "none", [], (None, "nothing")),
        ([], "none", [SEEN, NO_LIVER], (True, "report")),
        ([], "none", [CLEAR], (False, "report")),
        ([], "none", [BENIGN, EARLIER, NO_LIVER], (None, "nothing")),
    ],
)
def test_positive_and_negative_scans(statuses, complete, findings, expected) -> None:
    annotations = tuple(ball(20 * i, status=status) for i, status in enumerate(statuses))
    one = Case(
        "a", "p", "made", None, ImageSource("a.mha"), annotations, Completeness(complete), tuple(findings)
    )
    assert scan_truth(one) == expected
