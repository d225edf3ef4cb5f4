"""How busy blocks of 8x8 are, and what their tables follow from: integers alone (docs/bitstream.md, section 5.8).

A RESIDUAL says first how busy every block is, then the symbols of the busy ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .activity import FLAG, activity_levels
from .neighbours import NEIGHBOURS, neighbours

__all__ = [
    "BAND_EDGES",
    "BUSY_EDGES",
    "EVEN",
    "IS_EVEN",
    "NEIGHBOURS",
    "N_BLOCKS",
    "N_CHANNELS",
    "N_CLASSES",
    "N_CLASS_INPUTS",
    "N_FIRST",
    "N_FLAGS",
    "N_INPUTS",
    "ODD",
    "POSITION",
    "BlockPast",
    "block_neighbours",
    "busy_class",
    "class_inputs",
    "first_inputs",
    "odd_inputs",
    "second_inputs",
]

N_BLOCKS = 16  # of a cell, in raster order
N_CHANNELS = 96  # latents of a block
N_FIRST = 16  # of them are coded first
N_CLASSES = 8
N_FLAGS = N_CLASSES - 1  # of a class
BAND_EDGES = (0, 1, 6, 10, 16, 27, 70, 96)  # of channels: what is remembered of the frame before
IS_EVEN = np.indices((4, 4)).sum(axis=0).reshape(-1) % 2 == 0  # (16,) blocks of the first pass
EVEN, ODD = np.flatnonzero(IS_EVEN), np.flatnonzero(~IS_EVEN)
POSITION = np.array([2 * (b // 8) + b % 4 // 2 for b in range(N_BLOCKS)])  # of the 16x16 that holds each block
N_INPUTS = (N_CLASSES + len(NEIGHBOURS) + len(BAND_EDGES) - 1 + 3, N_FIRST + 1)  # of the first head; more of the second
N_CLASS_INPUTS = (2 * (1 + len(NEIGHBOURS)) + len(BAND_EDGES) - 1 + 3, len(NEIGHBOURS))  # even; more of the odd head
BUSY_EDGES = (1, 2, 4, 8, 16, 32, 64)  # sums from which on a block is of class 1, 2, ..


class BlockPast(NamedTuple):
    """What is known of blocks before they are read; one row a block."""

    busy: NDArray[np.integer]  # (n,) class in the frame before, 0 where not known
    bands: NDArray[np.integer]  # (n, 7) sums of magnitudes by band in the frame before
    known: NDArray[np.bool_]  # (n,) the two count
    motion: NDArray[np.integer]  # (n,) sum of the magnitudes of MOTION at the position of the block
    merged: NDArray[np.bool_]  # (n,) the block takes its vectors from elsewhere

    def take(self, rows: NDArray[np.integer]) -> BlockPast:
        """That of some of the blocks."""
        return BlockPast(self.busy[rows], self.bands[rows], self.known[rows], self.motion[rows], self.merged[rows])


def busy_class(total: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of bits of a sum of magnitudes, at most 7."""
    return np.searchsorted(BUSY_EDGES, total, side="right")


def block_neighbours(
    cells: NDArray[np.integer], n_columns: int, groups: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """(16 n, 8): which block lies beside each, 16 n where none of its group does. See neighbours."""
    return neighbours(cells, n_columns, 4, groups)


def class_inputs(past: BlockPast, offsets: NDArray[np.integer], beside: NDArray[np.integer]) -> NDArray[np.float32]:
    """(n, 28) inputs of the even head. offsets: (n,) sums of magnitudes of the cell's; beside: see block_neighbours."""
    busy = np.append(16 * np.where(past.known, past.busy, 0), 0).astype(np.uint8)
    moved = np.append(activity_levels(past.motion), np.uint8(0))
    columns = [
        busy[:-1, None],
        busy[beside],
        np.where(past.known[:, None], activity_levels(past.bands), 0),
        FLAG * past.known[:, None],
        moved[:-1, None],
        moved[beside],
        FLAG * past.merged[:, None],
        activity_levels(offsets)[:, None],
    ]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def odd_inputs(
    inputs: NDArray[np.float32], classes: NDArray[np.integer], beside: NDArray[np.integer]
) -> NDArray[np.float32]:
    """(m, 36) inputs of the odd head. inputs: (m, 28) of the even one, of m odd blocks, and beside (m, 8) of these.

    classes: (n,) of all blocks, of which those of odd blocks are not looked at.
    """
    seen = np.append(16 * np.where(np.resize(IS_EVEN, classes.size), classes, 0), 0).astype(np.uint8)
    return np.concatenate([inputs, seen[beside]], axis=1, dtype=np.float32)


def first_inputs(busy: NDArray[np.integer], around: NDArray[np.integer], past: BlockPast) -> NDArray[np.float32]:
    """(n, 26) inputs of the first head. busy: (n,) classes; around: (n, 8) of the blocks beside, 0 where none is."""
    columns = [
        FLAG * (busy[:, None] == np.arange(N_CLASSES)),
        16 * around,
        np.where(past.known[:, None], activity_levels(past.bands), 0),
        FLAG * past.known[:, None],
        activity_levels(past.motion)[:, None],
        FLAG * past.merged[:, None],
    ]
    return np.concatenate([c.astype(np.float32) for c in columns], axis=1)


def second_inputs(
    inputs: NDArray[np.float32], busy: NDArray[np.integer], first: NDArray[np.integer]
) -> NDArray[np.float32]:
    """(n, 43) inputs of the second head. inputs: of the first; first: (n, 16) symbols that were read."""
    size = np.abs(first.astype(np.int64))
    least = np.where(busy > 0, 1 << np.maximum(busy - 1, 0), 0)
    left = np.maximum(least - size.sum(axis=1), 0)
    return np.concatenate(
        [inputs, activity_levels(size).astype(np.float32), activity_levels(left)[:, None].astype(np.float32)], axis=1
    )
