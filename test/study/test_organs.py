"""Dice by hand, on maps of a few voxels."""

from pathlib import Path

import numpy as np
import pytest

from resources.study.organs import dice, main, overlap


def test_overlap_and_dice_by_hand() -> None:
    predicted = np.array([0, 1, 1, 1, 2, 2])
    wanted = np.array([0, 0, 1, 1, 1, -1])  # nobody knows the last one
    counts = overlap(predicted, wanted, 4)
    assert counts.tolist() == [[1, 1, 2], [2, 3, 3], [0, 1, 0], [0, 0, 0]]
    assert dice(counts[None, 0])["value"] == pytest.approx(2 / 3)
    assert dice(counts[None, 1])["value"] == pytest.approx(2 / 3)
    assert dice(counts[None, 2])["value"] is None  # no map shows it


def test_dice_of_scans_together_and_its_interval() -> None:
    counts = np.array([[10, 10, 10], [0, 10, 10]])  # one scan right, one wrong
    estimate = dice(counts)
    assert estimate == {"value": 0.5, "lower": 0.0, "upper": 1.0}


def test_figures_are_written_of_both_parts_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--abdomen", str(tmp_path), "--out", str(tmp_path / "organs.json")])
    assert ended.value.code == 2
    assert "--out: expected --cases and --abdomen" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
