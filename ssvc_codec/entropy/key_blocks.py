"""I frames in blocks of 8x8: in which order symbols are read, and what their tables follow from.

Integers alone (docs/bitstream.md, section 5.9). A block has 96 latents; three of them, the means of Y, U and V, are
components of a transform over the 16 blocks of their cell and stand for no single block.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .activity import FLAG, activity_levels
from .blocks import N_BLOCKS, N_CHANNELS, N_CLASSES
from .neighbours import NEIGHBOURS

__all__ = [
    "BANDS",
    "BROAD",
    "BROAD_CHANNELS",
    "FINE",
    "FIRST",
    "KEY_EDGES",
    "MEANS",
    "N_KEY_INPUTS",
    "N_LEVELS",
    "SECOND",
    "broad_inputs",
    "even_key_inputs",
    "fine_inputs",
    "first_key_inputs",
    "key_class",
    "second_key_inputs",
    "side_bands",
]

MEANS = np.array([0, 10, 13])  # channels of the means of Y, U and V
FIRST = np.setdiff1d(np.arange(16), MEANS)  # channels that are coded first
SECOND = np.arange(16, N_CHANNELS)
BROAD = np.array([0, 1, 4, 5])  # components of means that are coded first: level, along x, along y, both
FINE = np.setdiff1d(np.arange(N_BLOCKS), BROAD)
N_LEVELS = MEANS.size  # of the broad components, which begin with the levels: coded as differences from cell to cell
BROAD_CHANNELS = MEANS.size * BROAD.size
KEY_EDGES = (1, 3, 8, 20, 50, 120, 300)  # sums from which on a block is of class 1, 2, ..
BANDS = (
    np.arange(1, 3),
    np.arange(3, 10),
    np.array([11, 12, 14, 15]),
    np.arange(16, 33),
    np.arange(33, 70),
    np.arange(70, 96),
)
N_KEY_INPUTS = {
    "even": N_BLOCKS,
    "odd": N_BLOCKS + len(NEIGHBOURS),
    "broad": N_BLOCKS,
    "fine": N_BLOCKS + BROAD_CHANNELS,
    "first": N_CLASSES + len(NEIGHBOURS) + len(BANDS) + 1,
    "second": N_CLASSES + len(NEIGHBOURS) + len(BANDS) + 1 + FIRST.size + 1,
}


def key_class(total: NDArray[np.integer]) -> NDArray[np.int64]:
    """Class of a block, 0..7, from the sum of the magnitudes of all its symbols but the means."""
    return np.searchsorted(KEY_EDGES, total, side="right")


def even_key_inputs(n: int) -> NDArray[np.float32]:
    """(16 n, 16) inputs of the even head, of the blocks of n cells: where each lies in its cell."""
    return np.tile(np.float32(FLAG) * np.eye(N_BLOCKS, dtype=np.float32), (n, 1))


def broad_inputs(classes: NDArray[np.integer]) -> NDArray[np.float32]:
    """(n, 16) inputs of the head of broad components. classes: (n, 16)."""
    return 16 * classes.astype(np.float32)


def fine_inputs(classes: NDArray[np.integer], broad: NDArray[np.integer]) -> NDArray[np.float32]:
    """(n, 28) inputs of the head of fine components. broad: (n, 12) symbols."""
    return np.concatenate([broad_inputs(classes), activity_levels(np.abs(broad))], axis=1, dtype=np.float32)


def first_key_inputs(
    busy: NDArray[np.integer], around: NDArray[np.integer], bands: NDArray[np.integer], *, odd: bool
) -> NDArray[np.float32]:
    """(n, 23) inputs of the first head, of even or of odd blocks.

    busy: (n,) classes; around: (n, 8) of the blocks beside, 0 where none is; bands: (n, 6), see side_bands, 0 for even
    ones.
    """
    own = FLAG * (busy[:, None] == np.arange(N_CLASSES))
    parity = np.full((busy.size, 1), FLAG * odd)
    return np.concatenate([own, 16 * around, activity_levels(bands), parity], axis=1, dtype=np.float32)


def side_bands(y: NDArray[np.integer], sides: NDArray[np.integer]) -> NDArray[np.int64]:
    """(m, 6): sums of magnitudes of each of BANDS over the blocks that share a side with each of m odd ones.

    y: (16 n, 96) symbols, of which those of even blocks count; sides: (m, 4), 16 n where none of the group is.
    """
    size = np.stack([np.abs(y[:, band].astype(np.int64)).sum(axis=1) for band in BANDS], axis=1)
    return np.append(size, np.zeros((1, len(BANDS)), np.int64), axis=0)[sides].sum(axis=1)


def second_key_inputs(
    inputs: NDArray[np.float32], busy: NDArray[np.integer], first: NDArray[np.integer]
) -> NDArray[np.float32]:
    """(n, 37) inputs of the second head. inputs: of the first; first: (n, 13) symbols that were read."""
    size = np.abs(first.astype(np.int64))
    least = np.array((0, *KEY_EDGES))[busy]
    left = np.maximum(least - size.sum(axis=1), 0)
    return np.concatenate([inputs, activity_levels(size), activity_levels(left)[:, None]], axis=1, dtype=np.float32)
