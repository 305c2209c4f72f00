"""Real nodules in other lungs: volume, place in mm, what stays untouched, walls, vessels, the command."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from model.volume import InputError, Volume, read_volume
from resources.cases.case import Annotation, Case, Completeness, ImageSource, read_cases, write_cases
from resources.cases.describe import check_files
from resources.cases.images import read_labels
from resources.synthetic.bank import Job, lesions_of, main, put_in
from resources.synthetic.files import write_image
from resources.synthetic.graft import Pose, blend, draw_turn, fits, lungs_of, noise_of, render
from resources.synthetic.nodules import RING_MM, Nodule, cut_out

RADIUS, LUNG, RISE = 6.0, -850, 800
BALL_MM3 = 4 / 3 * math.pi * RADIUS**3
FLIPPED = np.diag([-1.0, -1.0, 1.0])

Array = npt.NDArray[np.float64]


def ball(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], middle_mm: tuple[float, ...]
) -> Array:
    """(z, y, x) share of each voxel within RADIUS of a place in mm from the first voxel's centre."""
    fine = [(np.arange(n * 4) + 0.5) / 4 - 0.5 for n in shape]
    z, y, x = np.meshgrid(*(v * mm for v, mm in zip(fine, spacing[::-1], strict=True)), indexing="ij")
    inside = (x - middle_mm[0]) ** 2 + (y - middle_mm[1]) ** 2 + (z - middle_mm[2]) ** 2 <= RADIUS**2
    return inside.reshape([v for n in shape for v in (n, 4)]).mean((1, 3, 5))


def nodule(wall_x_mm: float | None = None) -> Nodule:
    """A ball in the lung as a crop of 0.7 mm pixels shows it; optionally with a wall from an x on."""
    shape, spacing = (21, 56, 56), (0.7, 0.7, 1.25)
    share = ball(shape, spacing, (19.0, 19.6, 12.5))
    hu = LUNG + RISE * share
    if wall_x_mm is not None:
        hu[:, :, np.arange(56) * 0.7 >= wall_x_mm] = 50
    volume = Volume(hu.astype(np.float32), spacing, (3.0, -40.0, 7.0), np.eye(3))
    inside = share >= 0.5
    if wall_x_mm is not None:
        inside[:, :, np.arange(56) * 0.7 >= wall_x_mm] = False
    return cut_out(volume, inside, ("ball", "someone"))


@pytest.mark.parametrize(
    ("spacing", "direction", "scale"),
    [
        ((1.0, 1.0, 1.0), np.eye(3), 1.0),
        ((2.0, 2.0, 2.0), np.eye(3), 1.3),
        ((1.25, 1.25, 4.0), FLIPPED, 1.0),
        ((0.6, 0.9, 2.5), FLIPPED @ [[0, 1, 0], [1, 0, 0], [0, 0, 1]], 0.8),
    ],
)
def test_a_ball_keeps_its_volume_and_its_place_in_mm(
    spacing: tuple[float, float, float], direction: Array, scale: float
) -> None:
    shape = tuple(round(60 / mm) for mm in spacing[::-1])
    place = Volume(
        np.full(shape, LUNG, np.int16), spacing, (100.0, -50.0, 400.0), np.asarray(direction, float)
    )
    center = place.index_to_world([np.array(shape[::-1]) * [0.45, 0.5, 0.52]])[0]
    rendered = render(nodule(), place, Pose(center, scale * FLIPPED))
    assert rendered is not None
    after = place.hu.copy()
    blend(after, rendered, nodule(), 0.0)
    rise = after.astype(float) - LUNG
    voxel = math.prod(spacing)
    assert rise.sum() / RISE * voxel == pytest.approx(BALL_MM3 * scale**3, rel=0.05)
    found = place.index_to_world([(np.argwhere(rise > 0) * rise[rise > 0, None]).sum(0)[::-1] / rise.sum()])[
        0
    ]
    np.testing.assert_allclose(found, center, atol=0.15)
    if spacing[2] <= 2:
        assert (rendered.mask >= 0.5).sum() * voxel == pytest.approx(BALL_MM3 * scale**3, rel=0.05)
    assert rise.max() == pytest.approx(RISE, abs=1)


def test_nothing_is_touched_beyond_the_ring_and_vessels_go_on() -> None:
    random = np.random.default_rng(1)
    hu = (LUNG + random.normal(0, 20, (60, 60, 60))).round().astype(np.int16)
    hu[30, 33, :] = 60  # a vessel through the nodule
    place = Volume(hu, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    rendered = render(nodule(), place, Pose(np.array([30.0, 30.0, 30.0]), np.eye(3)))
    assert rendered is not None
    after = hu.copy()
    blend(after, rendered, nodule(), 20.0)
    z, y, x = np.ogrid[:60, :60, :60]
    away = np.sqrt((z - 30.0) ** 2 + (y - 30.0) ** 2 + (x - 30.0) ** 2)
    np.testing.assert_array_equal(after[away > RADIUS + RING_MM + 2], hu[away > RADIUS + RING_MM + 2])
    vessel = after[30, 33]
    assert vessel.min() > 0  # it is not cut off
    assert vessel.max() < 120  # and the nodule is not added on top of it
    inside, outside = after[away < 4].astype(float), after[(away > 12) & (hu < -700)].astype(float)
    inside = inside[inside < 0]
    assert inside.mean() == pytest.approx(LUNG + RISE, abs=10)
    assert inside.std() == pytest.approx(outside.std(), rel=0.35)  # as noisy as the scan


def test_calcium_stays_bright_and_ground_glass_faint() -> None:
    for peak in (500, -600):
        hu = np.full((11, 40, 40), LUNG, np.float32)
        hu[3:8, 15:25, 15:25] = peak
        crop = Volume(hu, (0.7, 0.7, 1.25), (0.0, 0.0, 0.0), np.eye(3))
        found = cut_out(crop, hu > LUNG + 1, ("box", "someone"))
        place = Volume(np.full((30, 30, 30), -800, np.int16), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
        rendered = render(found, place, Pose(np.array([15.0, 15.0, 15.0]), np.eye(3)))
        assert rendered is not None
        blend(place.hu, rendered, found, 0.0)
        expected = peak if peak > 0 else -800 + 250 * 850 / 900  # a share of 250 / 900 of tissue
        assert float(place.hu[15, 15, 15]) == pytest.approx(expected, abs=1)


def test_too_little_lung_is_refused() -> None:
    solid = Volume(np.full((5, 40, 40), 40, np.int16), (0.7, 0.7, 2.5), (0.0, 0.0, 0.0), np.eye(3))
    mask = np.zeros(solid.hu.shape, bool)
    mask[2, 20, 20] = True
    with pytest.raises(InputError, match="expected 50 voxels of lung within 15 mm of the nodule, found 0"):
        cut_out(solid, mask, ("solid", "someone"))


def test_a_nodule_at_a_wall_is_known_and_turned_to_the_other_wall() -> None:
    attached = nodule(wall_x_mm=22.4)
    assert attached.wall is not None
    assert attached.wall.towards == pytest.approx((1.0, 0.0), abs=0.05)
    assert attached.wall.apart_mm == pytest.approx(22.4 - 18.3, abs=0.8)  # from the rest's centre
    assert nodule().wall is None
    # neither the wall nor its edge comes along
    far = attached.share[:, :, round(attached.center[0] + 7 / 0.7) :]
    assert np.abs(far).max() < 0.01
    outward = np.array([0.0, -1.0, 0.0])
    for seed in range(20):
        turn = draw_turn(attached, outward, 1.4, np.random.default_rng(seed))
        assert abs(np.linalg.det(turn)) == pytest.approx(1.4**3)
        towards = turn @ [*attached.wall.towards, 0.0] / 1.4
        assert towards @ outward >= math.cos(math.radians(20.5))


def chest(seed: int = 0, gas: bool = False) -> Volume:
    """A trunk of 3 mm voxels: skin fat around tissue around two lungs, each with a vessel of 6 mm."""
    shape = (48, 80, 110)
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    radius = np.hypot((y - 39.5) / 36, (x - 54.5) / 50)
    hu = np.select([radius < 0.9, radius < 1], [50.0, -100.0], -1000.0)
    for middle in (34, 75):
        hu[(np.abs(y - 40) < 24) & (np.abs(x - middle) < 13) & (z > 14)] = LUNG
        hu[(np.abs(y - 40) < 2) & (np.abs(x - middle - 0.5) < 1) & (z > 14)] = 50
    if gas:
        hu[(np.hypot(y - 40, x - 54) < 14) & (z < 10)] = -1000
    hu += np.random.default_rng(seed).normal(0, 12, shape)
    return Volume(
        np.clip(hu, -1024, 3071).round().astype(np.int16), (3.0, 3.0, 3.0), (-165.0, -120.0, 9.0), np.eye(3)
    )


def test_lungs_are_found_with_their_vessels_and_without_bowel() -> None:
    volume = chest(gas=True)
    lungs = lungs_of(volume, None)
    expected = np.zeros(volume.hu.shape, bool)
    for middle in (34, 75):
        expected[15:, 17:64, middle - 12 : middle + 13] = True
    overlap = (lungs.inside & expected).sum() / (lungs.inside | expected).sum()
    assert overlap > 0.93
    assert lungs.inside[30, 40, 34]  # the vessel
    assert not lungs.inside[:10].any()
    assert noise_of(volume, lungs) == pytest.approx(12, rel=0.15)
    given = lungs_of(volume, volume.hu < -700)
    assert given.inside[30, 40, 34]


def write_nodules(folder: Path, split: str = "train") -> Path:
    """A case list of one crop with the ball in lung beside a chest wall."""
    shape, spacing = (21, 56, 56), (0.7, 0.7, 1.25)
    share = ball(shape, spacing, (19.0, 19.6, 12.5))
    hu = LUNG + RISE * share + np.random.default_rng(3).normal(0, 15, shape)
    hu[:, 46:] += 900
    hu[:, 51:] -= 150
    volume = Volume(hu.round().astype(np.int16), spacing, (0.0, 0.0, 0.0), np.eye(3))
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "crop.mha", volume.hu, volume)
    write_image(folder / "crop_mask.mha", (share >= 0.5).astype(np.uint8), volume)
    mark = Annotation("mask", "lung", mask=str(folder / "crop_mask.mha"), label=1)
    source = ImageSource(str(folder / "crop.mha"))
    write_cases(folder / "nodules.jsonl", [Case("crop", "P1", "crops", split, source, (mark,))])  # type: ignore[arg-type]
    return folder / "nodules.jsonl"


def write_chest(folder: Path) -> Path:
    """A case list of a complete chest with a box around a lesion in one lung, and a head without lungs."""
    folder.mkdir(parents=True, exist_ok=True)
    head = chest()
    head.hu[head.hu < -700] = 40
    head.hu[:, :4] = -1000
    for name, volume in (("chest", chest()), ("head", head)):
        write_image(folder / f"{name}.mha", volume.hu, volume)
    box = Annotation("box3d", "lung", lower=(25.5, 20.5, 20.5), upper=(32.5, 27.5, 26.5))
    cases = [
        Case(
            "chest",
            "P2",
            "site",
            "train",
            ImageSource(str(folder / "chest.mha")),
            (box,),
            Completeness("all"),
        ),
        Case("head", "P3", "site", "train", ImageSource(str(folder / "head.mha"))),
    ]
    write_cases(folder / "into.jsonl", cases)
    return folder / "into.jsonl"


def test_places_are_spread_over_the_lungs(tmp_path: Path) -> None:
    """No patch may give away that nodules were in the middle of their crops: places are as voxels are."""
    from scipy.stats import kstest

    volume, nodules = chest(), write_nodules(tmp_path)
    lungs = lungs_of(volume, None)
    case = Case("chest", "P2", "site", "train", ImageSource("chest.mha"))
    places = []
    for seed in range(40):
        job = Job("chest-0", case, nodules, 2, seed, tmp_path)
        _, found = put_in(volume, lungs, np.zeros(volume.hu.shape, bool), job)
        for one in found:
            start = [part.start for part in one.rendered.box]
            places.append(np.argwhere(one.lesion).mean(0) + start)
    assert len(places) == 80
    voxels = np.argwhere(lungs.inside)
    for axis in range(3):
        assert kstest(np.array(places)[:, axis], voxels[:, axis]).pvalue > 0.01


def test_the_command_writes_cases_that_read_back(tmp_path: Path) -> None:
    nodules, into = write_nodules(tmp_path / "bank"), write_chest(tmp_path / "site")
    options = ["--nodules", str(nodules), "--into", str(into), "--processes", "1", "--seed", "5"]
    options += ["--count-per-scan", "4", "--copies", "2"]
    for out in ("a", "b"):
        assert main([*options, "--out", str(tmp_path / out)]) == 0
    cases = read_cases(tmp_path / "a" / "cases.jsonl")
    assert [case.id for case in cases] == ["chest-nodules-5", "chest-nodules-7"]
    before = read_volume(tmp_path / "site" / "chest.mha")
    for case in cases:
        check_files(case)
        assert case.completeness.kind == "all"
        assert case.patient == "P2"
        assert case.annotations[0].kind == "box3d"
        own = [a for a in case.annotations if a.attributes.get("nodule") == "crop:0"]
        assert len(own) == len(case.annotations) - 1 == 4
        volume = read_volume(Path(case.image.path))
        labels = read_labels(Path(str(own[0].mask))).values
        changed = volume.hu != before.hu
        assert changed[labels > 0].mean() > 0.95
        assert not changed[18:29, 18:30, 23:35].any()  # the lesion that was there, and around it
        for mark in own:
            expected = 2 * RADIUS * float(mark.attributes["scale"])
            assert mark.long_mm == pytest.approx(expected, abs=4.5)  # voxels of 3 mm
            assert float(mark.attributes["contrast_hu"]) > 400
        other = tmp_path / "b" / "scans" / case.id
        for name in ("image.mha", "lesions.mha"):
            assert (other / name).read_bytes() == (tmp_path / "a" / "scans" / case.id / name).read_bytes()
    first, second = (read_volume(Path(case.image.path)).hu for case in cases)
    assert (first != second).any()


def test_what_does_not_belong_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodules, into = write_nodules(tmp_path / "bank"), write_chest(tmp_path / "site")
    held = write_nodules(tmp_path / "held", split="validation")
    out = ["--processes", "1", "--out", str(tmp_path / "out")]
    assert main(["--nodules", str(held), "--into", str(into), *out]) == 2
    assert "expected masks of lung lesions in the split train, found none" in capsys.readouterr().err
    assert main(["--nodules", str(nodules), "--into", str(held), *out]) == 2
    assert "expected scans of the split train, found none" in capsys.readouterr().err
    assert main(["--nodules", str(nodules), "--into", str(into), *out]) == 0
    assert main(["--nodules", str(nodules), "--into", str(into), "--count-per-scan", "3", *out]) == 2
    assert "expected a scan made with bank_count 3, found 8" in capsys.readouterr().err
    assert len(lesions_of(nodules)) == 1


def test_a_nodule_has_to_lie_in_the_lungs_apart_from_others(tmp_path: Path) -> None:
    volume = chest()
    lungs = lungs_of(volume, None)
    free = np.zeros(volume.hu.shape, bool)
    for place, well in (((34, 28, 30), True), ((54, 40, 30), False), ((34, 17, 30), False)):
        rendered = render(nodule(), volume, Pose(volume.index_to_world([place])[0], np.eye(3)))
        assert rendered is not None
        lesion = fits(rendered, False, lungs, free, volume.hu)
        assert (lesion is not None) == well
        if lesion is not None:
            airway = np.where(volume.hu < -500, -990, volume.hu).astype(np.int16)
            assert fits(rendered, False, lungs, free, airway) is None
            taken = free.copy()
            taken[30, 28, 35] = True
            assert fits(rendered, False, lungs, taken, volume.hu) is None
