"""Findings of two scans: paired where they are the same, and RECIST's sums counted by hand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from review.results import places, write_results, write_volume

from helpers import phantom
from model.config import LESION_TYPES
from model.exports import Detection
from model.volume import Volume
from resources.cases.strict import CaseError
from resources.review.__main__ import main
from resources.review.pairs import Pair, pair_findings, sum_of_targets
from resources.review.register import Registration, register

STILL = Registration(np.eye(3), np.zeros(3), 0.95, 1.0)
ROOM = Volume(np.zeros((50, 50, 50), np.int16), (10.0, 10.0, 10.0), (0.0, 0.0, 0.0), np.eye(3))


def finding(
    number: int, place: tuple[float, float, float], long_mm: float = 20.0, **changes: object
) -> Detection:
    types = {name: 0.1 for name in LESION_TYPES}
    base = Detection(
        number, place, 0.9, "liver", types, None, long_mm, 0.8 * long_mm, long_mm, place, place, True
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def states(found: list[Pair]) -> list[tuple[int | None, int | None, str, bool]]:
    return [(p.prior and p.prior.number, p.follow_up and p.follow_up.number, p.state, p.weak) for p in found]


def test_same_grown_gone_new_and_what_was_not_scanned() -> None:
    prior = [
        finding(1, (100, 100, 100)),
        finding(2, (200, 200, 200), 30),
        finding(3, (300, 100, 100)),
        finding(4, (400, 400, 900)),  # above the follow-up's last slice
        finding(5, (50, 50, 50)),
    ]
    follow_up = [
        finding(1, (203, 200, 204), 45),
        finding(2, (104, 98, 101)),
        finding(3, (400, 300, 200)),
        finding(4, (52, 50, 50), above_operating_point=False, probability=0.2),
    ]
    found = pair_findings(prior, follow_up, STILL, (ROOM, ROOM))
    assert states(found) == [
        (1, 2, "both", False),
        (2, 1, "both", False),
        (3, None, "gone", False),
        (4, None, "outside the follow-up", False),
        (5, 4, "both", True),
        (None, 3, "new", False),
    ]
    assert found[1].change_mm == 15
    assert found[0].apart_mm == pytest.approx(np.sqrt(16 + 4 + 1))


def test_neighbours_are_paired_at_once_not_the_nearest_first() -> None:
    prior = [finding(1, (100, 100, 100)), finding(2, (112, 100, 100))]
    follow_up = [
        finding(1, (107, 100, 100)),
        finding(2, (119, 100, 100)),
    ]  # all moved by 7 mm: 2 is 5 mm from 1
    assert states(pair_findings(prior, follow_up, STILL, (ROOM, ROOM)))[:2] == [
        (1, 1, "both", False),
        (2, 2, "both", False),
    ]


def test_recist_takes_five_two_an_organ_and_nodes_by_their_short_axis() -> None:
    liver = [finding(n, (0, 0, 50.0 * n), long_mm) for n, long_mm in ((1, 50), (2, 40), (3, 30))]
    node = finding(4, (0, 100, 0), 20, organ="lymph node", short_mm=14.0)
    large = finding(5, (0, 200, 0), 30, organ="lymph node", short_mm=16.0)
    small = finding(6, (0, 300, 0), 9, type="lung")
    pairs = [
        Pair("both", d, dataclasses.replace(d, long_mm=d.long_mm / 2, short_mm=8.0))
        for d in (*liver, node, large)
    ]
    total = sum_of_targets([*pairs, Pair("gone", small, None)])
    assert total.numbers == (1, 2, 5)
    assert (total.prior_mm, total.follow_up_mm) == (50 + 40 + 16, 25 + 20 + 8)
    assert total.response == "partial response"
    gone = [Pair("gone", liver[0], None), Pair("outside the follow-up", liver[1], None)]
    total = sum_of_targets(gone)
    assert (total.prior_mm, total.follow_up_mm, total.lost) == (50, 0, (2,))
    assert total.response == "complete response of the targets"
    new = Pair("new", None, small)
    assert sum_of_targets([*gone, new]).response == "progressive disease (new lesions)"
    assert sum_of_targets([]).response == "not evaluable"
    with pytest.raises(CaseError, match=r"expected numbers of the prior's findings \(1, 2\), found 7"):
        sum_of_targets(gone, [7])


@pytest.mark.parametrize(
    ("after", "response"),
    [(24, "progressive disease"), (23, "stable disease"), (14, "partial response"), (15, "stable disease")],
)
def test_recist_limits(after: float, response: str) -> None:
    """20 mm before: from 24 mm it has grown by 20 %, but RECIST asks for 5 mm as well."""
    before = finding(1, (0, 0, 0), 20.0)
    pair = Pair("both", before, dataclasses.replace(before, long_mm=float(after)))
    expected = "stable disease" if after == 24 else response
    assert sum_of_targets([pair]).response == expected
    grown = Pair("both", before, dataclasses.replace(before, long_mm=25.0))
    assert sum_of_targets([grown]).response == "progressive disease"


def trunk(shift_mm: tuple[float, float, float] = (0, 0, 0), seed: int = 0) -> Volume:
    """A phantom with a few bones, somewhere else."""
    hu = phantom((40, 60, 70), seed).astype(np.float64)
    z, y, x = np.ogrid[:40, :60, :70]
    for k, j, i, reach in ((8, 46, 35, 5), (20, 44, 30, 4), (33, 48, 38, 6), (28, 20, 50, 4)):
        hu[(z - k) ** 2 + (y - j) ** 2 + (x - i) ** 2 < reach**2] = 600
    origin = np.array([-120.0, -90.0, -80.0]) + shift_mm
    return Volume(hu.astype(np.int16), (5.0, 5.0, 4.0), tuple(map(float, origin)), np.eye(3))  # type: ignore[arg-type]


def test_registration_finds_a_shift_and_says_where_it_is_poor() -> None:
    found = register(trunk(), trunk((25, -10, 30), seed=1))
    assert np.abs(found.forward([(0, 0, 0), (60, 40, -50)]) - [(25, -10, 30), (85, 30, -20)]).max() < 2
    assert np.allclose(found.backward(found.forward([(1, 2, 3)])), [(1, 2, 3)])
    assert found.degrees < 2
    assert not found.poor
    noise = np.random.default_rng(0).normal(40, 120, trunk().hu.shape).astype(np.int16)
    other = dataclasses.replace(trunk(), hu=noise)
    assert register(trunk(), other).poor


def test_compare_writes_a_page_and_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = trunk(), trunk((20, 0, 10), seed=1)
    one, two = places(first, (0.5, 0.7, 0.5), (0.3, 0.5, 0.3))
    write_results(tmp_path / "prior", [("bone", one, 0.9, 20.0), ("lung", two, 0.8, 12.0)])
    write_results(tmp_path / "later", [("bone", (one[0] + 20, one[1], one[2] + 10), 0.9, 30.0)])
    scans = [write_volume(tmp_path / f"{n}.mha", v) for n, v in (("a", first), ("b", second))]
    words = ["compare", str(tmp_path / "prior"), str(tmp_path / "later")]
    assert main([*words, "--prior-scan", str(scans[0]), "--scan", str(scans[1])]) == 0
    value = json.loads((tmp_path / "later" / "comparison.json").read_text(encoding="utf-8"))
    assert [(p["prior"], p["follow_up"], p["state"]) for p in value["pairs"]] == [
        (1, 1, "both"),
        (2, None, "gone"),
    ]
    assert (value["targets"]["prior_mm"], value["targets"]["follow_up_mm"]) == (32, 30)
    page = (tmp_path / "later" / "comparison.html").read_text(encoding="utf-8")
    assert "Not a medical device" in page
    assert "+10.0 mm (+50 %)" in page
    assert main([*words, "--targets", "9"]) == 2
    assert "expected numbers of the prior's findings (1, 2), found 9" in capsys.readouterr().err


def test_no_response_is_called_where_the_registration_is_poor(tmp_path: Path) -> None:
    """A trunk against a small ball: page and JSON file have the numbers and no verdict."""
    first = trunk()
    z, y, x = np.indices(first.hu.shape) - (np.array(first.hu.shape) // 2)[:, None, None, None]
    hu = np.where(z**2 + y**2 + x**2 < 8**2, 40, -1000) + np.random.default_rng(0).normal(0, 10, z.shape)
    second = dataclasses.replace(first, hu=hu.round().astype(np.int16))
    (place,) = places(first, (0.5, 0.7, 0.5))
    write_results(tmp_path / "prior", [("bone", place, 0.9, 20.0)])
    write_results(tmp_path / "later", [("bone", place, 0.9, 40.0)])
    scans = [write_volume(tmp_path / f"{n}.mha", v) for n, v in (("a", first), ("b", second))]
    words = ["compare", str(tmp_path / "prior"), str(tmp_path / "later")]
    assert main([*words, "--prior-scan", str(scans[0]), "--scan", str(scans[1])]) == 0
    value = json.loads((tmp_path / "later" / "comparison.json").read_text(encoding="utf-8"))
    assert value["registration"]["poor"]
    assert value["targets"]["response"] == "not judged: poor registration"
    page = (tmp_path / "later" / "comparison.html").read_text(encoding="utf-8")
    assert "<b>not judged: poor registration</b>" in page
