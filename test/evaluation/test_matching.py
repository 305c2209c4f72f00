"""Every rule on boxes whose overlaps can be counted, and against other people's matching."""

import numpy as np
import pytest
from evaluation.scenario import candidates, targets
from evalutils.scorers import score_detection
from hypothesis import assume, given
from hypothesis import strategies as st
from monai.apps.detection.metrics.matching import matching_batch
from monai.metrics import compute_fp_tp_probs_nd
from picai_eval.eval import evaluate_case

from model.boxes import iou_of_corner_boxes
from resources.evaluation.matching import DUPLICATE, FALSE, HIT, IGNORED, RULES, Rule, match

RULE = {rule.name: rule for rule in RULES}
CUBE = (0, 0, 0, 10, 10, 10)


def outcome(
    rule: str, predicted: list, true: list, excluded: tuple[int, ...] = ()
) -> tuple[list[int], list[str]]:
    found = candidates(predicted)
    lesions, fates = match(RULE[rule], found, targets(true, found, excluded))
    return lesions.tolist(), fates


@pytest.mark.parametrize(
    ("rule", "box", "hit"),
    [
        # the point is the centre of the box
        ("point_inside", (9, 0, 0, 11, 10, 10), True),  # x = 10, on the edge
        ("point_inside", (9.2, 0, 0, 11, 10, 10), False),  # x = 10.1
        ("luna16_distance", (9, 4, 4, 10.9, 6, 6), True),  # 4.95 mm from the centre, radius 5
        ("luna16_distance", (9, 4, 4, 11, 6, 6), False),  # 5 mm: not nearer than the radius
        ("luna16_distance", (8, 8, 8, 9, 9, 9), False),  # in the cube, but 6.1 mm from the centre
        ("iou_0.1", (0, 0, 0, 10, 10, 1), True),  # 100 / 1000
        ("iou_0.1", (0, 0, 0, 10, 10, 0.9), False),
        ("iou_0.1", (0, 0, 0, 100, 10, 10), True),  # 1000 / 10000
        ("iou_0.1_hungarian", (0, 0, 0, 10, 10, 1), True),
        ("iou_0.1_hungarian", (0, 0, 0, 10, 10, 0.9), False),
        ("iobb_0.3", (7, 0, 0, 17, 10, 10), True),  # 300 of the predicted 1000
        ("iobb_0.3", (7.1, 0, 0, 17.1, 10, 10), False),
        ("key_slice_iou_0.5", (0, 0, 4, 10, 5, 6), True),  # 50 / 100 on the slice at z = 5
        ("key_slice_iou_0.5", (0, 0, 4, 10, 4.9, 6), False),
        ("key_slice_iou_0.5", (0, 0, 5.5, 10, 10, 99), True),  # the slab from 4.5 to 5.5 is touched
        ("key_slice_iou_0.5", (0, 0, 5.6, 10, 10, 99), False),
    ],
)
def test_threshold_of_each_rule(rule: str, box: tuple[float, ...], hit: bool) -> None:
    assert outcome(rule, [(box, 0.5)], [CUBE]) == (([0], [HIT]) if hit else ([-1], [FALSE]))


@pytest.mark.parametrize("rule", RULE)
def test_one_prediction_one_lesion_and_duplicates_are_told(rule: str) -> None:
    far = (50, 50, 50, 60, 60, 60)
    lesions, fates = outcome(rule, [(CUBE, 0.3), (CUBE, 0.9), (far, 0.8), (CUBE, 0.4)], [CUBE])
    assert sorted(lesions) == [-1, -1, -1, 0]
    assert sorted(fates) == sorted([HIT, DUPLICATE, FALSE, DUPLICATE])
    if RULE[rule].assignment == "greedy":
        assert lesions == [-1, 0, -1, -1]  # the most probable one is credited

    # one prediction on two lesions in the same place credits one
    assert sorted(outcome(rule, [(CUBE, 0.9)], [CUBE, CUBE])[0]) == [0]
    # two predictions there credit both
    assert sorted(outcome(rule, [(CUBE, 0.9), (CUBE, 0.8)], [CUBE, CUBE])[0]) == [0, 1]


@pytest.mark.parametrize("rule", RULE)
def test_excluded_findings_are_neither(rule: str) -> None:
    other = (50, 50, 50, 60, 60, 60)
    lesions, fates = outcome(rule, [(other, 0.9), (other, 0.8), (CUBE, 0.5)], [CUBE, other], excluded=(1,))
    assert (lesions, fates) == ([-1, -1, 0], [IGNORED, IGNORED, HIT])
    # on both a lesion and an excluded finding: the lesion is found first, a further prediction is ignored
    lesions, fates = outcome(rule, [(CUBE, 0.9), (CUBE, 0.8)], [CUBE, CUBE], excluded=(1,))
    assert (lesions, fates) == ([0, -1], [HIT, IGNORED])


@pytest.mark.parametrize("rule", RULE)
def test_nothing_on_either_side(rule: str) -> None:
    assert outcome(rule, [], [CUBE]) == ([], [])
    assert outcome(rule, [(CUBE, 0.5)], []) == ([-1], [FALSE])
    assert outcome(rule, [], []) == ([], [])


def test_greedy_and_hungarian_differ_where_one_must_give_way() -> None:
    # the surer prediction overlaps both lesions, the left one more; the other only the left one
    left, right = (0, 0, 0, 10, 10, 10), (10, 0, 0, 20, 10, 10)
    predicted = [((4, 0, 0, 14, 10, 10), 0.9), ((0, 0, 0, 8, 10, 10), 0.5)]
    assert outcome("iou_0.1", predicted, [left, right]) == ([0, -1], [HIT, DUPLICATE])
    assert outcome("iou_0.1_hungarian", predicted, [left, right]) == ([1, 0], [HIT, HIT])


def test_of_two_lesions_overlapped_equally_the_first_is_found() -> None:
    # the surer box is the union of two unit cubes, IoU 0.5 with each; the other one is the first cube itself
    first, second, both = (0, 0, 0, 1, 1, 1), (0, 0, 1, 1, 1, 2), (0, 0, 0, 1, 1, 2)
    assert outcome("iou_0.1", [(first, 0.4), (both, 0.6)], [first, second]) == ([-1, 0], [DUPLICATE, HIT])
    assert outcome("iou_0.1", [(first, 0.4), (both, 0.6)], [second, first]) == ([1, 0], [HIT, HIT])


def test_one_voxel_boxes_are_perfect_for_iobb_only() -> None:
    """The known weakness of IoBB, and why IoU and point hits are always reported beside it."""
    lesions = [(0, 0, 0, 20, 20, 20), (40, 0, 0, 70, 30, 10), (0, 40, 0, 12, 52, 12)]
    centres = [((box[0] + box[3]) / 2, (box[1] + box[4]) / 2, (box[2] + box[5]) / 2) for box in lesions]
    voxels = [((*centre, *(v + 1 for v in centre)), 0.9) for centre in centres]
    found = {rule: sum(lesion >= 0 for lesion in outcome(rule, voxels, lesions)[0]) for rule in RULE}
    assert found["iobb_0.3"] == 3
    assert found["iou_0.1"] == found["iou_0.1_hungarian"] == found["key_slice_iou_0.5"] == 0
    # and boxes that hold the whole lesion, but are twice as long along each axis, are refused by IoBB: 1 / 8
    wide = [(tuple(c - 2 * (c - v) for c, v in zip(2 * centre, box, strict=True)), 0.9)
            for centre, box in zip(centres, lesions, strict=True)]  # fmt: skip
    assert [lesion for lesion in outcome("iobb_0.3", wide, lesions)[0]] == [-1, -1, -1]
    assert sorted(outcome("iou_0.1", wide, lesions)[0]) == [0, 1, 2]


coordinate = st.integers(0, 12)
box = st.tuples(
    coordinate, coordinate, coordinate, st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)
).map(lambda v: (*v[:3], v[0] + v[3], v[1] + v[4], v[2] + v[5]))
boxes = st.lists(box, max_size=6)


@given(boxes, st.lists(box, min_size=1, max_size=6), st.permutations(range(6)))
def test_greedy_iou_agrees_with_monai(predicted: list, true: list, ranks: list[int]) -> None:
    """MONAI's COCO matching of one class at IoU 0.1 defines hits as we do, without excluded findings.

    Where a prediction overlaps two lesions equally, MONAI takes the last of them and we the first.
    """
    overlaps = iou_of_corner_boxes(np.array(predicted, float).reshape(-1, 6), np.array(true, float))
    assume(all(len(set(row := overlap[overlap > 0])) == len(row) for overlap in overlaps))
    scores = np.array([(ranks[i] + 1) / 7 for i in range(len(predicted))])
    ours, _ = outcome("iou_0.1", list(zip(predicted, scores, strict=True)), true)
    theirs = matching_batch(
        iou_fn=iou_of_corner_boxes,
        iou_thresholds=[0.1],
        pred_boxes=[np.array(predicted, float).reshape(-1, 6)],
        pred_classes=[np.zeros(len(predicted))],
        pred_scores=[scores],
        gt_boxes=[np.array(true, float)],
        gt_classes=[np.zeros(len(true))],
        max_detections=100,
    )[0][0]
    order = np.argsort(-scores, kind="mergesort")
    assert [ours[i] >= 0 for i in order] == [bool(hit) for hit in theirs["dtMatches"].reshape(1, -1)[0]]


def painted(boxes_there: list, values: list[float]) -> np.ndarray:
    volume = np.zeros((24, 24, 24), np.float32)
    for place, value in zip(boxes_there, values, strict=True):
        volume[tuple(slice(a, b) for a, b in zip(place[:3], place[3:], strict=True))] = value
    return volume


@pytest.mark.parametrize("seed", range(60))
def test_hungarian_iou_agrees_with_picai(seed: int) -> None:
    """picai_eval matches connected components, so predictions (and lesions) may not touch each other."""
    rng = np.random.default_rng(seed)

    def apart() -> list[tuple[int, ...]]:
        kept: list[tuple[int, ...]] = []
        for _ in range(40):
            corner, edge = rng.integers(0, 16, 3), rng.integers(2, 8, 3)
            new = (*corner.tolist(), *(corner + edge).tolist())
            gaps = [max(max(a[i], new[i]) - min(a[i + 3], new[i + 3]) for i in range(3)) for a in kept]
            if all(gap >= 1 for gap in gaps):
                kept.append(new)
        return kept[:4]

    predicted, true = apart(), apart()
    scores = ((rng.permutation(len(predicted)) + 1) / 8).tolist()
    ours, fates = outcome("iou_0.1_hungarian", list(zip(predicted, scores, strict=True)), true)
    theirs, _, _, _ = evaluate_case(
        painted(predicted, scores),
        painted(true, [1.0] * len(true)).astype(np.int32),
        allow_unmatched_candidates_with_minimal_overlap=False,
    )
    hits = sorted(score for is_lesion, score, overlap in theirs if is_lesion and overlap > 0)
    false = sorted(score for is_lesion, score, _ in theirs if not is_lesion)
    assert hits == pytest.approx(sorted(s for s, lesion in zip(scores, ours, strict=True) if lesion >= 0))
    assert false == pytest.approx(sorted(s for s, fate in zip(scores, fates, strict=True) if fate != HIT))


def random_points(seed: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Lesions on a lattice, so far apart that no point is near two of them; predictions around them."""
    rng = np.random.default_rng(seed)
    lattice = np.stack(np.meshgrid(*[np.arange(4) * spacing] * 3), -1).reshape(-1, 3)
    true = rng.permutation(lattice)[: rng.integers(1, 8)]
    predicted = rng.permutation(lattice)[: rng.integers(1, 12)] + rng.uniform(-6, 6, (1, 3))
    return true, np.concatenate([predicted, true[:2] + rng.uniform(-4, 4, (len(true[:2]), 3))])


@pytest.mark.parametrize("seed", range(60))
def test_point_matching_agrees_with_evalutils(seed: int) -> None:
    """evalutils takes one radius for all, inclusive, and lets each lesion choose its nearest point.

    Where no point is near two lesions, both count the same hits, misses and false positives (duplicates
    among them).
    """
    true, predicted = random_points(seed, spacing=30)
    found = candidates([((*(p - 1), *(p + 1)), 0.5) for p in predicted])
    lesions, fates = match(
        RULE["luna16_distance"], found, targets([(*(t - 5), *(t + 5)) for t in true], found)
    )
    theirs = score_detection(ground_truth=true.tolist(), predictions=predicted.tolist(), radius=5.0)
    assert theirs.true_positives == (lesions >= 0).sum()
    assert theirs.false_negatives == len(true) - (lesions >= 0).sum()
    assert theirs.false_positives == sum(fate != HIT for fate in fates)


def test_point_matching_differs_from_evalutils_where_lesions_overlap() -> None:
    """evalutils goes through the lesions in their order: here the first takes the only point that the second
    could have had, and the second is missed. Ours goes by probability and finds both."""
    true = [(0, 0, 0), (6, 0, 0)]
    predicted = [(3.0, 0, 0), (-4.0, 0, 0)]
    theirs = score_detection(ground_truth=true, predictions=predicted, radius=5.0)
    assert (theirs.true_positives, theirs.false_negatives) == (1, 1)
    found = candidates([((2.1, -1, -1, 3.9, 1, 1), 0.5), ((-5, -1, -1, -3, 1, 1), 0.9)])
    lesions, _ = match(
        RULE["luna16_distance"], found, targets([(-5, -5, -5, 5, 5, 5), (1, -5, -5, 11, 5, 5)], found)
    )
    assert lesions.tolist() == [1, 0]


@pytest.mark.parametrize("seed", range(30))
def test_points_in_masks_agree_with_monai(seed: int) -> None:
    """CAMELYON's rule in MONAI: the best prediction in a label is its hit, others are no false positives."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((20, 20, 20), np.int32)
    cubes = [(2, 2, 2), (12, 2, 2), (2, 12, 12), (12, 12, 2)]
    for label, (x, y, z) in enumerate(cubes, 1):
        mask[x : x + 5, y : y + 5, z : z + 5] = label
    points, scores = rng.integers(0, 20, (12, 3)), rng.permutation(12) / 12 + 0.01
    false, true, count = compute_fp_tp_probs_nd(scores, points, mask)
    found = candidates([((*(p - 0.5), *(p + 0.5)), s) for p, s in zip(points, scores, strict=True)])
    there = targets([(x, y, z, x + 4, y + 4, z + 4) for x, y, z in cubes], found)
    lesions, fates = match(RULE["point_inside"], found, there)
    ours = {int(lesion): scores[i] for i, lesion in enumerate(lesions) if lesion >= 0}
    assert [ours.get(i, 0) for i in range(count)] == pytest.approx(true.tolist())
    assert sorted(false) == pytest.approx(
        sorted(s for s, fate in zip(scores, fates, strict=True) if fate == FALSE)
    )


def test_boxes_are_needed() -> None:
    found = candidates([(CUBE, 0.5)])
    without = type(found)(found.points_mm, found.probability, None)
    for rule in RULES:
        if rule.needs_boxes:
            with pytest.raises(ValueError, match="expected predicted boxes"):
                match(rule, without, targets([CUBE], found))
        else:
            assert match(rule, without, targets([CUBE], found))[1] == [HIT]


def test_names_are_unique() -> None:
    assert len(RULE) == len(RULES)
    assert all(isinstance(rule, Rule) and rule.text.endswith(".") for rule in RULES)
