"""Phantoms of the trial: balls that are lesions, rods that are none, and what a report tells of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from resources.cases.case import read_cases
from resources.study.phantom import (
    AIR,
    EDGE,
    ORGANS,
    SHAPE,
    TISSUE,
    Ball,
    draw_balls,
    findings_of,
    paint,
    recist_of,
    write_phantoms,
)

BALLS = [Ball("liver", np.array([20.0, 20.0, 12.0]), 3.0), Ball("spleen", np.array([10.0, 30.0, 36.0]), 2.0)]


def test_balls_are_brighter_than_what_is_around_them_and_no_rod_meets_them() -> None:
    hu, labels = paint(np.random.default_rng(3), BALLS)
    within = {2.0: 1 + 6 + 12 + 8, 3.0: 1 + 6 + 12 + 8 + 6 + 24 + 24 + 12}
    """Points of the grid nearer than so many voxels to one of them, by squared distance 0, 1, 2 and so on."""
    assert (labels == 1).sum() == within[3.0]
    assert (labels == 2).sum() == within[2.0]
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    for number, ball in enumerate(BALLS, 1):
        apart = np.linalg.norm(grid - ball.center, axis=-1)
        shell = hu[(apart > ball.radius) & (apart < ball.radius + 2)]
        assert abs(shell.mean() - TISSUE) < 15  # the texture's share
        assert hu[labels == number].mean() > shell.mean() + 10
    assert (hu[:, :EDGE] == AIR).all()


def test_balls_keep_apart_and_in_their_organ() -> None:
    balls = draw_balls(np.random.default_rng(5), 8)
    assert len(balls) == 8
    for i, ball in enumerate(balls):
        low, high = ORGANS[ball.organ][2]
        assert low + ball.radius <= ball.center[2] <= high - 1 - ball.radius
        for other in balls[:i]:
            assert np.linalg.norm(ball.center - other.center) > ball.radius + other.radius + 3


def test_a_report_counts_each_organ_s_lesions_and_clears_the_other() -> None:
    liver, spleen = findings_of(BALLS[:1])
    assert (liver.type, liver.organ, liver.count, liver.sizes_mm) == ("liver", "liver", 1, (24.0,))
    assert (spleen.organ, spleen.presence, spleen.sizes_mm) == ("spleen", "absent", ())


def test_marks_are_diameters_on_the_nearest_slice() -> None:
    mark = recist_of(Ball("spleen", np.array([10.4, 30.0, 36.0]), 2.0))
    assert (mark.kind, mark.type, mark.long_mm, mark.short_mm) == ("recist", "abdomen", 16.0, 16.0)
    assert mark.long == ((34.0, 30.0, 10.0), (38.0, 30.0, 10.0))
    assert mark.short == ((36.0, 28.0, 10.0), (36.0, 32.0, 10.0))


def test_about_a_third_of_the_balls_are_marked(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 0, 8, "train", "deeplesion", lesions=4)
    cases = read_cases(tmp_path / "cases.jsonl")
    assert all(case.completeness.kind == "none" for case in cases)
    assert 3 <= sum(len(case.annotations) for case in cases) <= 19  # of 32: 99 % of a binomial with 0.35


@pytest.mark.parametrize("view", ["full", "report"])
def test_cases_tell_what_their_view_knows(tmp_path: Path, view: str) -> None:
    write_phantoms(tmp_path, 7, 2, "train", view, lesions=3)
    first, second = read_cases(tmp_path / "cases.jsonl")
    assert first.completeness.kind == ("all" if view == "full" else "none")
    assert len(first.annotations) == (3 if view == "full" else 0)
    told = sum(f.count or 0 for f in first.findings if f.presence == "present")
    assert told == (0 if view == "full" else 3)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{first.id}_lesions.mha")))
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert first.id != second.id
