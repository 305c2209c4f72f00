"""What reports say, written out; and that a small network learns to say it."""

import math

import numpy as np
import pytest
import torch

from helpers import SMALL, lively
from model.config import LESION_TYPES, DetectorConfig
from model.geometry import along_world
from model.network import CenterNet3D
from model.preprocess import AIR_HU
from resources.cases.cache import HU, CachedScan
from resources.cases.case import Case, Finding, ImageSource
from resources.training.reports.pretrain import (
    ReportHead,
    ReportNetwork,
    ReportTarget,
    organs_of,
    report_loss,
    report_target,
    scan_bag,
)

LIVER, LUNG, ABDOMEN = (LESION_TYPES.index(name) for name in ("liver", "lung", "abdomen"))
ORGANS = ("kidney", "liver", "spleen")


def present(kind: str | None, organ: str | None, **changes: object) -> Finding:
    return Finding(kind, organ, **changes)  # type: ignore[arg-type]


def absent(kind: str | None, organ: str | None, **changes: object) -> Finding:
    return Finding(kind, organ, count=None, presence="absent", **changes)  # type: ignore[arg-type]


def case_of(*findings: Finding) -> Case:
    return Case("a", "p", "s", "train", ImageSource("a.mha"), findings=findings)


def told(*findings: Finding) -> tuple[dict[str, tuple[float, float]], ReportTarget]:
    """What has a weight, by name, as (value, weight); types are in capitals."""
    target = report_target(case_of(*findings), LESION_TYPES, ORGANS, 10.0)
    names = [*(name.upper() for name in LESION_TYPES), *ORGANS, "count", "size"]
    pairs = zip(names, target.value.tolist(), target.weight.tolist(), strict=True)
    return {name: (value, weight) for name, value, weight in pairs if weight}, target


def test_what_is_not_mentioned_is_unknown() -> None:
    assert told()[0] == {}
    assert not told()[1].known
    found, target = told(present("liver", "liver", count=3, sizes_mm=(20.0, 10.0)))
    assert target.known
    assert found == {
        "LIVER": (1, 1), "liver": (1, 1),
        "count": (pytest.approx(math.log(4)), 1), "size": (pytest.approx(math.log(2)), 1),
    }  # fmt: skip


def test_a_report_that_clears_the_scan_denies_all_it_does_not_report() -> None:
    found, _ = told(present("lung", "lung", count="several"), absent(None, None))
    assert {name for name, (value, _) in found.items() if value} == {"LUNG"}
    assert set(found) == {*(name.upper() for name in LESION_TYPES), *ORGANS}  # neither counted nor measured
    assert told(absent(None, None))[0]["count"] == (0, 1)


def test_a_clear_organ_clears_the_type_only_where_it_is_all_of_it() -> None:
    assert told(absent("liver", "liver"))[0] == {"LIVER": (0, 1), "liver": (0, 1)}
    assert told(absent("abdomen", "spleen"))[0] == {"spleen": (0, 1)}
    assert told(absent("kidney", "kidney", side="left"))[0] == {}
    assert told(absent("kidney", "kidney", side="both"))[0] == {"KIDNEY": (0, 1), "kidney": (0, 1)}
    assert told(absent("lung", None))[0] == {"LUNG": (0, 1)}
    # No other lesions in the liver: there is one.
    both = told(absent("liver", "liver"), present("liver", "liver"))[0]
    assert both["LIVER"] == both["liver"] == (1, 1)


def test_only_what_the_scan_shows_today_counts() -> None:
    old = [present("liver", "liver", time=time) for time in ("prior", "resolved")]
    assert told(*old, present("liver", "liver", character="benign"))[0] == {}
    assert organs_of([case_of(*old, present(None, "spleen")), case_of(absent(None, "kidney"))]) == (
        "kidney",
        "spleen",
    )


def test_uncertain_findings_weigh_half() -> None:
    unsure = present("liver", "liver", presence="uncertain", sizes_mm=(30.0,))
    assert {weight for _, weight in told(unsure)[0].values()} == {0.5}
    found = told(unsure, present("liver", "liver", sizes_mm=(10.0,)))[0]
    assert found["LIVER"] == (1, 1)
    assert found["count"] == (pytest.approx(math.log(3)), 0.5)
    assert found["size"] == (pytest.approx(math.log(3)), 0.5)


def test_the_loss_by_hand() -> None:
    """Logits of 0 cost log 2 each; the count is off by 2, the size by 0.5 at half the weight."""
    predicted = torch.tensor([0.0, 0.0, 9.0, 2.0, 0.5], requires_grad=True)
    target = ReportTarget(torch.tensor([1.0, 0, 0, 0, 0]), torch.tensor([1.0, 0.5, 0, 1, 0.5]))
    loss = report_loss(predicted, target)
    assert loss.item() == pytest.approx(math.log(2) + (2 - 0.5) + 0.5 * 0.125)
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad[2] == 0
    assert (predicted.grad[[0, 1, 3, 4]] != 0).all()
    unknown = report_loss(predicted, ReportTarget(torch.ones(5), torch.zeros(5)))
    assert unknown.item() == 0


def scan_of(hu: np.ndarray) -> CachedScan:
    array = np.zeros((3, *hu.shape), np.int16)
    array[HU] = hu
    volume = along_world((0, 0, 0), hu.shape, 2.0)
    return CachedScan(array, (0, 0, 0), 2.0, volume, {}, "")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_bag_is_the_whole_scan_at_half_resolution() -> None:
    hu = np.random.default_rng(0).integers(-900, 900, (16, 24, 16)).astype(np.int16)
    bags = [scan_bag(scan_of(hu), seeded(seed), 8) for seed in range(20)]
    means = hu.reshape(8, 2, 12, 2, 8, 2).mean((1, 3, 5))
    mirrored = 0
    for bag in bags:
        assert bag.shape == (1, 1, 8, 16, 8)
        assert (bag[0, 0, :, 12:] == AIR_HU).all()
        plain, other = (np.abs(bag[0, 0, :, :12].numpy() - m).max() for m in (means, means[..., ::-1]))
        assert min(plain, other) < 1e-3
        mirrored += other < 1e-3
    assert 4 < mirrored < 16
    assert torch.equal(scan_bag(scan_of(hu), seeded(5), 8), bags[5])


def test_a_large_scan_is_coarser_so_that_it_fits() -> None:
    hu = np.full((48, 48, 50), 40, np.int16)
    assert scan_bag(scan_of(hu), seeded(0), 8, most_voxels=24 * 24 * 25).shape == (1, 1, 24, 24, 32)
    bag = scan_bag(scan_of(hu), seeded(0), 8, most_voxels=24 * 24 * 25 - 1)
    assert bag.shape == (1, 1, 16, 16, 24)  # 16 x 16 x 17 blocks of 3 voxels, the last partly air
    assert float((bag - AIR_HU).sum()) * 27 == pytest.approx(hu.size * (40 - AIR_HU), rel=1e-4)


def test_the_head_does_not_care_where_a_lesion_is() -> None:
    torch.manual_seed(0)
    head = ReportHead(3, 4)
    features = torch.rand(2, 3, 8, 8, 12)
    answer = head(features)
    assert answer.shape == (2, 4)
    torch.testing.assert_close(head(features.flip(2, 4)), answer)
    with torch.no_grad():
        head.attend.weight[:] = 0
    torch.testing.assert_close(
        head(features), head.say(torch.nn.functional.max_pool3d(features, 4).mean((2, 3, 4)))
    )


TINY = DetectorConfig(widths=(8, 16), blocks=(1, 1))


def made_up(liver: bool, seed: int) -> tuple[CachedScan, Case]:
    """Noise, and a bright ball of 20 mm in it where the report tells of a liver lesion."""
    draw = np.random.default_rng(seed)
    hu = draw.normal(60, 15, (24, 24, 24))
    if liver:
        middle = draw.uniform(6, 18, 3)
        places = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), -1)
        hu[((places - middle) ** 2).sum(-1) <= 25] += 80
    finding = present("liver", "liver", sizes_mm=(20.0,)) if liver else absent("liver", "liver")
    return scan_of(hu.round().astype(np.int16)), case_of(finding)


def test_a_small_network_learns_what_reports_say() -> None:
    """24 scans to learn from; 12 others, of which it tells those with a liver lesion from those without."""
    made = [made_up(number % 2 == 0, number) for number in range(36)]
    torch.manual_seed(0)
    network = ReportNetwork(CenterNet3D(TINY), len(LESION_TYPES) + len(ORGANS) + 2)
    targets = [report_target(case, LESION_TYPES, ORGANS, TINY.size_scale_mm) for _, case in made]
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.005)
    losses = []
    for step in range(70):
        numbers = torch.randint(24, (6,), generator=seeded(step)).tolist()
        bags = tuple(scan_bag(made[i][0], seeded(step), TINY.stride) for i in numbers)
        pairs = zip(network(bags), (targets[i] for i in numbers), strict=True)
        loss = torch.stack([report_loss(own, target) for own, target in pairs]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert network.network.out.weight.grad is None
    network.eval()
    with torch.no_grad():
        told = network(tuple(scan_bag(scan, seeded(0), TINY.stride) for scan, _ in made[24:]))[
            :, LIVER
        ].tolist()
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert min(told[::2]) > max(told[1::2])


def test_the_output_layer_sees_the_features() -> None:
    network, hu = lively(), torch.randn(1, 1, 16, 16, 16) * 100
    features, _ = network.pyramid(hu)
    assert features.shape == (1, SMALL.widths[0], 8, 8, 8)
    assert (features >= 0).all()
    torch.testing.assert_close(network(hu)[0], network.out(features.movedim(1, -1)).movedim(-1, 1))
