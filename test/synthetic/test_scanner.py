"""What metal and motion leave of simple bodies."""

import pytest
import torch

from resources.synthetic.draw import Draw
from resources.synthetic.organs import LABEL
from resources.synthetic.scanner import SLICES_AT_ONCE, Scanner, acquire, metal_streaks
from resources.synthetic.space import Space

STEP = (1.0, 1.0, 1.0)


def quiet(**more: object) -> Scanner:
    """No blur, no noise."""
    return Scanner(STEP, 0.1, 0.0, 0.0, 0.5, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
def test_motion_shows_some_slices_twice_and_loses_nothing(seed: int) -> None:
    body = torch.zeros(100, 48, 48)
    body[:, 20:28, 20:28] = 1000.0  # a rod along z
    stored = acquire(body, STEP, quiet(motion_mm=3.0), Draw(seed)).float()
    changed = (stored != body).flatten(1).any(1)
    assert 5 < int(changed.sum()) < 90
    assert not bool(changed[0] and changed[-1])
    assert (stored.sum((1, 2)) - body.sum((1, 2))).abs().max() <= 32  # rounding to whole HU
    worst = stored[int((stored - body).abs().flatten(1).sum(1).argmax())]
    twice = worst[(worst > 0) & (worst < 1000)]
    assert twice.min() > 400  # in the middle of the motion both positions count half
    assert twice.max() < 600


def test_motion_brings_nothing_from_the_other_end() -> None:
    body = torch.zeros(40, 16, 16)
    body[-6:] = 800.0
    for seed in range(12):
        stored = acquire(body, STEP, quiet(motion_mm=4.0), Draw(seed))
        assert not stored[:8].any()


def test_slices_come_out_alike_in_any_company() -> None:
    body = torch.randn((SLICES_AT_ONCE + 9) * 2, 20, 24, generator=torch.Generator().manual_seed(0)) * 200
    scanner = Scanner((1.0, 1.0, 4.0), 0.6, 0.5, 0.0, 0.5)  # two layers of 2 mm in a slice
    whole = acquire(body, (1.0, 1.0, 2.0), scanner, Draw(0))
    last = acquire(body[SLICES_AT_ONCE * 2 :], (1.0, 1.0, 2.0), scanner, Draw(0))
    assert whole.shape == (SLICES_AT_ONCE + 9, 20, 24)
    assert torch.equal(whole[SLICES_AT_ONCE:], last)


def two_rods() -> torch.Tensor:
    """A disc of water, in the middle slice with two metal rods of radius 4 at x = 36 and 92, y = 64."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    body = torch.full((3, 128, 128), -1000.0)
    body[:, (x - 64) ** 2 + (y - 64) ** 2 < 56**2] = 0.0
    for place in (36, 92):
        body[1, (x - place) ** 2 + (y - 64) ** 2 < 16] = 3000.0
    return body


def test_metal_darkens_the_line_between_two_rods() -> None:
    body = two_rods()
    found = metal_streaks(body, STEP, Draw(0))
    assert torch.equal(found[0], body[0])
    assert torch.equal(found[2], body[2])
    metal = body[1] > 2500
    assert torch.equal(found[1][metal], body[1][metal])
    change = found[1] - body[1]
    between = float(change[62:67, 50:79].mean())
    assert between < -15
    assert between < float(change[90:95, 50:79].mean()) - 20  # away from the line it is weaker
    spread = [float(change[y : y + 6, 40:88].std()) for y in (54, 30)]
    assert spread[0] > 1.2 * spread[1]
    assert -901 <= float(change.min()) <= float(change.max()) <= 701


def test_stored_metal_is_clipped() -> None:
    stored = acquire(two_rods() + 200, STEP, quiet(metal=True), Draw(1))
    assert int(stored.max()) == 3071


def test_labels_are_looked_up_in_runs() -> None:
    space = Space((70, 5, 6), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), Draw(0))
    random = torch.Generator().manual_seed(1)
    space.label = torch.randint(0, 256, (70, 5, 6), generator=random).to(torch.uint8)
    for wanted in ((), (7,), (1, 4, LABEL["skin"]), (12, 11, 10, 200, 40, 41, 11), (0, 254, 255)):
        found = torch.isin(space.label, torch.tensor(wanted, dtype=torch.uint8))
        assert torch.equal(space.has(space.whole, wanted), found)
