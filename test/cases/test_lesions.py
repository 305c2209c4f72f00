"""What a mark means in mm: by hand, and the same for training and evaluation, for every kind of mark."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from model.geometry import Geometry
from resources.cases.axes import measure_axes
from resources.cases.cache import CachedScan, Job, build, open_scan
from resources.cases.case import Annotation, Case, CaseError, Completeness, ImageSource
from resources.cases.lesions import SHORT_RATIO, Z_RATIO, mark_of, reach_mm
from resources.cases.regions import complete_at
from resources.evaluation.frame import Frame
from resources.evaluation.outcomes import truth_of
from resources.evaluation.truth import LabelImages, lesions_of
from resources.training.targets.states import locate

SHAPE = (20, 30, 40)
UNIT = Geometry(SHAPE[::-1], (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))


def test_the_centre_of_axes_is_that_of_the_ellipse_which_they_span() -> None:
    """Long axis along x from 0 to 20 at y 0; short axis from y -2 to 6 at x 12: the middle is (10, 2)."""
    annotation = Annotation("recist", long=((0, 0, 5), (20, 0, 5)), short=((12, -2, 5), (12, 6, 5)))
    mark = mark_of(annotation, UNIT)
    np.testing.assert_allclose(mark.center_mm, [10, 2, 5])
    np.testing.assert_allclose(mark.size_mm, [20, 8, 0.97 * np.sqrt(160)])
    np.testing.assert_allclose(mark.half_mm, mark.size_mm / 2)
    assert mark.measured.tolist() == [True, True, False]


def test_a_square_box_encloses_a_lesion_whose_long_axis_is_longer_than_its_edge() -> None:
    """An ellipse with S / L = 0.74, the median, that touches the sides of a 20 mm square: L^2 + S^2 = 800."""
    mark = mark_of(Annotation("box3d", lower=(0, 0, 0), upper=(20, 20, 16)), UNIT)
    np.testing.assert_allclose(mark.size_mm, [22.736, 16.825, 16], atol=1e-3)
    np.testing.assert_allclose(mark.half_mm, [10, 10, 8])
    assert mark.size_mm[1] / mark.size_mm[0] == pytest.approx(SHORT_RATIO)
    oblong = mark_of(Annotation("box3d", lower=(0, 0, 0), upper=(10, 20, 16)), UNIT)
    np.testing.assert_allclose(oblong.size_mm, [20, 10, 16])


def test_a_box_of_one_slice_says_nothing_of_the_extent() -> None:
    mark = mark_of(Annotation("box3d", lower=(0, 0, 4.5), upper=(20, 20, 5.5)), UNIT)
    assert mark.size_mm[2] == pytest.approx(Z_RATIO[0.50] * 20)
    assert mark.measured.tolist() == [True, True, False]
    assert mark.half_mm[2] == pytest.approx(Z_RATIO[0.50] * 10)


def test_a_point_says_where_and_no_more() -> None:
    mark = mark_of(Annotation("point", point=(3, 4, 5)), UNIT)
    assert mark.center_mm.tolist() == [3, 4, 5]
    assert np.isnan([*mark.size_mm, *mark.half_mm]).all()
    known = mark_of(Annotation("point", point=(3, 4, 5), long_mm=10), UNIT)
    np.testing.assert_allclose(known.size_mm, [10, 7.4, 0.97 * np.sqrt(74)])
    assert known.measured.tolist() == [True, False, False]


def test_what_is_given_stands_before_what_is_drawn() -> None:
    ends = {"long": ((0, 0, 5), (20, 0, 5)), "short": ((10, -4, 5), (10, 4, 5))}
    mark = mark_of(Annotation("recist", **ends, long_mm=21, short_mm=9, z_extent_mm=12), UNIT)  # type: ignore[arg-type]
    assert mark.size_mm.tolist() == [21, 9, 12]
    assert mark.measured.all()


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Annotation("recist", long=((1, 1, 1), (1, 1, 1))), "two different end points"),
        (Annotation("recist", frame="mm", long=((1, 1, 1), (1, 1, 9))), "an axis on an axial slice"),
        (
            Annotation("recist", long=((1, 1, 1), (9, 1, 1)), short=((2, 1, 1), (4, 1, 1))),
            "an axis across the long one",
        ),
        (Annotation("box3d", lower=(1, 1, 1), upper=(2, 1, 2)), "a box of positive volume"),
        (Annotation("mask", mask="m.mha", label=1), "recist, box3d or point, found mask"),
    ],
)
def test_marks_that_mean_nothing_are_refused(annotation: Annotation, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        mark_of(annotation, UNIT)


# Training and evaluation.

coordinate = st.floats(5, 15)
point = st.tuples(coordinate, coordinate, st.just(8.0))
size = st.one_of(st.none(), st.floats(1, 60))


def directions() -> st.SearchStrategy[np.ndarray]:
    """All axis orders and flips, turned by up to half a radian about z and x."""

    def turned(order: tuple[int, ...], signs: tuple[float, ...], a: float, b: float) -> np.ndarray:
        about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        return np.asarray(about_z @ about_x @ (np.eye(3)[list(order)] * signs))

    angle = st.one_of(st.just(0.0), st.floats(-0.5, 0.5))
    orders = st.sampled_from(list(itertools.permutations(range(3))))
    return st.builds(turned, orders, st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3), angle, angle)


@st.composite
def marks(draw: st.DrawFn) -> Annotation:
    """Any mark but a mask, in index space: RECIST axes with or without a short one, a box, a point."""
    kind = draw(st.sampled_from(["recist", "recist without short", "box3d", "point"]))
    given = sorted([draw(size) or 0, draw(size) or 0], reverse=True)
    sizes = {"long_mm": given[0] or None, "short_mm": given[1] or None, "z_extent_mm": draw(size)}
    if kind == "point":
        sizes |= {"short_mm": None} if sizes["long_mm"] is None else {}
        return Annotation("point", point=draw(point), **sizes)
    if kind == "box3d":
        lower = draw(point)
        edges = draw(st.tuples(*[st.floats(1, 12)] * 3))
        return Annotation("box3d", lower=lower, upper=tuple(np.add(lower, edges).tolist()), **sizes)
    (x, y, z), angle = draw(point), draw(st.floats(0, 6.3))
    half, part, off = draw(st.floats(2, 8)), draw(st.floats(0.2, 1)), draw(st.floats(-0.5, 0.5))
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    middle = np.array([x, y]) + off * half * (along + part * across)
    ends = [np.array([x, y]) - half * along, np.array([x, y]) + half * along]
    ends += [middle - part * half * across, middle + part * half * across]
    a, b, c, d = ((*end.tolist(), z) for end in ends)
    return Annotation("recist", long=(a, b), short=(c, d) if kind == "recist" else None, **sizes)


def in_mm(mark: Annotation, place: Geometry) -> Annotation:
    """The same mark in LPS mm; boxes along the index axes have none that is the same."""

    def world(points: object) -> object:
        return tuple(map(tuple, place.index_to_world(points).tolist()))

    if mark.kind == "point":
        return dataclasses.replace(mark, frame="mm", point=world([mark.point])[0])  # type: ignore[index]
    short = None if mark.short is None else world(mark.short)
    return dataclasses.replace(mark, frame="mm", long=world(mark.long), short=short)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(marks(), directions(), st.tuples(*[st.floats(0.4, 6)] * 3), st.booleans())
def test_training_and_evaluation_put_a_mark_at_the_same_place_and_size(
    mark: Annotation, direction: np.ndarray, spacing: tuple[float, float, float], world: bool
) -> None:
    place = Geometry(SHAPE[::-1], spacing, (7.0, -300.0, 41.0), direction)
    mark = in_mm(mark, place) if world and mark.kind != "box3d" else mark
    case = Case("a", "p", "made", "train", ImageSource("a.mha"), (mark,), Completeness("all"))
    scan = CachedScan(np.zeros((3, 8, 8, 8), np.int16), (0, 0, 0), 2.0, place, {}, "")
    frame = Frame(place)
    (trained,), (judged,) = locate(case, scan), lesions_of(case, frame, LabelImages(place), ())
    np.testing.assert_allclose(frame.of_world(trained.center_mm)[0], judged.centre_mm, atol=1e-6)
    known = np.isfinite(judged.measured)
    np.testing.assert_allclose(judged.measured[known], trained.size_mm[known], rtol=1e-9)
    assert np.isfinite(trained.size_mm[0]) == judged.sized == known[0]
    drawn = mark.kind == "recist" and (mark.long_mm, mark.short_mm, mark.z_extent_mm) == (None,) * 3
    if drawn:
        np.testing.assert_allclose(2 * np.linalg.norm(judged.axes, axis=1), trained.size_mm)


@pytest.mark.parametrize(
    "sizes", [{}, {"long_mm": 9.0, "short_mm": 8.0, "z_extent_mm": 7.0}, {"long_mm": 9.0}]
)
def test_training_and_evaluation_put_a_mask_at_the_same_place_and_size(
    tmp_path: Path, sizes: dict[str, float]
) -> None:
    """Through files and the cache; what the annotation gives stands, the rest is measured."""
    direction, spacing = np.array([[0, -0.8, 0.6], [1, 0, 0], [0, 0.6, 0.8]]), (1.5, 2.0, 4.0)
    z, y, x = np.mgrid[:20, :30, :40]
    mask = ((x - 20) / 5) ** 2 + ((y - 12) / 3) ** 2 + ((z - 9) / 2) ** 2 <= 1
    for name, values in (("ct", np.where(x < 30, 40, -1000)), ("mask", mask * 3)):
        image = sitk.GetImageFromArray(values.astype(np.int16))
        image.SetSpacing(spacing)
        image.SetOrigin((5.0, 6.0, 7.0))
        image.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    annotation = Annotation("mask", mask=str(tmp_path / "mask.nrrd"), label=3, **sizes)  # type: ignore[arg-type]
    source = ImageSource(str(tmp_path / "ct.nrrd"))
    case = Case("a", "p", "made", "train", source, (annotation,), Completeness("all"))
    build(Job(case, tmp_path, 2.0, 8))
    (trained,) = locate(case, open_scan(tmp_path / "a.b2nd"))
    truth = truth_of(case, ())
    (judged,) = truth.lesions
    np.testing.assert_allclose(truth.frame.of_world(trained.center_mm)[0], judged.centre_mm, atol=1e-3)
    np.testing.assert_allclose(judged.centre_mm, np.array([20, 12, 9]) * spacing, atol=1e-9)
    np.testing.assert_allclose(trained.size_mm, judged.measured)
    axes = measure_axes(mask, spacing)
    measured = {"long_mm": axes.long_mm, "short_mm": axes.short_mm, "z_extent_mm": axes.z_extent_mm}
    assert trained.size_mm.tolist() == pytest.approx(list((measured | sizes).values()))


def test_where_annotation_is_complete_by_hand() -> None:
    places = [[5, 5, 3.5], [5, 5, 8.4], [5, 5, 8.6], [20, 5, 3.5]]
    slices, region = Completeness("slices", slices=(4, 8)), ((-0.5, -0.5, 3.5), (5.0, 39.5, 8.6))
    assert complete_at(Completeness("all"), places).tolist() == [True] * 4
    assert complete_at(Completeness("none"), places).tolist() == [False] * 4
    assert complete_at(slices, places).tolist() == [True, True, False, True]
    assert complete_at(Completeness("region", region=region), places).tolist() == [True, True, True, False]
    organs = Completeness(
        "organs", organs=("liver",), organ_labels="m.mha", organ_values={"liver": (1, 2), "spleen": (3,)}
    )
    labels = np.array([[1, 2], [1, 3], [0, 0], [2, 2]])  # two voxels each: both have to be liver
    assert complete_at(organs, places, labels).tolist() == [True, False, False, True]
    with pytest.raises(ValueError, match="organ labels of each position"):
        complete_at(organs, places)


def test_reach_is_half_the_long_diameter_but_at_least_4_mm() -> None:
    assert reach_mm([6.0, 8.0, 20.0, np.nan]).tolist() == [4.0, 4.0, 10.0, 9.5]  # 19 mm: a median lesion
    assert float(reach_mm(50.0)) == 25.0
    assert reach_mm([]).shape == (0,)
