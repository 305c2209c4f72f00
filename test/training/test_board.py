"""Curves without double points after a stop, and the picture of a patch."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from resources.training.board import SEEN, UNKNOWN, UNKNOWN_SHARE, WANTED, Board, draw_patch
from resources.training.data.batch import Batch
from resources.training.progress import Progress

CELLS = (3, 2, 2)


def batch() -> Batch:
    """One patch of 6 x 4 x 4 voxels; a lesion of unknown type in cell (1, 0, 1); (1, 1, 0) is not known."""
    heat, any_heat = torch.zeros(1, 2, *CELLS), torch.zeros(1, *CELLS)
    any_heat[0, 1, 0, 1] = 1.0
    weight, any_weight = torch.ones(1, 2, *CELLS), torch.ones(1, *CELLS)
    weight[0, :, 1, 1, 0] = any_weight[0, 1, 1, 0] = 0
    said, any_said = torch.zeros(1, 2, *CELLS, dtype=torch.int8), torch.zeros(1, *CELLS, dtype=torch.int8)
    geometry = torch.zeros(1, 6, *CELLS)
    hu = torch.full((1, 1, 6, 4, 4), 40.0)
    return Batch(
        hu,
        heat,
        weight,
        said,
        any_heat,
        any_weight,
        any_said,
        geometry,
        geometry,
        any_said,
        any_said,
        torch.ones(1, 8),
        ("case",),
    )


def test_target_and_prediction_beside_the_image() -> None:
    output = torch.full((1, 8, *CELLS), -100.0)
    output[0, 1, 1, 1, 1] = 100.0
    picture = draw_patch(batch(), output)
    assert picture.shape == (4, 12, 3)
    gray = np.full(3, 0.5)  # 40 HU in a window from -160 to 240
    np.testing.assert_allclose(picture[:, :4], np.broadcast_to(gray, (4, 4, 3)), atol=1e-6)
    target, seen = picture[:, 4:8], picture[:, 8:]
    for corner, expected in (
        (target[:2, 2:], 0.3 * gray + 0.7 * np.array(WANTED)),
        (target[2:, :2], gray + 0.7 * UNKNOWN_SHARE * (np.array(UNKNOWN) - gray)),
        (target[:2, :2], gray),
        (seen[2:, 2:], 0.3 * gray + 0.7 * np.array(SEEN)),
        (seen[:2, 2:], gray),
    ):
        np.testing.assert_allclose(corner, np.broadcast_to(expected, (2, 2, 3)), atol=1e-6)


def test_no_step_twice_after_going_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Board(tmp_path, 0)
    for step in range(8):
        first.scalars({"loss": float(step)}, step)
    first.picture(batch(), torch.zeros(1, 8, *CELLS), 5)
    first.flush()
    time.sleep(1.1)  # files are read in the order of the second they were begun in
    second = Board(tmp_path, 5)  # the first one was killed; its last checkpoint is of step 5
    for step in range(5, 10):
        second.scalars({"loss": step + 0.5}, step)
    second.close()
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    points = [(event.step, event.value) for event in read.Scalars("loss")]
    assert points == [(s, float(s)) for s in range(5)] + [(s, s + 0.5) for s in range(5, 10)]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    board = Board(None, 0)
    board.scalars({"loss": 1.0}, 0)
    board.picture(batch(), torch.zeros(1, 8, *CELLS), 0)
    board.flush()
    board.close()
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_nothing_has_no_sign(capsys: pytest.CaptureFixture[str]) -> None:
    Progress("step", 0, 1, quiet=False).step(1, {"full": -0.0, "heat": -0.0004}, None)
    assert capsys.readouterr().out.startswith("step 1/1: full 0.000, heat 0.000; ")
