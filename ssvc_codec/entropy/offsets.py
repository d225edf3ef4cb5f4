"""Offsets of cells: a level and two slopes of each plane (docs/bitstream.md, section 5.8)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "KIND",
    "N_OFFSETS",
    "N_OFFSET_CONTEXTS",
    "N_OFFSET_SYMBOLS",
    "OFFSET_LIMIT",
    "offset_contexts",
    "unzigzag",
    "zigzag",
]

N_OFFSETS = 9  # of a cell: level, slope along x, slope along y of Y, then of U, then of V
OFFSET_LIMIT = 7  # largest magnitude
N_OFFSET_SYMBOLS = 2 * OFFSET_LIMIT + 1
N_OFFSET_CONTEXTS = 4 * 6 * 3
# 0, 2, 4: level of Y, U, V; 1, 3, 5: slopes.
KIND = np.array([2 * (k // 3) + (k % 3 > 0) for k in range(N_OFFSETS)])


def offset_contexts(q: NDArray[np.integer], before: NDArray[np.integer], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n, 9) table of each offset. q, known: (n,); before: (n, 9) offsets of the frame before."""
    state = np.where(known[:, None], 1 + (before != 0), 0)
    return ((q >> 4)[:, None] * 6 + KIND) * 3 + state


def zigzag(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """0, -1, 1, -2, 2 to 0, 1, 2, 3, 4."""
    return np.where(values < 0, -2 * values.astype(np.int64) - 1, 2 * values.astype(np.int64))


def unzigzag(symbols: NDArray[np.integer]) -> NDArray[np.int32]:
    """The inverse of zigzag."""
    return ((symbols >> 1) ^ -(symbols & 1)).astype(np.int32)
