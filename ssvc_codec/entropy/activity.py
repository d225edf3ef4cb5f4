"""What a P frame takes from the symbols of the frame before: integers alone (docs/bitstream.md, section 5.4)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLAG", "N_Z_STATES", "activity_levels", "activity_table", "band_edges"]

N_Z_STATES = 4  # of a hyper-latent in the frame before: unknown, 0, 1, 2 or more in magnitude
FLAG = 64  # last input of a cell whose earlier symbols are known
TABLE_SIZE = 256


@lru_cache
def band_edges(n_y: int) -> tuple[int, ...]:
    """Where bands of channels begin and end: 0, 2, 6, 14, 30, .. n_y."""
    edges = [0]
    size = 2
    while edges[-1] + size < n_y:
        edges.append(edges[-1] + size)
        size *= 2
    if n_y - edges[-1] < edges[-1] - edges[-2]:  # a short rest joins the band before it
        edges.pop()
    return (*edges, n_y)


@lru_cache
def activity_table() -> NDArray[np.uint8]:
    """(256,) uint8: level of a sum of magnitudes, 16 log2(1 + sum) rounded to nearest, at most 127."""
    return np.array([min(127, math.floor(16 * math.log2(1 + s) + 0.5)) for s in range(TABLE_SIZE)], dtype=np.uint8)


def activity_levels(sums: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Levels of sums of magnitudes, which are 0 or more: activity_table at min(sum, 255)."""
    return activity_table()[np.minimum(sums, TABLE_SIZE - 1)]
