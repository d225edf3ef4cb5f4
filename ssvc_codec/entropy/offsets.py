"""Offsets of cells, a level and two slopes of each plane: what tables of them follow from (docs/bitstream.md, 5.8)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .activity import FLAG, activity_levels
from .neighbours import SIDES, neighbours

__all__ = [
    "LEVELS",
    "N_OFFSETS",
    "N_OFFSET_INPUTS",
    "OFFSET_LIMIT",
    "SLOPES",
    "OffsetPast",
    "cell_neighbours",
    "level_inputs",
    "slope_inputs",
]

N_OFFSETS = 9  # of a cell: level, slope along x, slope along y of Y, then of U, then of V
OFFSET_LIMIT = 7  # largest magnitude
LEVELS = np.arange(0, N_OFFSETS, 3)  # read first
SLOPES = np.delete(np.arange(N_OFFSETS), LEVELS)
N_OFFSET_INPUTS = (3 * N_OFFSETS + 7, 2 * LEVELS.size)  # of the head of levels; more of that of slopes


class OffsetPast(NamedTuple):
    """What is known of cells before their offsets are read; one row a cell."""

    offsets: NDArray[np.integer]  # (n, 9) in the frame before
    busy: NDArray[np.integer]  # (n,) sum of the classes of its blocks in the frame before
    known: NDArray[np.bool_]  # (n,) the two count
    motion: NDArray[np.integer]  # (n, 4) sum of the magnitudes of MOTION at each position
    merged: NDArray[np.integer]  # (n,) blocks that take their vectors from elsewhere


def cell_neighbours(
    cells: NDArray[np.integer], n_columns: int, groups: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """(n, 4): the cells that share a side with each, n where none of its group does. See neighbours."""
    return neighbours(cells, n_columns, 1, groups)[:, SIDES]


def level_inputs(past: OffsetPast, beside: NDArray[np.integer]) -> NDArray[np.float32]:
    """(n, 34) inputs of the head of levels. beside: see cell_neighbours."""
    before = np.where(past.known[:, None], past.offsets, 0)
    size = np.abs(before)
    around = np.append(size, np.zeros((1, N_OFFSETS), size.dtype), axis=0)[beside].sum(axis=1)
    columns = [
        16 * before,
        activity_levels(size),
        activity_levels(around),
        FLAG * past.known[:, None],
        activity_levels(past.motion),
        activity_levels(past.merged)[:, None],
        activity_levels(np.where(past.known, past.busy, 0))[:, None],
    ]
    return np.concatenate([c.astype(np.float32) for c in columns], axis=1)


def slope_inputs(inputs: NDArray[np.float32], levels: NDArray[np.integer]) -> NDArray[np.float32]:
    """(n, 40) inputs of the head of slopes. inputs: of that of levels; levels: (n, 3) of this frame."""
    more = [16 * levels, activity_levels(np.abs(levels))]
    return np.concatenate([inputs, *(c.astype(np.float32) for c in more)], axis=1)
