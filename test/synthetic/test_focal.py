"""Lesions as planned and as placed, against their laws."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from resources.synthetic.body import draw_habitus
from resources.synthetic.draw import Draw
from resources.synthetic.focal import Painter, find_room, lesion_hu, plan_lesions
from resources.synthetic.lesion_shapes import LONG_MM, Size
from resources.synthetic.patient import paint_patient
from resources.synthetic.places import TYPE_WEIGHTS
from resources.synthetic.sites import SITES
from resources.synthetic.space import Space


def law(long_mm: np.ndarray) -> np.ndarray:
    """Share of real lesions below each long diameter."""
    return np.interp(long_mm, list(LONG_MM.values()), list(LONG_MM))


def plans(count: int) -> list[list[tuple[str, list[Size]]]]:
    draw = Draw(11)
    return [plan_lesions(draw, draw.integer(1, 9)) for _ in range(count)]


def test_every_lesion_wanted_is_planned() -> None:
    draw = Draw(0)
    for count in (0, 1, 2, 7, 25):
        assert sum(len(sizes) for _, sizes in plan_lesions(draw, count)) == count


def test_types_that_come_in_small_groups_keep_their_share_of_lesions() -> None:
    counts: Counter[str] = Counter()
    for plan in plans(4000):
        for lesion_type, sizes in plan:
            counts[lesion_type] += len(sizes)
            assert len(sizes) <= (2 if lesion_type == "kidney" else 9)
    total, weights = sum(counts.values()), sum(TYPE_WEIGHTS.values())
    for lesion_type, weight in TYPE_WEIGHTS.items():
        assert counts[lesion_type] / total == pytest.approx(weight / weights, rel=0.12)


def test_lesions_of_one_group_are_as_alike_as_those_of_real_patients() -> None:
    """Within patients of ULS23's five largest sets log long correlates by 0.25 to 0.35."""
    groups = [np.log([s.long_mm for s in sizes]) for p in plans(3000) for _, sizes in p if len(sizes) > 1]
    everything = np.concatenate(groups)
    centred = [group - everything.mean() for group in groups]
    pairs = [(g.sum() ** 2 - (g**2).sum()) / (len(g) * (len(g) - 1)) for g in centred]
    assert 0.22 < np.mean(pairs) / everything.var() < 0.38


@pytest.fixture(scope="module")
def painter() -> Painter:
    torch.set_num_threads(1)
    draw = Draw(2)
    habitus = draw_habitus(draw, SITES["A"])
    space = Space((112, 56, 72), (6.0, 6.0, 6.0), (-213.0, -165.0, -50.0), draw, habitus.scale, 10.0)
    tissues = paint_patient(space, habitus, "portal", SITES["A"].oral)
    return Painter(space, tissues, Draw(4), torch.zeros_like(space.label))


def test_sizes_and_types_as_placed_follow_their_laws(painter: Painter) -> None:
    """One whole trunk, each lesion alone in it: neither small ones nor those of small organs get lost."""
    wanted, placed = [], []
    for plan in plans(110):
        for lesion_type, sizes in plan:
            for size in sizes:
                wanted.append(size.long_mm)
                found = find_room(painter, lesion_type, size)
                if found is not None:
                    placed.append((found[0], size.long_mm))
    long_mm = np.array([mm for _, mm in placed])
    assert len(placed) > 0.98 * len(wanted)
    assert (long_mm < 10).sum() == (np.array(wanted) < 10).sum()
    assert stats.kstest(long_mm, law).statistic < 0.1
    counts = Counter(lesion_type for lesion_type, _ in placed)
    weights = sum(TYPE_WEIGHTS.values())
    apart = sum(abs(counts[t] / len(placed) - w / weights) for t, w in TYPE_WEIGHTS.items())
    assert apart / 2 < 0.1  # total variation
    assert counts["kidney"] > 0


@pytest.mark.parametrize("texture", ["solid", "hypodense", "necrotic"])
def test_kidney_lesions_take_up_less_than_the_parenchyma_whatever_lies_around(texture: str) -> None:
    """Half of an exophytic one lies in fat, and it is not as dark as fat for that."""
    tissues = {"liver": 108.0, "cortex": 185.0, "medulla": 160.0}
    for around in (-100.0, 170.0):
        draw = Draw(1)
        hu = np.array([lesion_hu("kidney", texture, around, tissues, draw) for _ in range(300)])
        assert hu.min() > 15
        assert hu.max() < 160
        assert np.median(hu) < 110
