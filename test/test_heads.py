"""The channels of the output, with values written out."""

import numpy as np
import torch

from model.heads import channels_of, organ_map, organs_at, split


def test_parts_of_the_heads() -> None:
    heads = torch.arange(8.0)[:, None, None, None]  # two types
    heat, offset, size = split(heads)
    assert heat.flatten().tolist() == [0, 1]
    assert offset.flatten().tolist() == [2, 3, 4]
    assert size.flatten().tolist() == [5, 6, 7]
    assert channels_of(2) == 8
    assert split(heads[None].repeat(3, 1, 1, 1, 1)).size.shape == (3, 3, 1, 1, 1)


def test_organs_between_cells_and_at_the_border() -> None:
    logits = torch.full((3, 1, 1, 4), -20.0)  # cells of 4 voxels: centres at x = 1.5, 5.5, 9.5, 13.5
    logits[1, ..., :2], logits[2, ..., 2:] = 20.0, 20.0
    logits[0] = 20.5  # the background is never said
    voxels = np.array([[1.5, 1.5, x] for x in (-3.0, 1.5, 7.4, 7.6, 13.5, 20.0)])
    assert organs_at(logits, voxels, 4).tolist() == [1, 1, 1, 2, 2, 2]


def test_the_map_of_organs_changes_halfway_between_cells() -> None:
    logits = torch.full((2, 1, 1, 2), -20.0)
    logits[0, ..., 0], logits[1, ..., 1] = 20.0, 20.0
    assert organ_map(logits, (4, 4, 8))[2, 1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
