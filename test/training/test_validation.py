"""Whole scans through the code of inference, and their score."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from training.tiny import HELD, settings, write_run, write_scans

from helpers import lively
from model.config import NotFiniteError
from model.detector import Detector
from model.network import CenterNet3D
from resources.cases.case import Case, write_cases
from resources.cases.images import read_case_volume
from resources.cases.strict import CaseError
from resources.training.config import TrainingConfig, read_config
from resources.training.export import _platt
from resources.training.validation import Held, match_all, open_held, predict_scans, read_candidates, score


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingConfig, list[Case]]:
    folder = tmp_path_factory.mktemp("held")
    cases = write_scans(folder / "held", 0)
    return read_config(write_run(folder, settings(1, more=HELD.format(every=1)))), cases


def opened(config: TrainingConfig) -> Held:
    held = open_held(config, [])
    assert held is not None
    return held


def network(config: TrainingConfig) -> CenterNet3D:
    return lively(config.network.detector)


def test_the_same_as_the_detector_and_in_any_number_of_processes(
    tmp_path: Path, scans: tuple[TrainingConfig, list[Case]]
) -> None:
    config, cases = scans
    held = opened(config)
    predict_scans(network(config), held, tmp_path / "one", 0, 1)
    for rank in (1, 0):
        predict_scans(network(config), held, tmp_path / "two", rank, 2)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [f"scan-{number}.npz" for number in range(4)]
    detector = Detector([network(config)], "here", "cpu")
    one, two = (read_candidates(held, tmp_path / name) for name in ("one", "two"))
    for case, first, second in zip(cases, one, two, strict=True):
        expected = detector.predict(read_case_volume(case)).lesions
        assert len(expected) > 5
        np.testing.assert_allclose(first.points_mm, [lesion.point_mm for lesion in expected], atol=1e-4)
        np.testing.assert_allclose(first.probability, [x.probability for x in expected], atol=1e-6)
        np.testing.assert_array_equal(first.points_mm, second.points_mm)


def test_what_is_there_is_left(tmp_path: Path, scans: tuple[TrainingConfig, list[Case]]) -> None:
    held = opened(scans[0])
    write_candidates(tmp_path, "scan-2", np.zeros((0, 3)), np.zeros(0))
    before = (tmp_path / "scan-2.npz").read_bytes()
    predict_scans(network(scans[0]), held, tmp_path, 0, 1)
    assert (tmp_path / "scan-2.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


def test_scans_of_other_splits_are_left_out(tmp_path: Path, scans: tuple[TrainingConfig, list[Case]]) -> None:
    config, cases = scans
    assert config.validation is not None
    splits = ("train", "validation", None, "test")
    divided = [dataclasses.replace(case, split=split) for case, split in zip(cases, splits, strict=True)]
    write_cases(tmp_path / "all.jsonl", divided)
    held = dataclasses.replace(config.validation, cases=str(tmp_path / "all.jsonl"))
    found = open_held(dataclasses.replace(config, validation=held), divided[:1])
    assert found is not None
    assert [truth.case.id for truth in found.truths] == ["scan-1", "scan-2"]
    write_cases(tmp_path / "all.jsonl", divided[:1])
    with pytest.raises(CaseError, match="expected cases of the split validation, found none"):
        open_held(dataclasses.replace(config, validation=held), [])


def write_candidates(folder: Path, name: str, points: np.ndarray, probability: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name}.npz", points_mm=points, probability=probability)


def test_score_by_hand(tmp_path: Path, scans: tuple[TrainingConfig, list[Case]]) -> None:
    """8 lesions in 4 scans; 6 found with 0.9, and one false candidate above them all: until a false positive
    in 4 scans is allowed, nothing counts.
    """
    config, _ = scans
    held = opened(config)
    for number, truth in enumerate(held.truths):
        # scans begin at 0 and lie along the axes, so that places in them are places in the world
        centers = np.array([lesion.centre_mm for lesion in truth.lesions])
        points = centers[: 1 if number < 2 else 2]
        probability = np.full(len(points), 0.9)
        if number == 0:
            points, probability = np.vstack([points, [[0.0, 0.0, 0.0]]]), np.append(probability, 0.95)
        write_candidates(tmp_path, truth.case.id, points, probability)
    found = score(held, tmp_path)
    rates = ("0.125", "0.25", "0.5", "1", "2", "4", "8")
    assert [found[f"sensitivity_at_{rate}"] for rate in rates] == [0.0] + [0.75] * 6
    assert found["cpm"] == pytest.approx(4.5 / 7)
    table = match_all(held, read_candidates(held, tmp_path))
    assert sorted(table.lesion_score.tolist()) == [-np.inf] * 2 + [0.9] * 6
    assert table.false_score.tolist() == [0.95]


def test_what_does_not_fit_is_refused(tmp_path: Path, scans: tuple[TrainingConfig, list[Case]]) -> None:
    config, cases = scans
    with pytest.raises(CaseError, match="patients that are not trained on, found patient-2"):
        open_held(config, [cases[2]])
    text = settings(1, more=HELD.format(every=1)).replace("spacing_mm = 4.0", "spacing_mm = 2.0")
    other = read_config(write_run(Path(config.work).parent, text))
    with pytest.raises(CaseError, match=r"scan-0: expected voxels of 2 mm in multiples of 4, found 4 mm"):
        open_held(other, [])
    healthy = [Case(c.id, c.patient, c.source, None, c.image, (), c.completeness) for c in cases]
    (tmp_path / "held").mkdir()
    write_cases(tmp_path / "held" / "cases.jsonl", healthy)
    empty = read_config(write_run(tmp_path, settings(1, more=HELD.format(every=1))))
    with pytest.raises(CaseError, match="expected lesions and exhaustively annotated scans, found 0 and 4"):
        open_held(empty, [])
    benign = [
        dataclasses.replace(
            c, annotations=tuple(dataclasses.replace(a, status="benign") for a in c.annotations)
        )
        for c in cases
    ]
    write_cases(tmp_path / "held" / "cases.jsonl", benign)
    with pytest.raises(CaseError, match="expected lesions and exhaustively annotated scans, found 0 and 4"):
        open_held(empty, [])
    without = read_config(write_run(tmp_path, settings(1)))
    assert open_held(without, []) is None


def test_calibration_says_what_lacks() -> None:
    for names in (("hits", "misses"), ("scans with a lesion", "scans without one")):
        for positive, only in ((True, names[0]), (False, names[1])):
            expected = f"expected {names[0]} and {names[1]} in the validation, found only {only}$"
            with pytest.raises(CaseError, match=expected):
                _platt(np.array([0.2, 0.8]), np.array([positive, positive]), names)
        expected = (
            f"expected {names[0]} of higher probability than {names[1]} in the validation, found a slope of -"
        )
        with pytest.raises(CaseError, match=expected):
            _platt(np.array([0.2, 0.8]), np.array([True, False]), names)


def test_a_network_that_says_nothing_finite(tmp_path: Path, scans: tuple[TrainingConfig, list[Case]]) -> None:
    broken = network(scans[0])
    broken.out.bias.data[0] = float("nan")
    with pytest.raises(NotFiniteError, match="scan-0.b2nd: expected finite output of the network"):
        predict_scans(broken, opened(scans[0]), tmp_path, 0, 1)
    assert list(tmp_path.iterdir()) == []
