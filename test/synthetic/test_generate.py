"""Whole scans on coarse voxels: same seed, true lesions, organs where they belong."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import LESION_TYPES
from resources.cases.case import read_cases
from resources.synthetic.__main__ import main
from resources.synthetic.draw import Draw
from resources.synthetic.files import read_mentions
from resources.synthetic.generate import Order, SyntheticScan, make_scan, whole_organs
from resources.synthetic.organs import KEYS, LABEL, PHASES, tissue_hu
from resources.synthetic.scanner import Scanner, acquire, blur_plane
from resources.synthetic.sites import SITES, draw_count

ORDER = Order(3, "A", (6.0, 6.0, 6.0), "both", "portal", "procedural", 6)


@pytest.fixture(scope="module")
def scan() -> SyntheticScan:
    torch.set_num_threads(1)
    return make_scan(ORDER)


@pytest.mark.slow
def test_same_seed_same_scan(scan: SyntheticScan) -> None:
    again = make_scan(ORDER)
    assert np.array_equal(scan.volume.hu, again.volume.hu)
    assert np.array_equal(scan.organs, again.organs)
    assert scan.truth == again.truth


def test_other_sites_change_nothing_of_site_a(scan: SyntheticScan) -> None:
    """Whatever other sites draw: one more random number for site A changes all of these."""
    counts = [int((scan.organs == LABEL[key]).sum()) for key in ("liver", "spleen", "L3", "heart", "colon")]
    assert scan.volume.hu.shape == (106, 59, 70)
    assert float(scan.volume.hu.mean()) == pytest.approx(-490.43, abs=0.05)
    assert counts == pytest.approx([8791, 786, 197, 1713, 3795], abs=2)
    assert set(scan.truth.attributes).isdisjoint({"devices", "absent", "worn"})


def test_every_lesion_is_where_it_is_said_to_be(scan: SyntheticScan) -> None:
    lesions = scan.truth.lesions
    assert len({m.label for m in lesions}) == len(lesions)
    assert {m.label for m in lesions} == set(np.unique(scan.lesions).tolist()) - {0}
    assert sum(m.status != "benign" for m in lesions) >= 4
    for m in lesions:
        assert m.type in LESION_TYPES
        assert m.short_mm <= m.long_mm
        voxels = np.argwhere(scan.lesions == m.label)
        center = scan.volume.index_to_world(voxels.mean(0)[::-1])[0]
        assert np.abs(center - m.center_mm).max() < max(6.0, 0.3 * m.long_mm)
    order = [m.status for m in lesions]
    assert order == sorted(order, key=("lesion", "doubtful", "benign").index)


def test_body_parts_lie_where_they_belong(scan: SyntheticScan) -> None:
    def center(key: str) -> np.ndarray:
        return scan.volume.index_to_world(np.argwhere(scan.organs == LABEL[key]).mean(0)[::-1])[0]

    assert center("liver")[0] < -20 < 20 < center("spleen")[0]  # LPS: x grows to the left
    assert center("heart")[2] > center("liver")[2] > center("bladder")[2]
    assert center("L1")[1] > center("liver")[1]
    assert center("lung right lower")[0] < center("lung left lower")[0]
    hu = scan.volume.hu
    assert np.median(hu[scan.organs == LABEL["lung left upper"]]) < -750
    assert -125 < np.median(hu[scan.organs == LABEL["subcutaneous fat"]]) < -80
    assert np.median(hu[scan.organs == LABEL["liver"]]) > 60
    assert hu.dtype == np.int16
    assert -1024 <= hu.min() <= hu.max() <= 3071


def test_organs_that_are_cut_off_are_not_whole() -> None:
    organs = np.zeros((10, 8, 8), np.uint8)
    organs[3:6, 2:6, 2:6] = LABEL["liver"]
    organs[7:, 2:6, 2:6] = LABEL["spleen"]
    assert whole_organs(organs) == ("liver",)


def test_lesions_of_none_but_the_types_wanted() -> None:
    scan = make_scan(Order(3, "A", (6.0, 6.0, 6.0), "chest", "portal", "procedural", 9, types=("lung",)))
    assert {lesion.type for lesion in scan.truth.lesions if lesion.status != "benign"} == {"lung"}


def test_no_lesions_when_none_are_wanted() -> None:
    found = make_scan(dataclasses.replace(ORDER, lesion_count=0, coverage="chest"))
    assert all(m.status == "benign" for m in found.truth.lesions)
    assert "liver" not in found.truth.organs
    assert "lung" in found.truth.organs


def test_a_third_of_the_scans_have_no_lesion_and_site_b_fewer_lesions() -> None:
    draw = Draw(1)
    a, b = ([draw_count(SITES[s], draw) for _ in range(3000)] for s in ("A", "B"))
    assert np.mean(np.array(a) == 0) == pytest.approx(1 / 3, abs=0.03)
    assert np.mean(np.array(b) == 0) == pytest.approx(0.5, abs=0.03)
    assert max(a) <= 25
    assert np.mean(a) > np.mean(b)
    assert not set(SITES["A"].anatomy) & {"icrp110_AF", "icrp110_AM"}


def test_phases_enhance_what_they_should() -> None:
    means = {
        p: {
            k: np.mean([tissue_hu(p, Draw(s))[k] for s in range(40)])
            for k in ("aorta", "portal vein", "urine", "fat")
        }
        for p in PHASES
    }
    assert means["none"]["aorta"] < 60 < 220 < means["arterial"]["aorta"]
    assert means["portal"]["portal vein"] > means["arterial"]["portal vein"] + 40
    assert means["excretory"]["urine"] > 300 > 30 > means["portal"]["urine"]
    assert len({round(m["fat"]) for m in means.values()}) <= 3


def plain(noise_hu: float = 0.0, **more: object) -> Scanner:
    return Scanner((1.0, 1.0, 1.0), 0.6, 0.0, noise_hu, 0.5, **more)  # type: ignore[arg-type]


def test_thick_slices_average_thin_layers_and_values_are_clipped() -> None:
    body = torch.zeros(6, 8, 8)
    body[0], body[5] = 300.0, 9000.0
    thick = dataclasses.replace(plain(), spacing_mm=(1.0, 1.0, 6.0))  # three layers of 2 mm
    stored = acquire(body, (1.0, 1.0, 2.0), thick, Draw(0))
    assert stored.shape == (2, 8, 8)
    assert (stored[0] == 100).all()
    assert (stored[1] == 3000).all()
    assert int(acquire(body + 5000, (1.0, 1.0, 1.0), plain(), Draw(0)).max()) == 3071


def test_blur_keeps_the_mean_and_a_point_becomes_a_bell() -> None:
    image = torch.zeros(1, 31, 31)
    image[0, 15, 15] = 100.0
    soft = blur_plane(image, 1.5)
    assert float(soft.sum()) == pytest.approx(100.0, rel=1e-4)
    assert float(soft[0, 15, 15]) == pytest.approx(100 / (2 * np.pi * 1.5**2), rel=0.03)


def test_noise_grows_behind_a_thick_body_and_is_correlated() -> None:
    phantom = torch.full((24, 96, 128), -1000.0)
    phantom[:12, 28:68, 44:84] = 0.0  # a thin body, then a wide one
    phantom[12:, 28:68, 4:124] = 0.0
    noisy, clean = (acquire(phantom, (1.0, 1.0, 1.0), plain(hu), Draw(2)).float() for hu in (10.0, 0.0))
    field = noisy - clean
    thin, wide = (float(field[part, 40:56, 56:72].std()) for part in (slice(0, 12), slice(12, 24)))
    assert wide > 1.15 * thin
    assert 3 < float(field[12:, 30:66, 10:118].std()) < 30
    flat = field[12:, 40:56, 30:98]
    assert float((flat[:, :, 1:] * flat[:, :, :-1]).mean() / (flat**2).mean()) > 0.2


def test_the_field_of_view_is_round() -> None:
    stored = acquire(torch.zeros(2, 40, 40), (1.0, 1.0, 1.0), plain(field_mm=40.0), Draw(0))
    assert int(stored[0, 0, 0]) == -1024
    assert int(stored[0, 20, 1]) == 0


def test_command_writes_cases_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--site", "A", "--count", "1", "--seed", "7", "--out", str(tmp_path), "--processes", "1"]
    command += ["--spacing-mm", "6", "--coverage", "abdomen"]
    assert main(command) == 0
    (case,) = read_cases(tmp_path / "cases.jsonl")
    assert case.completeness.kind == "all"
    assert case.split == "train"
    assert Path(case.image.path).is_file()
    assert Path(case.report or "").read_text(encoding="utf-8")
    assert case.completeness.organ_values["liver"] == (KEYS.index("liver"),)
    (points,) = read_cases(tmp_path / "points.jsonl")
    assert len(points.annotations) == sum(a.status == "lesion" for a in case.annotations)
    assert not list((tmp_path / "scans").glob(".*"))
    text = Path(case.report or "").read_text(encoding="utf-8")
    mentions, omitted = read_mentions(Path(case.image.path).parent)
    told = [n for m in mentions if m.finding.presence != "absent" and not m.optional for n in m.lesions]
    assert len({*told, *omitted}) == len(told) + len(omitted)
    assert {a.label for a in case.annotations if a.status != "benign"} <= {*told, *omitted}
    assert {*told, *omitted} <= {a.label for a in case.annotations}
    assert all(text[slice(*m.finding.span)].strip() for m in mentions)
    before = Path(case.image.path).stat().st_mtime_ns
    assert main(command) == 0
    assert Path(case.image.path).stat().st_mtime_ns == before
    assert main([*command[:-1], "upper abdomen"]) == 2
    assert "expected a scan made by this command, found another coverage" in capsys.readouterr().err
    assert main([*command, "--types", "liver"]) == 2
    assert "found another types" in capsys.readouterr().err
    truth = Path(case.image.path).parent / "truth.json"
    facts = json.loads(truth.read_text(encoding="utf-8"))
    del facts["order"]["types"]  # a scan made before there were types
    truth.write_text(json.dumps(facts), encoding="utf-8")
    assert main(command) == 0
