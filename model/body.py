"""Which part of a scan is the patient. Table, mattress, blankets, head holder and tubes in the air are not.

All is decided on cells of about 6 mm whose edges lie at fixed places of the world, with neighbourhoods that
are symmetric, so that a scan gives the same mask however it was stored. What is doubtful is kept: only what
hangs together with air that is surely outside is masked, so that the lung at the border of a small field of
view stays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

CELL_MM = 6.0
TISSUE_HU = -400.0
"""A cell with a higher mean is tissue, or something as dense."""
WALL_HU = -600.0
"""Half a cell of chest wall between air and lung is denser, and so is fat that moved half of the time."""
AIR_HU = -975.0
"""A cell with a lower mean is air: foam, clothes and all but the emptiest lung are denser."""
AIR_SHARE, NARROW_SHARE = 0.2, 0.5
"""Share of air cells from which a region is taken as the surroundings, with all that lies in it."""
NARROW_MM = 200.0
"""A field of view that is not wider and deeper may lie within a lung: NARROW_SHARE holds for it, and
whatever is dense separates regions, so that a chest wall that is cut parts lung and air."""
THICK, THIN = 3, 2
"""Cells: trunk and limbs hold cubes of the first size, fingers and ears of the second, few plates any."""
SLIVER = 5
"""Cells: a border cuts this much of a limb at once, but not of a plate."""
PIECE_MM = 100.0
"""Thin pieces no longer than this are kept (fingers, ears, a sliver of an arm); table plates are longer."""

Mask = npt.NDArray[np.bool_]


def cell_edge(spacing_mm: float) -> int:
    """Grid voxels per edge of a cell."""
    return max(1, round(CELL_MM / spacing_mm))


def cell_means(hu: torch.Tensor, lower: list[int], edge: int) -> npt.NDArray[np.float32]:
    """(z, y, x) grid whose first voxel is number `lower` from the world's origin -> means of its cells.

    Cells begin at multiples of `edge`; those at the ends average the voxels that there are.
    """
    for axis, low in enumerate(lower):
        cell = torch.arange(low, low + hu.shape[axis]) // edge - low // edge
        counts = torch.bincount(cell)
        shape = [*hu.shape]
        shape[axis] = len(counts)
        sums = torch.zeros(shape).index_add_(axis, cell, hu)
        hu = sums / counts.view([-1 if axis == other else 1 for other in range(3)])
    return hu.numpy()


def outside(means: npt.NDArray[np.float32], padding_hu: float) -> Mask:
    """The cells, (z, y, x) in LPS, that lie outside the patient; none where no body is found.

    padding_hu: the lowest value there is, which may stand for "not reconstructed".
    """
    body = _body(means)
    if not body.any():
        return body
    empty = means < padding_hu + 0.5
    if not _is_field_of_view(~empty):
        empty[:] = False
    rim = grow(empty)
    narrow = min(means.shape[1:]) * CELL_MM < NARROW_MM
    walls = body | (means > WALL_HU) if narrow else body
    regions = _components(~walls & ~rim, corners=False)
    cells = np.bincount(regions.ravel())
    air = np.bincount(regions.ravel(), means.ravel() < AIR_HU)
    surroundings = air >= (NARROW_SHARE if narrow else AIR_SHARE) * cells
    surroundings[0] = False
    masked: Mask = surroundings[regions]
    masked |= grow(masked) & rim & ~body
    return masked


def _body(means: npt.NDArray[np.float32]) -> Mask:
    """Trunk, limbs and their thin parts with the cavities in them, and a margin of a cell."""
    tissue = means > TISSUE_HU
    core = _opened(tissue, THICK)
    if not core.any():
        core = _opened(tissue, THIN)
    near = grow(core)
    for wall_hu in (TISSUE_HU, WALL_HU):
        core |= _opened(tissue | _cavities(means > wall_hu, near), THICK)
    body = core | _thin_parts(_opened(tissue, THIN) & ~core, core)
    body |= _is_within(body)
    for _ in range(2):
        body |= grow(body) & (means > WALL_HU)
    return grow(body)


def _cavities(walls: Mask, body: Mask) -> Mask:
    """The holes of each slice whose edge is, for the larger part, body: lungs, not the inside of a table.

    So the wall of a chest holds, even where it is too thin to be told from a plate.
    """
    slices = np.zeros((2 * len(walls), *walls.shape[1:]), bool)
    slices[::2] = ~walls  # each by itself, between two empty ones
    labels = _components(slices, corners=False)[::2]
    excess = np.zeros(int(labels.max()) + 1, int)
    for axis in (1, 2):
        view, wall, part = (array.swapaxes(0, axis) for array in (labels, walls, body))
        for here, there in ((view[1:], slice(-1)), (view[:-1], slice(1, None))):
            faces = wall[there] & (here > 0)
            of, shared = here[faces], part[there][faces]
            excess += np.bincount(of[shared], minlength=len(excess))
            excess -= np.bincount(of[~shared], minlength=len(excess))
    closed: Mask = excess >= 0
    closed[0] = False
    for side in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        closed[side] = False
    return np.asarray(closed[labels], bool)


def _thin_parts(thin: Mask, body: Mask) -> Mask:
    """Short pieces (fingers, ears) that touch the body, or a border, beyond which they may."""
    pieces = _components(thin, corners=True)
    known = _is_small(pieces)
    touched = np.zeros_like(known)
    touched[pieces[grow(body)]] = True
    for axis in range(3):
        view = pieces.swapaxes(0, axis)
        touched[view[0]] = touched[view[-1]] = True
    known &= touched
    return np.asarray(known[pieces], bool)


def _opened(mask: Mask, size: int) -> Mask:
    """The union of all cubes of `size` cells within the mask.

    Beyond the first and last slice the mask goes on as it ends, and so it does to the left and right where
    the border cuts SLIVER cells in a column: cut limbs stay. In front and behind it does not go on, since
    plates of tables lie along these borders.
    """
    side = size - 1
    padded = np.pad(mask, side)
    inner = padded[:, side:-side]
    for border, beyond in ((mask[:, :, 0], slice(side)), (mask[:, :, -1], slice(-side, None))):
        column = _spread(_shrunk(np.pad(border, ((0, 0), (SLIVER - 1,) * 2)), SLIVER, 1), SLIVER, 1)
        inner[side:-side, :, beyond] = column[:, SLIVER - 1 : 1 - SLIVER, None]
    padded[:side], padded[-side:] = padded[side], padded[-side - 1]
    for axis in range(3):
        padded = _shrunk(padded, size, axis)
    for axis in range(3):
        padded = _spread(padded, size, axis)
    return padded[side:-side, side:-side, side:-side]


def _shrunk(mask: Mask, size: int, axis: int) -> Mask:
    """For each run of `size` cells along an axis whether the mask holds it all."""
    view = mask.swapaxes(0, axis)
    runs = view[: len(view) - size + 1].copy()
    for shift in range(1, size):
        runs &= view[shift : len(view) - size + 1 + shift]
    return runs.swapaxes(0, axis)


def _spread(runs: Mask, size: int, axis: int) -> Mask:
    """The cells of all runs that `_shrunk` found."""
    view = runs.swapaxes(0, axis)
    mask = np.zeros((len(view) + size - 1, *view.shape[1:]), bool)
    for shift in range(size):
        mask[shift : shift + len(view)] |= view
    return mask.swapaxes(0, axis)


def grow(mask: Mask) -> Mask:
    """The mask and all cells that share a face, an edge or a corner with it."""
    for axis in range(3):
        grown = mask.copy()
        source, target = mask.swapaxes(0, axis), grown.swapaxes(0, axis)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
        mask = grown
    return mask


def _is_within(body: Mask) -> Mask:
    """Cells from which at least three of the four ways to the sides of their slice meet the body.

    These are all holes of a slice, and those too that a border of the image or a wound leaves open.
    """
    meets = np.zeros(body.shape, np.uint8)
    for axis in (1, 2):
        meets += np.logical_or.accumulate(body, axis)
        meets += np.flip(np.logical_or.accumulate(np.flip(body, axis), axis), axis)
    return meets >= 3


def _is_small(pieces: npt.NDArray[np.integer]) -> Mask:
    """For each label whether it is at most PIECE_MM long in each direction; false for 0."""
    small = np.ones(int(pieces.max()) + 1, bool)
    small[0] = False
    places = np.nonzero(pieces)
    labels = pieces[places]
    for along in places:
        first, last = np.full(len(small), 2**30), np.zeros(len(small), int)
        np.minimum.at(first, labels, along)
        np.maximum.at(last, labels, along)
        small &= (last - first + 1) * CELL_MM <= PIECE_MM
    return small


def _is_field_of_view(mask: Mask) -> bool:
    """Whether each row and column of the slices is unbroken: a disc or rectangle, no body on a table."""
    cells = mask.any(0)
    for axis in (0, 1):
        before = np.logical_or.accumulate(cells, axis)
        after = np.flip(np.logical_or.accumulate(np.flip(cells, axis), axis), axis)
        if (before & after & ~cells).any():
            return False
    return True


def _components(mask: Mask, corners: bool) -> npt.NDArray[np.integer]:
    """Labels from 1 of the connected components; with or without contact by corners alone."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.ConnectedComponent(image, corners))
