"""Which positions of a group's cells lie beside one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEIGHBOURS", "SIDES", "neighbours"]

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))  # row, column
SIDES = [k for k, (i, j) in enumerate(NEIGHBOURS) if i == 0 or j == 0]


def neighbours(
    cells: NDArray[np.integer], n_columns: int, side: int, groups: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """(m, 8), m being side^2 n: which position lies beside each, m where none of its group does.

    cells: (n,) flat indexes of cells, of side x side positions each, in a picture of n_columns of them; positions are
    numbered by cell, in it in raster order. groups: (n,) of cells, None for one group.
    """
    n, at, per_cell = cells.size, np.arange(side * side), side * side
    i = side * (cells // n_columns)[:, None] + at // side + 1
    j = side * (cells % n_columns)[:, None] + at % side + 1
    number = np.full((int(i.max(initial=0)) + 2, side * n_columns + 2), per_cell * n)
    number[i, j] = np.arange(per_cell * n).reshape(n, per_cell)
    beside = np.stack([number[i + di, j + dj] for di, dj in NEIGHBOURS], axis=2).reshape(-1, len(NEIGHBOURS))
    if groups is None:
        return beside
    own = np.append(np.repeat(groups.astype(np.int64), per_cell), -1)
    return np.where(own[beside] == own[:-1, None], beside, per_cell * n)
