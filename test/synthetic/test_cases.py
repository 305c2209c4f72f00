"""Synthetic scans as cases: the marks, the report, and the way to states through files."""

import math
from pathlib import Path

import numpy as np
import pytest

from model.volume import Volume
from resources.cases.cache import Job as CacheJob
from resources.cases.cache import build, open_scan
from resources.cases.describe import check_files, describe, draw
from resources.synthetic.anatomy import Draw
from resources.synthetic.cases import Job, findings_of, make_case, recist_of, true_labels
from resources.synthetic.lesions import Truth
from resources.training.reports.pictures import draw_states
from resources.training.targets.states import NEGATIVE, POSITIVE, states_of

TRUTH = Truth((30.0, 40.0, 25.0), 20.0, 12.0, 16.0, "liver", math.radians(30), "liver")
PLACE = Volume(np.zeros((20, 80, 80), np.int16), (1.0, 1.0, 2.5), (0.0, 0.0, 0.0), np.eye(3))


def test_a_mark_lies_on_the_axes_of_the_lesion() -> None:
    marks = [recist_of(TRUTH, PLACE, Draw(seed)) for seed in range(200)]
    assert np.mean([m.long_mm for m in marks]) == pytest.approx(20, abs=0.2)
    assert np.mean([m.short_mm for m in marks]) == pytest.approx(12, abs=0.2)
    ends = np.mean([m.long for m in marks], 0)
    reach = 10 * np.array([math.cos(TRUTH.angle), math.sin(TRUTH.angle)])
    np.testing.assert_allclose(ends[:, :2], [[30, 40] - reach, [30, 40] + reach], atol=0.2)
    assert ends[:, 2].tolist() == [10, 10]


def test_labels_fill_the_ellipsoid() -> None:
    labels = true_labels([TRUTH], PLACE)
    assert labels[10, 40, 30] == 1
    assert labels.sum() * 2.5 == pytest.approx(math.pi / 6 * 20 * 12 * 16, rel=0.05)
    assert np.ptp(np.argwhere(labels)[:, 0]) * 2.5 == pytest.approx(16, abs=2.5)


def test_a_report_omits_nothing() -> None:
    findings = findings_of([TRUTH, TRUTH])
    present = [f for f in findings if f.presence == "present"]
    assert [(f.organ, f.sizes_mm) for f in present] == [("liver", (20, 12))] * 2
    assert {f.organ for f in findings} >= {"spleen", "lung", "kidney"}
    assert "liver" not in {f.organ for f in findings if f.presence == "absent"}


@pytest.mark.slow
def test_from_a_seed_to_states_through_files(tmp_path: Path) -> None:
    """On a whole synthetic scan, of whose lesions about half are marked, no voxel of a lesion is denied."""
    weak = make_case(Job(7, tmp_path, "weak", 0.5, "train"))
    full = make_case(Job(7, tmp_path, "full", 1.0, "train"))
    assert 0 < len(weak.annotations) < len(full.annotations)
    for case in (weak, full):
        check_files(case)
        build(CacheJob(case, tmp_path / case.source, 2.0, 8, False))
    scans = [open_scan(tmp_path / case.source / f"{case.id}.b2nd") for case in (weak, full)]
    lesion = np.asarray(scans[1].array[1]) > 0
    state = states_of(weak, scans[0], stride=1).state
    assert not (lesion & (state == NEGATIVE)).any()
    assert (state == NEGATIVE).mean() > 0.1
    assert ((state == POSITIVE) & ~lesion).sum() <= 0.05 * (state == POSITIVE).sum()
    complete = states_of(full, scans[1], stride=1).state
    np.testing.assert_array_equal(complete == POSITIVE, lesion)
    np.testing.assert_array_equal(complete == NEGATIVE, ~lesion)
    draw_states(weak, scans[0], states_of(weak, scans[0]), tmp_path / "a.png")
    draw([weak], tmp_path / "b.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert "1 scans of 1 patients" in describe([weak])
